package etcd

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/transport"
)

// Error is the error of every method of this package. Find it with errors.As
// for the details, or use [errors.Is] with the Err… variables, [MaybeApplied] and
// [Temporary].
//
// # Errors of every call
//
// Each method documents the errors that are particular to it. Every method that makes a
// call can also return:
//
//   - [ErrInvalidRequest] for a nil context, and [ErrClosed];
//   - the context's own error, which errors.Is finds as [context.Canceled] or
//     [context.DeadlineExceeded], with its cause;
//   - [ErrUnavailable] and [ErrTimeout]: no member could be reached, or answered;
//   - [ErrNoLeader], [ErrLeaderChanged], [ErrServerTimeout], [ErrServerStopped] and
//     [ErrTooManyRequests]: the cluster does not serve at the moment;
//   - [ErrCorrupt] and [ErrNotSupportedForLearner];
//   - [ErrBadEndpoint], [ErrForeignCluster] and [ErrResponseTooLarge]: the
//     configuration does not fit;
//   - [ErrPermissionDenied], [ErrUnauthenticated], [ErrAuthFailed],
//     [ErrInvalidAuthToken] and [ErrNoCredentials], in a cluster with authentication.
type Error struct {
	// Op is the method that failed, like "Put".
	Op string
	// Endpoint is the member that the last attempt went to, as written in
	// Config.Endpoints; empty when none was reached or it does not matter.
	Endpoint string
	// Address is the address, as host and port, at which that member was, when
	// Endpoint is a name, which may stand for several. It is empty for a call that
	// was not sent.
	Address string
	// Code is the gRPC status code, the server's or that of the local cause.
	Code Code
	// Message is the server's text, or the client's.
	Message string
	// Outcome says whether the request was sent, rejected, or may have been applied.
	Outcome Outcome
	// Attempts is how many attempts were made; 0 if nothing was tried, because the
	// request was refused, the context had ended, or the client was closed.
	Attempts int

	// write: the request would have changed something. temporary: the same request may
	// succeed later.
	write, temporary bool
	sentinel         error
	cause            error
}

// Error is one line: the method, the endpoint, what happened, and whether a
// write may have been applied.
func (e *Error) Error() string { return oneLine(e.internal().Error()) }

// oneLine is text without line ends and control characters: a server's message and a
// cause of the user's may have them.
func oneLine(text string) string {
	if strings.IndexFunc(text, unicode.IsControl) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ReplaceAll(text, "\n", "; "))
}

// Unwrap returns the Err… variable for the error and its cause, if there are any.
func (e *Error) Unwrap() []error {
	if e == nil {
		return nil // a nil *Error in an error value: hooks have one for a call that went well
	}
	return e.internal().Unwrap()
}

// internal is e as the engine knows it.
func (e *Error) internal() *call.Error {
	return &call.Error{
		Op: e.Op, Endpoint: e.Endpoint, Address: e.Address, Code: transport.Code(e.Code), Message: e.Message, Outcome: call.Outcome(e.Outcome),
		Attempts: e.Attempts, Write: e.write, Transient: e.temporary, Sentinel: e.sentinel, Cause: e.cause,
	}
}

// public makes the engine's error the user's. Every error of the engine becomes one
// here, when it leaves the package.
func public(e *call.Error) *Error {
	return &Error{
		Op: e.Op, Endpoint: e.Endpoint, Address: e.Address, Code: Code(e.Code), Message: e.Message, Outcome: Outcome(e.Outcome),
		Attempts: e.Attempts, write: e.Write, temporary: e.Transient, sentinel: e.Sentinel, cause: publicCause(e.Cause),
	}
}

func publicCause(cause error) error {
	if e, ok := cause.(*call.Error); ok { //nolint:errorlint // deeper ones are found as they are
		return public(e)
	}
	return cause
}

func (e *Error) maybeApplied() bool { return e.write && e.Outcome == OutcomeUnknown }

// MaybeApplied reports whether err is the error of a write whose outcome is unknown:
// the connection broke or time ran out while the answer was due, or the server gave up
// waiting. It is false for nil, for reads, and whenever the request was certainly not
// applied. It may be true of a context's error too. An error that joins several, like
// that of [BatchResults.Err], counts as unknown if any of them does.
//
// If repeating the write does no harm, repeat it. Otherwise let the write leave its own
// trace: put a key that no other write uses in the same Txn, and look for that key. A
// condition that the write itself makes false does not show whose write it was.
//
// It is also true of an error with a method MaybeApplied() bool that says so: packages
// on top of this one return such errors when a caller leaves while others wait for the
// answer.
func MaybeApplied(err error) bool {
	if slices.ContainsFunc(outermost(err), (*Error).maybeApplied) {
		return true
	}
	var other interface{ MaybeApplied() bool }
	return errors.As(err, &other) && other.MaybeApplied()
}

