package call

import (
	"context"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/rpc"
)

// By default an attempt waits for an election as long as its context lasts. Code written
// for another client expects the error instead: at once when it asked for a leader, else
// when the server would have given up. Such a call carries a limit in its context.

// electionLimitKey is the key of that limit.
type electionLimitKey struct{}

// WithElectionLimit returns a context in which an attempt waits for an election for at
// most d. 0 does not wait at all: to have no leader is an ordinary failed attempt. Either
// way only a read is attempted again after that.
func WithElectionLimit(ctx context.Context, d time.Duration) context.Context {
	electionLimits.Store(true)
	return context.WithValue(ctx, electionLimitKey{}, d)
}

// electionLimits says that the program has made a context with a limit. Few programs do, and
// each call would search all of its context for one.
var electionLimits atomic.Bool

// electionLimit returns the limit of ctx; false means none.
func electionLimit(ctx context.Context) (time.Duration, bool) {
	if !electionLimits.Load() {
		return 0, false
	}
	d, ok := ctx.Value(electionLimitKey{}).(time.Duration)
	return d, ok
}

// ElectionWait measures how long one attempt has waited for elections.
type ElectionWait struct {
	began time.Time // zero: it has not waited yet
}

// Over reports whether an attempt whose last error is e must not wait for an election any
// longer. e may be nil. The wait begins with the first error for lack of a leader.
func (w *ElectionWait) Over(ctx context.Context, e *Error) bool {
	limit, ok := electionLimit(ctx)
	if !ok || e == nil || !e.election {
		return false
	}
	if w.began.IsZero() {
		w.began = time.Now()
	}
	return time.Since(w.began) >= limit
}

// EndsForElection reports whether a call with ctx that failed with e ends although e is
// transient: there is no leader, and ctx has a limit, which the attempt has used up.
func (e *Error) EndsForElection(ctx context.Context) bool {
	_, limited := electionLimit(ctx)
	return limited && e.election
}

// endsForElection is EndsForElection for a request, of which reads are attempted again.
func endsForElection(ctx context.Context, r *Request, e *Error) bool {
	return r.Method.Class != rpc.Read && e.EndsForElection(ctx)
}
