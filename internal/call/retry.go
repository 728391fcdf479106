package call

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Do makes a unary call with the retries that its class allows. The result belongs
// to the caller; r.Message is not used after Do returns.
func (e *Engine) Do(ctx context.Context, r Request) (reply []byte, err *Error) {
	attempts := 0
	_, err = e.Retry(ctx, r, func() (err *Error) {
		attempts++
		r.Progress.attempt(attempts)
		reply, err = e.Once(ctx, r)
		return err
	})
	return reply, err
}

// Retry makes attempts until one succeeds or no further one is allowed. It returns
// true and no error if an attempt fails with r.AlreadyDone after an earlier one
// that may have been applied: the earlier one has succeeded.
func (e *Engine) Retry(ctx context.Context, r Request, attempt func() *Error) (already bool, err *Error) {
	return e.RetryFor(ctx, r, Patience{e.config.Retries, e.config.RetrySleep, e.config.RetrySleep / 5}, attempt)
}

// Patience says how often and at what pace a request is retried.
type Patience struct {
	// Retries is how many attempts may follow the first one.
	Retries int
	// Pause is the time before each of them, varied by up to Spread in either
	// direction.
	Pause, Spread time.Duration
}

// RetryFor is Retry with p in place of the configured patience.
func (e *Engine) RetryFor(ctx context.Context, r Request, p Patience, attempt func() *Error) (already bool, err *Error) {
	var last *Error    // of the previous attempt
	var unknown *Error // of the last attempt that may have been applied
	for attempts := 1; ; attempts++ {
		failed := attempt()
		if failed == nil {
			return false, nil
		}
		if unknown != nil && r.AlreadyDone != nil && failed.Sentinel == r.AlreadyDone {
			return true, nil
		}
		if failed.Outcome == OutcomeUnknown {
			unknown = failed
		}
		failed = e.timed(ctx, r.Method, failed)
		if failed.Attempts = attempts; failed.untried {
			failed.Attempts--
		}
		failed = failed.After(last)
		if attempts > p.Retries || !failed.mayRetry(&r, e.atLeastOnce(ctx)) || endsForElection(ctx, &r, failed) {
			return false, failed.ofAll(unknown)
		}
		pause := backoff.Jitter(p.Pause, p.Spread)
		e.observer.Retrying(ctx, r.Method.Op, attempts, pause, failed)
		if end := e.pause(ctx, pause, failed); end != nil {
			return false, end.ofAll(unknown)
		}
		last = failed
	}
}

// atLeastOnceKey is the key of a context's exception to Config.AtLeastOnce.
type atLeastOnceKey struct{}

// WithAtLeastOnce returns a context in which writes are sent again, or not, although
// they may have been applied, whatever Config.AtLeastOnce is.
func WithAtLeastOnce(ctx context.Context, on bool) context.Context {
	return context.WithValue(ctx, atLeastOnceKey{}, on)
}

// atLeastOnce reports whether a call with ctx sends writes again that may have been
// applied.
func (e *Engine) atLeastOnce(ctx context.Context) bool {
	if on, ok := ctx.Value(atLeastOnceKey{}).(bool); ok {
		return on
	}
	return e.config.AtLeastOnce
}

// SharesRetries reports whether a call of m with ctx is retried like those of other
// callers, so that it may share a request with them.
func (e *Engine) SharesRetries(ctx context.Context, m *rpc.Method) bool {
	if limit, ok := electionLimit(ctx); ok && (limit == 0 || m.Class != rpc.Read) {
		return false
	}
	return m.Class != rpc.Write || e.atLeastOnce(ctx) == e.config.AtLeastOnce
}

// timed adds the bound to the text of an attempt that took too long. err stays as it
// is: other goroutines may be reading it.
func (e *Engine) timed(ctx context.Context, m *rpc.Method, err *Error) *Error {
	if err.Sentinel != ErrTimeout || e.answerWait(ctx, m).due > 0 {
		return err
	}
	limited := *err
	text, why := err.Text(), textTimeout
	if err.Outcome == OutcomeNotSent {
		text, why = strings.Replace(text, textTimeout, textUnsent, 1), textUnsent
	}
	limited.Message = strings.Replace(text, why, fmt.Sprintf("%s (Config.Timeout is %v)", why, e.config.Timeout), 1)
	return &limited
}

// textUnsent takes the place of textTimeout where nothing was sent that could be answered.
const textUnsent = "not sent in time"

var textTimeout = transport.ErrTimeout.Error()

// ofAll turns the last attempt's error into that of the request. If an earlier attempt may
// have been applied, the refusal of the last one does not change that: unknown is the error of
// the last such attempt, or nil.
func (e *Error) ofAll(unknown *Error) *Error {
	if unknown == nil || e.Outcome == OutcomeUnknown {
		return e
	}
	e.Outcome = OutcomeUnknown
	if text := unknown.underlying().Text(); e.Write && !strings.Contains(e.Text(), text) {
		e.Message = e.Text() + "; an earlier attempt: " + text
	}
	return e
}

// pause waits for d after failed, before another try. It returns nil if the try may
// follow. If the context or the client ended, it returns an error that says so and
// includes failed.
func (e *Engine) pause(ctx context.Context, d time.Duration, failed *Error) *Error {
	t := time.NewTimer(d)
	defer t.Stop()
	end, last := *failed, failed.underlying()
	end.Transient, end.Answered, end.election = false, false, false
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		end.endedBy(ctx)
		end.Message = end.Cause.Error() + "; last error: " + last.Text()
		end.Cause = errors.Join(end.Cause, failed.Cause)
	case <-e.done:
		end.Code, end.Cause, end.Sentinel = transport.Canceled, nil, ErrClosed
		end.Message = textClosed + "; last error: " + last.Text()
	}
	end.before = last
	return &end
}