// Temporary reports whether the same call may succeed later: no member could be
// reached or answered in time, the cluster had no leader, a member was stopping or
// was overloaded. By then the client has retried the call as [Config.Retry] says.
//
// It is false for nil, for faults that no waiting mends (a refused request, a missing
// permission, the configuration), for [ErrClosed], and for the end of a context. An
// error that joins several, like that of [BatchResults.Err], is temporary if all of them
// are.
//
// Ask [MaybeApplied] before you make a write again.
func Temporary(err error) bool {
	all := outermost(err)
	for _, e := range all {
		if !e.temporary {
			return false
		}
	}
	return len(all) > 0
}

// outermost finds in err what errors.As finds, on every branch of its tree.
func outermost(err error) (found []*Error) {
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case *Error:
		if e != nil {
			return []*Error{e}
		}
	case interface{ Unwrap() error }:
		return outermost(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, branch := range e.Unwrap() {
			found = append(found, outermost(branch)...)
		}
	}
	return found
}

// Outcome is what the client knows about a failed request.
type Outcome uint8

const (
	// OutcomeUnknown: the server may have processed the request, now or later.
	OutcomeUnknown Outcome = iota
	// OutcomeNotSent: the server has not seen the request and never will.
	OutcomeNotSent
	// OutcomeRejected: the server has not applied the request, and said so.
	OutcomeRejected
)

func (o Outcome) String() string {
	switch o {
	case OutcomeNotSent:
		return "not sent"
	case OutcomeRejected:
		return "rejected"
	}
	return "unknown"
}

// Code is a gRPC status code.
type Code uint32

// The status codes that etcd and gRPC use.
const (
	CodeOK Code = iota
	CodeCanceled
	CodeUnknown
	CodeInvalidArgument
	CodeDeadlineExceeded
	CodeNotFound
	CodeAlreadyExists
	CodePermissionDenied
	CodeResourceExhausted
	CodeFailedPrecondition
	CodeAborted
	CodeOutOfRange
	CodeUnimplemented
	CodeInternal
	CodeUnavailable
	CodeDataLoss
	CodeUnauthenticated
)

func (c Code) String() string { return transport.Code(c).String() }

var errNilContext = errors.New("the context is nil; use context.Background() if there is none")

// invalid is the error of a request that is refused before anything is sent.
func invalid(op string, err error) error {
	return &Error{Op: op, Code: CodeInvalidArgument, Outcome: OutcomeNotSent, Message: err.Error(), sentinel: ErrInvalidRequest}
}

