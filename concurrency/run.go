package concurrency

import (
	"context"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
)

// Run campaigns and calls f while it leads, on exactly one of all instances that call Run with
// this name. f's context ends with ctx and when the leadership is lost. Run waits for f and
// only then resigns, so f never runs twice at the same time while its context is respected.
// After a loss it campaigns again, whatever f has returned, after a pause of 0.1 to 5 s, which
// grows with consecutive losses.
//
// Run returns when ctx ends, when f returns nil while it leads, and, unless Restart is set,
// when f returns an error while it leads: that error. If Run finds only on resigning that the
// leader's key was gone, that counts as a loss too. If f ignores its context, Run waits: the
// leadership is kept as long as the lease lives. A panic of f resigns and reaches Run's
// caller.
func (e *Election) Run(ctx context.Context, f func(ctx context.Context, ld *Leadership) error) error {
	switch {
	case ctx == nil:
		return errNilContext
	case f == nil:
		return invalid("%q: the function is nil", e.q.name)
	}
	for failures := 0; ; failures++ {
		began := time.Now()
		again, err := e.term(ctx, f)
		if !again {
			return err
		}
		if time.Since(began) > runPauses.Cap {
			failures = 0
		}
		e.q.co.warn(ctx, "leadership ended, campaigning again", "name", e.q.name, "error", err)
		if !call.Sleep(ctx, runPauses.First+runPauses.Jittered(failures)) {
			return e.q.failed(ctx, context.Cause(ctx))
		}
	}
}

// runPauses spaces campaigns.
var runPauses = backoff.Backoff{First: 100 * time.Millisecond, Cap: 5 * time.Second}

// term campaigns and runs f for one term. again: another campaign is due, because of err.
func (e *Election) term(ctx context.Context, f func(ctx context.Context, ld *Leadership) error) (again bool, err error) {
	ld, err := e.Campaign(ctx)
	if err != nil {
		return ctx.Err() == nil && etcd.Temporary(err), err
	}
	ended, err := e.lead(ctx, ld, f)
	if ended != nil {
		return false, call.Join(e.q.failed(ctx, ended), err)
	}
	if loss := ld.l.lost(); loss != nil {
		return !e.q.co.isClosed(), lossError(err, loss)
	}
	return err != nil && e.config.Restart, err
}

// lead calls f and resigns. ended is why ctx had ended when f returned.
func (e *Election) lead(ctx context.Context, ld *Leadership, f func(ctx context.Context, ld *Leadership) error) (ended, err error) {
	held, cancel := ld.l.within(ctx)
	defer cancel()
	// What Resign finds, the lock keeps; the release goes on without it when ctx ends.
	defer func() { _ = ld.Resign(ctx) }()
	err = e.call(held, ld, f)
	return context.Cause(ctx), err
}

// overdue is how long a function may go on after its leadership has ended before that is
// logged.
const overdue = 5 * time.Second

// call calls f, and logs when it ignores the end of its context.
func (e *Election) call(ctx context.Context, ld *Leadership, f func(ctx context.Context, ld *Leadership) error) error {
	returned := make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	defer close(returned)
	watching.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer watching.Done()
		timer := time.NewTimer(overdue)
		defer timer.Stop()
		select {
		case <-returned:
		case <-timer.C:
			e.q.co.counters.overdue.Add(1)
			e.q.co.warn(ctx, "the function goes on without leadership; Run waits for it", "name", e.q.name, "term", ld.Term())
		}
	})
	defer func() {
		if stop() {
			watching.Done()
		}
	}()
	return f(ctx, ld)
}
