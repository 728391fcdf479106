// Package call makes calls to a cluster. It is the engine below the client's
// operations and knows nothing about their messages.
//
// A call goes through four layers, one file per layer:
//
//   - retry.go: repeats attempts until one succeeds and pauses for
//     Config.RetrySleep between them. Every retry of the client happens here.
//   - attempt.go: one attempt. It moves a request to another member that may serve
//     it at once, and waits out an election.
//   - send.go: one request to one member, and the conclusions from its result about
//     the member, the token and the history. hedge.go sends a late read to a second
//     member.
//   - pick.go: chooses the connection for a request.
//
// stream.go opens all streams. token.go keeps the token that requests carry,
// history.go tracks the revisions seen in answers, identify.go checks new
// connections, and leader.go finds the preferred member.
//
// error.go converts the transport's errors, texts.go knows etcd's error texts, and
// verdict.go holds every decision that depends on an error.
//
// # Not obvious
//
//   - A write is retried only when it was certainly not applied. verdict.go decides that by
//     the class of the method and the outcome of the failure; texts.go lists what each of
//     etcd's texts means for the request. They mislead: NoSpace comes after the write was
//     applied when that write reached the quota; "server stopped", "request timed out" and
//     "request canceled" end the wait for a proposal, not the proposal.
//   - The largest revision seen belongs to a history, and every request remembers the
//     history in which it was sent. A reset starts a new history, so late answers of the
//     old one neither raise the new revision nor report the reset twice.
//   - A read that is late while all members are set aside checks every half second
//     whether another member is fit again. After an election the others are, and the read
//     may be waiting for the dead leader.
//   - A separate goroutine obtains the token, so a caller with a short deadline neither
//     fails the other callers that wait nor makes the server check the password again for
//     the next one. A rejected token is cleared by compare-and-swap, so a storm of
//     rejections obtains one new token.
//   - A token belongs to a stream's headers. The server checks it for each watch creation
//     and renewal. A watch stream with an outdated token keeps its watches and accepts no
//     new ones.
//   - A simple token survives a change of users and roles. A JWT does not: it holds their
//     revision. So "revision of auth store is old" calls for another token only if the
//     token is a JWT.
//   - A new token that a member rejects is tried once more. A simple token names the log
//     index that a member must apply before it looks the token up. Since 3.6 etcd writes
//     the index of the previous entry, so a member that lags by one entry rejects the
//     token.
//   - While authentication is off the token is empty. Once authentication is switched on,
//     the server treats a call without a token as anonymous or as the client certificate's
//     user, which may have fewer permissions than this client's user.
package call
