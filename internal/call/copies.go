package call

import (
	"context"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/rpc"
)

// A member passes a write on to the leader. If the leader dies with it, the member does not
// learn of that: it answers after five seconds and two election timeouts, and a deadline of
// the context lets the call wait so long. A caller whose write may be sent again while an
// earlier copy is under way says so, and hears sooner that the answer is due.

// copiesKey is the key of a context's number of copies.
type copiesKey struct{}

// WithCopies returns a context for a write that its caller sends again when the outcome is
// unknown, and of which it has sent n copies before. An attempt then waits only for a part
// of Config.Timeout, from the sending on, even if the context has a deadline. The error is
// ErrTimeout. The part doubles with each copy, so that a slow cluster is waited for as well.
func WithCopies(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, copiesKey{}, n)
}

// WithSafeCopies is WithCopies for a request of which the client itself sends no second copy,
// whatever its configuration: only the caller knows what the copies amount to.
func WithSafeCopies(ctx context.Context, n int) context.Context {
	return WithCopies(WithAtLeastOnce(ctx, false), n)
}

const (
	// answerDue is how long the first copy waits, where Config.Timeout is
	// usualTimeout or there is none.
	answerDue    = 1500 * time.Millisecond
	usualTimeout = 5 * time.Second
	// maxDoublings keeps the time from overflowing.
	maxDoublings = 8
)

// answerDue is how long a request of m waits for its answer, because its caller can send it
// again; 0: no shorter than any other.
func (e *Engine) answerDue(ctx context.Context, m *rpc.Method) time.Duration {
	n, ok := ctx.Value(copiesKey{}).(int)
	if !ok || m.Class == rpc.Read {
		return 0
	}
	due := answerDue
	if e.config.Timeout > 0 {
		due = time.Duration(float64(answerDue) * float64(e.config.Timeout) / float64(usualTimeout))
	}
	return backoff.Backoff{First: due, Cap: due << maxDoublings}.Span(n)
}

// shorter returns the shorter of two limits, of which 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}
