package testbed

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen.
const Patience = time.Minute

// Within is a context that ends a test's waits long before go test would.
func Within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Impatient is a context that is cancelled at any time before most has passed. The function
// cancels it at once.
func Impatient(t testing.TB, most time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(rand.N(most), cancel)
	return ctx, func() {
		timer.Stop()
		cancel()
	}
}

// Ending is a context for what ends with the test, whose own context has ended by then.
func Ending(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Eventually waits until f holds.
func Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(Patience)
	for !f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Result is what a call that runs beside the test has returned.
type Result[T any] struct {
	Value T
	Err   error
}

// Async runs f and returns the channel for its result.
func Async[T any](f func() (T, error)) <-chan Result[T] {
	done := make(chan Result[T], 1)
	go func() {
		value, err := f()
		done <- Result[T]{value, err}
	}()
	return done
}

// Await returns the result of Async's f. If there is none, it panics to show what all
// goroutines wait for.
func Await[T any](t testing.TB, done <-chan Result[T]) (T, error) {
	t.Helper()
	select {
	case r := <-done:
		return r.Value, r.Err
	case <-time.After(Patience):
		panic("it hangs")
	}
}