// Errors that errors.Is finds in what this package returns. Those that the
// server reports keep its text in Error.Message.
var (
	// Errors of the client itself. Nothing was sent.

	// ErrInvalidConfig: a field of Config is wrong; the text names it.
	ErrInvalidConfig = call.ErrInvalidConfig
	// ErrInvalidRequest: a field of the request is wrong; the text names it.
	ErrInvalidRequest = call.ErrInvalidRequest
	// ErrClosed: the client was closed. A call that was waiting then may have
	// been sent: see MaybeApplied.
	ErrClosed = call.ErrClosed
	// ErrBadEndpoint: there is no etcd behind the endpoint, or TLS does not work
	// with it as configured; the text says what to look at.
	ErrBadEndpoint = call.ErrBadEndpoint

	// ErrForeignCluster: the endpoint belongs to another cluster than the first
	// one that answered this client, and the client does not use it. Where the
	// cluster behind the only endpoint was replaced, a write may have been applied
	// to the other cluster.
	ErrForeignCluster = call.ErrForeignCluster

	// Errors on the way to the server.

	// ErrUnavailable: no member could be reached, or the connection was lost.
	ErrUnavailable = call.ErrUnavailable
	// ErrTimeout: an attempt had no answer within Config.Timeout.
	ErrTimeout = call.ErrTimeout
	// ErrResponseTooLarge: the answer is larger than Config.MaxResponseBytes.
	ErrResponseTooLarge = call.ErrResponseTooLarge

	// Errors of the server, about requests.

	// ErrCompacted: the revision asked for has been compacted.
	ErrCompacted = call.ErrCompacted
	// ErrFutureRevision: the revision asked for does not exist yet.
	ErrFutureRevision = call.ErrFutureRevision
	// ErrKeyNotFound: IgnoreValue or IgnoreLease for a key that does not exist.
	ErrKeyNotFound = call.ErrKeyNotFound
	// ErrLeaseNotFound: the lease does not exist, or no longer exists.
	ErrLeaseNotFound = call.ErrLeaseNotFound
	// ErrLeaseExists: a lease with this ID exists.
	ErrLeaseExists = call.ErrLeaseExists
	// ErrLeaseTTLTooLarge: the TTL is beyond etcd's limit of 9,000,000,000 s.
	ErrLeaseTTLTooLarge = call.ErrLeaseTTLTooLarge
	// ErrRequestTooLarge: the request is larger than the server's
	// --max-request-bytes (1.5 MiB unless configured), or than a proxy in front of it
	// accepts.
	ErrRequestTooLarge = call.ErrRequestTooLarge
	// ErrTooManyOps: a Txn has more operations or compares than the server's
	// --max-txn-ops (128 unless configured).
	ErrTooManyOps = call.ErrTooManyOps
	// ErrDuplicateKey: a Txn puts a key twice, or puts what it also deletes.
	ErrDuplicateKey = call.ErrDuplicateKey

	// The end of a lease, see Lease.Err.

	// ErrLeaseExpired: the lease was not renewed in time, or the server no longer
	// knows it.
	ErrLeaseExpired = call.ErrLeaseExpired
	// ErrLeaseRevoked: this client has revoked the lease.
	ErrLeaseRevoked = call.ErrLeaseRevoked
	// ErrLeaseNotRenewed: no renewal of the lease succeeded before its deadline.
	ErrLeaseNotRenewed = call.ErrLeaseNotRenewed
	// ErrStreamClosed: the KeepAliveStream or Snapshot was closed.
	ErrStreamClosed = call.ErrStreamClosed

	// The end of a watch.

	// ErrWatchClosed: the watch was closed.
	ErrWatchClosed = call.ErrWatchClosed
	// ErrHistoryReset: the cluster's revisions run backwards, most likely
	// because it was restored from a backup. Data that was read before may no
	// longer be true: read the keys again and watch from the revision after that
	// read. It ends the watches that have seen more than is left, and later watches that
	// begin after a revision that this client has seen and the store no longer has. A
	// linearizable Get, Range or Txn without writes whose answer shows the reset fails with
	// it, once; from then on the new history counts. A write does not fail with it,
	// because it was applied: where a write's answer shows the reset and no watch
	// has ended, the next read fails.
	ErrHistoryReset = call.ErrHistoryReset
	// ErrRevisionTooLarge: the events of one revision exceed what the client keeps.
	ErrRevisionTooLarge = call.ErrRevisionTooLarge

	// Errors of the server, about the cluster's members.

	// ErrMemberNotFound: no member has this ID.
	ErrMemberNotFound = call.ErrMemberNotFound
	// ErrMemberExists: a member has this ID already. etcd makes an ID from the peer
	// URLs and the second of the request, so the same request came twice.
	ErrMemberExists = call.ErrMemberExists
	// ErrPeerURLExists: another member has one of these peer URLs.
	ErrPeerURLExists = call.ErrPeerURLExists
	// ErrMemberNotLearner: only a learner can be promoted.
	ErrMemberNotLearner = call.ErrMemberNotLearner
	// ErrLearnerNotReady: the learner has not caught up with the leader yet.
	ErrLearnerNotReady = call.ErrLearnerNotReady
	// ErrTooManyLearners: the cluster has as many learners as its
	// --max-learners allows (1 unless configured).
	ErrTooManyLearners = call.ErrTooManyLearners
	// ErrNotEnoughStarted: the change could cost the cluster its majority, since
	// too few of its members have started.
	ErrNotEnoughStarted = call.ErrNotEnoughStarted
	// ErrUnhealthy: the member was not connected to a majority of the others for
	// the last 5 s, so the change could cost the cluster its majority.
	ErrUnhealthy = call.ErrUnhealthy
	// ErrClusterIDMismatch: the member belongs to another cluster.
	ErrClusterIDMismatch = call.ErrClusterIDMismatch

	// Errors of the server, about maintenance.

	// ErrNotLeader: only the leader can do this, and this member does not lead.
	ErrNotLeader = call.ErrNotLeader
	// ErrBadLeaderTransferee: leadership cannot move to this member: it does not
	// exist, or it is a learner.
	ErrBadLeaderTransferee = call.ErrBadLeaderTransferee
	// ErrInvalidDowngradeVersion: the cluster can be downgraded by one minor version
	// only.
	ErrInvalidDowngradeVersion = call.ErrInvalidDowngradeVersion
	// ErrDowngradeInProgress: a downgrade of the cluster is already in progress.
	ErrDowngradeInProgress = call.ErrDowngradeInProgress
	// ErrNoDowngrade: the cluster is not being downgraded.
	ErrNoDowngrade = call.ErrNoDowngrade
	// ErrClusterVersionUnknown: the members have only just started and have not yet
	// agreed on the cluster's version.
	ErrClusterVersionUnknown = call.ErrClusterVersionUnknown
	// ErrSnapshotCorrupt: the received bytes are not the snapshot that the member
	// sent: it was cut short, or its SHA-256 does not match.
	ErrSnapshotCorrupt = call.ErrSnapshotCorrupt

	// Errors of the server, about authentication and permissions.

	// ErrPermissionDenied: the user may not do this.
	ErrPermissionDenied = call.ErrPermissionDenied
	// ErrUnauthenticated: the cluster requires a user name and password, and Config
	// has none.
	ErrUnauthenticated = call.ErrUnauthenticated
	// ErrAuthFailed: the user name or the password is wrong, or this user has no
	// password.
	ErrAuthFailed = call.ErrAuthFailed
	// ErrNoCredentials: Config.Credentials failed, or its result cannot be used; the
	// text says why.
	ErrNoCredentials = call.ErrNoCredentials
	// ErrInvalidAuthToken: the server does not know the token, or no longer knows it.
	ErrInvalidAuthToken = call.ErrInvalidAuthToken

	// Errors of the server, about users and roles.

	// ErrAuthNotEnabled: authentication is off in the cluster.
	ErrAuthNotEnabled = call.ErrAuthNotEnabled
	// ErrRootUserMissing: authentication can be switched on only when there is a
	// user "root" that has the role "root".
	ErrRootUserMissing = call.ErrRootUserMissing
	// ErrRootRequired: while authentication is on, neither the user "root" nor the role
	// "root" can be deleted, and the user cannot lose the role.
	ErrRootRequired = call.ErrRootRequired
	// ErrUserExists: a user has this name.
	ErrUserExists = call.ErrUserExists
	// ErrUserNotFound: no user has this name.
	ErrUserNotFound = call.ErrUserNotFound
	// ErrRoleExists: a role has this name.
	ErrRoleExists = call.ErrRoleExists
	// ErrRoleNotFound: no role has this name.
	ErrRoleNotFound = call.ErrRoleNotFound
	// ErrRoleNotGranted: the user does not have the role.
	ErrRoleNotGranted = call.ErrRoleNotGranted
	// ErrPermissionNotGranted: the role has no permission for exactly this key or
	// range.
	ErrPermissionNotGranted = call.ErrPermissionNotGranted

	// Errors of the server, about its state.

	// ErrNoSpace: the database has reached the server's quota. The request that
	// reached it may have been applied.
	ErrNoSpace = call.ErrNoSpace
	// ErrNoLeader: the member knows no leader.
	ErrNoLeader = call.ErrNoLeader
	// ErrLeaderChanged: the leader changed while the request was in flight.
	ErrLeaderChanged = call.ErrLeaderChanged
	// ErrTooManyRequests: the member has too many requests waiting to be applied, or a
	// proxy in front of it accepts no more for now.
	ErrTooManyRequests = call.ErrTooManyRequests
	// ErrServerTimeout: the server gave up waiting for the cluster to agree. A
	// write may still be applied later.
	ErrServerTimeout = call.ErrServerTimeout
	// ErrServerStopped: the member is shutting down. A write may be applied.
	ErrServerStopped = call.ErrServerStopped
	// ErrCorrupt: the cluster has raised its CORRUPT alarm.
	ErrCorrupt = call.ErrCorrupt
	// ErrNotSupportedForLearner: the member is a learner, which serves only
	// serializable reads and its status. It is [Temporary] while some endpoint may lead
	// to another member.
	ErrNotSupportedForLearner = call.ErrNotSupportedForLearner
)
