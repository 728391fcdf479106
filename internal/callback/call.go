package callback

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Report is called for each panic. It may be nil.
type Report func(*Error)

// Recover ends a panic and stores it in *err, unless err is nil. It must be deferred.
func (r Report) Recover(name string, err *error) {
	value := recover()
	if value == nil {
		return
	}
	for _, e := range PanicsOf(name, value) {
		if r != nil {
			r(e)
		}
		if err != nil {
			*err = e
		}
	}
}

// Run calls f in its own goroutine and waits for it. It returns what f returns, or why
// f has not returned: a panic, or runtime.Goexit.
func (r Report) Run(name string, f func() error) error {
	err := fmt.Errorf("%s ended its goroutine", name)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.Recover(name, &err)
		err = f()
	}()
	<-done
	return err
}

// Bounded is a function whose calls are abandoned when their contexts have ended.
type Bounded struct {
	Name   string
	Report Report
	// Most is how many abandoned calls may still run. Further calls fail.
	Most int64

	left atomic.Int64
}

// grace is how long a call may take after its context has ended, so that a function that respects
// it can return its own error and leaves no goroutine behind.
const grace = 100 * time.Millisecond

type result[T any] struct {
	value T
	err   error
}

// Call calls f in its own goroutine. When ctx ends and f does not return, it abandons f,
// whose result goes to late if it is not an error. It does not call f when ctx has ended.
func Call[T any](ctx context.Context, b *Bounded, f func(context.Context) (T, error), late func(T)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if n := b.left.Load(); n >= b.Most {
		return none, fmt.Errorf("%s is not called again: %d calls have not returned though their contexts have ended", b.Name, n)
	}
	results := make(chan result[T])
	leave := make(chan struct{})
	go run(ctx, b, f, func(r result[T]) {
		select {
		case results <- r:
		case <-leave:
			b.left.Add(-1)
			if r.err == nil {
				late(r.value)
			}
		}
	})
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case r := <-results:
		return r.value, r.err
	case <-timer.C:
	}
	b.left.Add(1)
	close(leave)
	return none, errors.New(b.Name + " has not returned though its context has ended")
}

// run calls f and passes on its result, which is an error if f panics or ends the goroutine.
func run[T any](ctx context.Context, b *Bounded, f func(context.Context) (T, error), done func(result[T])) {
	r := result[T]{err: errors.New(b.Name + " ended its goroutine")}
	defer func() { done(r) }()
	defer b.Report.Recover(b.Name, &r.err)
	r.value, r.err = f(ctx)
}
