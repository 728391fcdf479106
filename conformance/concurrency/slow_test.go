package concurrency

import (
	"context"
	"testing"
	"time"

	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
)

// A member takes a request and never answers it, as one does whose leader dies with the
// request, while its connection is up. The context lets the call wait for a minute; it is
// made again long before, with another member.
func TestRequestsThatAreNeverAnswered(t *testing.T) {
	t.Parallel()
	const soon = 5 * time.Second
	for what, try := range map[string]func(ctx context.Context, m *concurrency.Mutex, stall func()) error{
		"Lock": func(ctx context.Context, m *concurrency.Mutex, stall func()) error {
			stall()
			return second(m.Lock(ctx))
		},
		"Unlock": func(ctx context.Context, m *concurrency.Mutex, stall func()) error {
			l, err := m.Lock(ctx)
			if err != nil {
				return err
			}
			stall()
			return l.Unlock(ctx)
		},
		"a release that goes on": func(ctx context.Context, m *concurrency.Mutex, stall func()) error {
			l, err := m.Lock(ctx)
			if err != nil {
				return err
			}
			stall()
			ended, cancel := context.WithCancel(ctx)
			cancel()
			_ = l.Unlock(ended) // the context's
			return second(m.Lock(ctx))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.FaultyDetour(t)
			co, name := testbed.Coordinate(t, c, concurrency.Config{}), testbed.OwnName(t)
			m, ctx := co.Mutex(name, concurrency.MutexConfig{}), testbed.Within(t, time.Minute)
			unlock(t, must[*concurrency.Lock](t)(m.Lock(ctx))) // there is a session
			var hit <-chan struct{}
			began := time.Now()
			if err := try(ctx, m, func() { hit = f.Arm(onefault.Stall, name) }); err != nil {
				t.Error(err)
			}
			<-hit
			if d := time.Since(began); d > soon {
				t.Errorf("it took %v", d)
			}
		})
	}
}
