package queue

import (
	"context"
	"testing"
	"time"

	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/queue"
)

// A member takes a request and never answers it, as one does whose leader dies with the
// request, while its connection is up. The context lets the call wait for a minute; the
// request is made again long before, with another member.
func TestRequestsThatAreNeverAnswered(t *testing.T) {
	t.Parallel()
	const soon = 5 * time.Second
	for what, try := range map[string]func(ctx context.Context, q *queue.Queue, stall func()) error{
		"Take": func(ctx context.Context, q *queue.Queue, stall func()) error {
			stall()
			_, err := q.Take(ctx)
			return err
		},
		"Ack": func(ctx context.Context, q *queue.Queue, stall func()) error {
			cl, err := q.Take(ctx)
			if err != nil {
				return err
			}
			stall()
			return cl.Ack(ctx)
		},
		"Nack": func(ctx context.Context, q *queue.Queue, stall func()) error {
			cl, err := q.Take(ctx)
			if err != nil {
				return err
			}
			stall()
			return cl.Nack(ctx, 0)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, f := testbed.FaultyDetour(t)
			name := testbed.OwnName(t)
			q := open(t, testbed.Coordinate(t, c, concurrency.Config{}), queue.Config{Name: name})
			add(t, q, named("warm up")...)
			ack(t, take(t, q))
			add(t, q, named("item")...)
			var hit <-chan struct{}
			began := time.Now()
			if err := try(testbed.Within(t, time.Minute), q, func() { hit = f.Arm(onefault.Stall, "item") }); err != nil {
				t.Error(err)
			}
			<-hit
			if d := time.Since(began); d > soon {
				t.Errorf("it took %v", d)
			}
		})
	}
}
