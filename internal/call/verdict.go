package call

import (
	"context"
	"errors"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Every decision that depends on an error is made here. The table test in
// verdict_test.go checks each of them for each kind of error.

// mayRetry reports whether a request that failed with e may be sent again after a
// pause.
func (e *Error) mayRetry(r *Request, atLeastOnce bool) bool {
	if !e.Transient {
		return false
	}
	if (r.Member != nil || r.Method.Shared) && e.Sentinel == ErrNotSupportedForLearner {
		return false // another member may accept it; this one never will, at least not in full
	}
	return r.Method.Class != rpc.Write || e.Outcome != OutcomeUnknown || atLeastOnce
}

// mayMove returns how many times an attempt may send the request again at once, in
// a set of this many members, after it has failed with e.
func (e *Error) mayMove(r *Request, members int) int {
	switch {
	case e.unseen() && errors.Is(e.Cause, transport.ErrDraining):
		return drainedMoves
	case e.unseen():
		return max(members, leastMoves)
	case e.Sentinel == ErrTimeout:
		return 0 // the attempt's time is up
	case !e.elsewhere && (e.Answered || e.Sentinel != ErrUnavailable):
		return 0 // there is no better member
	case r.Method.Class == rpc.Read && e.Endpoint != "":
		if r.Member != nil {
			return 1
		}
		return members // a lost connection: once, even with a single member
	case e.elsewhere && e.Outcome != OutcomeUnknown:
		return members
	}
	return 0
}

// leastMoves is the minimum number of times that an attempt may resend a request
// that no member has processed. More members allow more.
const leastMoves = 3

// drainedMoves is the same for a request that has met the orderly end of its connection:
// behind a proxy that allows few requests per connection it may meet as many as there
// are callers. The speed at which connections are made bounds it.
const drainedMoves = 10_000

// unseen reports whether a member was reached but did nothing, because the request
// was not sent or its token was rejected. The request may be sent again at once.
func (e *Error) unseen() bool {
	return e.resend || e.Outcome == OutcomeNotSent && e.Endpoint != "" && e.Transient && e.Sentinel != ErrTooManyRequests
}

// Drained reports whether the request met the orderly end of its connection before it was
// sent. Behind a proxy that allows few requests per connection that is no failure.
func (e *Error) Drained() bool {
	return e.Outcome == OutcomeNotSent && e.Endpoint != "" && errors.Is(e.Cause, transport.ErrDraining)
}

// Unreachable reports whether no member could be reached.
func (e *Error) Unreachable() bool {
	var none *balance.UnreachableError
	return errors.As(e.Cause, &none)
}

// awaitsElection reports whether the member has no leader, so that asking again
// soon helps.
func (e *Error) awaitsElection() bool { return e.election }

// speaksAgainstMember reports whether other members may serve while this one does
// not.
func (e *Error) speaksAgainstMember() bool {
	switch e.Sentinel {
	case ErrNoLeader, ErrNotSupportedForLearner, ErrTooManyRequests, ErrServerStopped, ErrServerTimeout, ErrTimeout, ErrCorrupt, ErrBadEndpoint:
		return true
	}
	return !e.Answered && errors.Is(e.Cause, context.DeadlineExceeded)
}

// unserved reports whether the time was over before the member had served the request. A
// member that has stopped inside may say so itself.
func (e *Error) unserved() bool {
	return e.Sentinel == ErrTimeout || errors.Is(e.Cause, context.DeadlineExceeded)
}

// movable reports whether another member may serve the same request now.
func (e *Error) movable() bool {
	return e.Transient || e.Sentinel == ErrBadEndpoint && e.Outcome == OutcomeNotSent
}

// Final reports whether every member would answer the request with this error, so that
// it settles a hedged read, and a request that another stream would carry.
func (e *Error) Final() bool { return e.Answered && !e.Transient && !e.resend }

// provesLife reports whether this answer to a probe shows that the member serves
// reads, although it is an error.
func (e *Error) provesLife() bool { return e.Answered && !e.Transient }

// refusesCredentials reports whether asking again for a token at once would be
// pointless.
func (e *Error) refusesCredentials() bool {
	return e.provesLife() || e.Code == transport.Unauthenticated
}

// blamesToken reports whether the server rejected the request because of its token.
// forget says that the token is no longer of any use.
func (e *Error) blamesToken(t *token) (resend, forget bool) {
	switch {
	case t == nil:
		// The request had no token: the revision belonged to the client
		// certificate's user, and the server reads it again.
		return e.Message == textOldAuthRevision, false
	case e.Message == textOldAuthRevision && t.text != "" && !t.datesItself():
		return true, false
	case e.reauth, t.text == "" && e.Sentinel == ErrPermissionDenied:
		// Once authentication is switched on, the server treats a client without a
		// token as anonymous, or as the user of its certificate.
		return true, true
	}
	return false, false
}

// outOfTime reports whether the context or the attempt's bound ended the request. The
// server may have noticed the context's deadline first and reported it.
func (e *Error) outOfTime() bool {
	switch e.Sentinel {
	case ErrTimeout:
		return true
	case nil, ErrServerTimeout:
		return errors.Is(e.Cause, context.DeadlineExceeded) || errors.Is(e.Cause, context.Canceled)
	}
	return false
}

// misconfigured reports whether waiting cannot help. It returns false if at least
// one of several failed endpoints is merely down.
func misconfigured(err error) bool { return everywhere(err, transport.ErrMisconfigured) }

// everywhere reports whether err is of a kind, at each of several failed endpoints.
func everywhere(err, kind error) bool {
	var u *balance.UnreachableError
	if !errors.As(err, &u) {
		return errors.Is(err, kind)
	}
	for _, f := range u.Failures {
		if !errors.Is(f.Err, kind) {
			return false
		}
	}
	return true
}

// RefusesShared reports whether an operation may succeed alone after it failed in a
// shared request: the server refused the request before it did anything and would
// refuse it again, or the answer to a read is too large. A learner accepts
// serializable reads only when they are sent alone.
func (e *Error) RefusesShared() bool {
	switch e.Sentinel {
	case ErrResponseTooLarge:
		return !e.Write
	case ErrHistoryReset:
		return false
	case ErrNotSupportedForLearner:
		return true
	}
	return e.Answered && e.Outcome == OutcomeRejected && !e.Transient
}

// BlamesLease reports whether the server ended a keep-alive stream because of the
// lease that it was renewing, rather than the stream or the member.
func (e *Error) BlamesLease() bool {
	if !e.Answered || e.resend {
		return false
	}
	switch e.Sentinel {
	case ErrNoLeader, ErrLeaderChanged, ErrServerStopped, ErrUnavailable, ErrUnauthenticated,
		ErrInvalidAuthToken, ErrNotSupportedForLearner, ErrTooManyRequests:
		return false
	}
	return e.Code != transport.Canceled && e.Code != transport.Unimplemented
}

// Hopeless reports whether another stream of the same kind would end the same way.
func (e *Error) Hopeless() bool {
	switch e.Code {
	case transport.Unimplemented, transport.PermissionDenied, transport.Unauthenticated, transport.InvalidArgument:
		return true
	}
	switch e.Sentinel {
	case ErrResponseTooLarge, ErrBadEndpoint:
		return true
	case ErrForeignCluster, ErrNotSupportedForLearner:
		return !e.Transient // no endpoint leads to another member
	}
	return false
}

// learnerRefuses reports whether a learner has refused the request. Only another member
// accepts it, so Set.LearnerRefuses decides whether the error is transient.
func (e *Error) learnerRefuses() bool { return e.Answered && e.Sentinel == ErrNotSupportedForLearner }

// BlamesUser reports whether the server rejects the user's name and password.
func (e *Error) BlamesUser() bool {
	return e.Sentinel == ErrAuthFailed || e.Sentinel == ErrUnauthenticated || e.Sentinel == ErrInvalidAuthToken
}

// Silent reports whether a member that was asked over a stream connection did not
// answer although the connection is up.
func (e *Error) Silent() bool {
	return e.Sentinel == ErrTimeout || e.Sentinel == ErrServerTimeout || e.Sentinel == ErrUnavailable
}
