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
	// maxLearned is the most copies that a first one counts as.
	maxLearned = 2
)

// answerWait is how long a request waits for its answer because its caller can send it again.
// The zero value waits no shorter than any other request.
type answerWait struct {
	copies int // were sent before, or the cluster is as slow as if they had been
	due    time.Duration
}

// answerWait returns how long a request of m waits for its answer.
func (e *Engine) answerWait(ctx context.Context, m *rpc.Method) answerWait {
	n, ok := ctx.Value(copiesKey{}).(int)
	if !ok || m.Class == rpc.Read {
		return answerWait{}
	}
	n = max(n, int(e.learned.Load()))
	return answerWait{n, e.answerDue(n)}
}

// answerDue is how long a request waits that follows n copies.
func (e *Engine) answerDue(n int) time.Duration {
	due := answerDue
	if e.config.Timeout > 0 {
		due = time.Duration(float64(answerDue) * float64(e.config.Timeout) / float64(usualTimeout))
	}
	return backoff.Backoff{First: due, Cap: due << maxDoublings}.Span(n)
}

// learn takes note of how a request has fared that w was for. In a slow cluster the first
// copy of each request would be in vain, and an epoch with it. So one that was not answered
// in time has later ones begin with the longer wait, until an answer is prompt again.
func (e *Engine) learn(w answerWait, took time.Duration, err *Error) {
	switch {
	case w.due == 0:
	case err == nil && took < e.answerDue(0)*2/3:
		e.learned.Store(0)
	case err != nil && err.Sentinel == ErrTimeout && err.Outcome == OutcomeUnknown && took >= w.due:
		e.learnSlow(int32(min(w.copies+1, maxLearned)))
	}
}

func (e *Engine) learnSlow(copies int32) {
	for {
		known := e.learned.Load()
		if known >= copies || e.learned.CompareAndSwap(known, copies) {
			return
		}
	}
}

// shorter returns the shorter of two limits, of which 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}
