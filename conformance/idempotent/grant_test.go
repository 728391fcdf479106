package idempotent

import (
	"context"
	"errors"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/idempotent"
)

// A write that waits for a lease was not sent, whatever becomes of the Grant.
func TestGrantWithoutAnswer(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(context.Context, *idempotent.Writer) error{
		"Txn": func(ctx context.Context, w *idempotent.Writer) error {
			_, err := w.Txn(ctx, putOf("k"))
			return err
		},
		"Once": func(ctx context.Context, w *idempotent.Writer) error {
			_, err := w.Once(ctx, "id", putOf("k"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, direct := testbed.Private(t)
			p := etcdtest.StartProxy(t, s.Endpoints()[0])
			w, co := open(t, testbed.Connect(t, etcd.Config{Endpoints: []string{p.Endpoint()}}), idempotent.Config{})
			loseLease(t, direct, co)
			p.Set(etcdtest.ToClient, etcdtest.Fault{Stall: true})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := write(ctx, w); !errors.Is(err, context.DeadlineExceeded) || etcd.MaybeApplied(err) {
				t.Errorf("%v; MaybeApplied is %v", err, etcd.MaybeApplied(err))
			}
			p.Heal()
			if err := write(testbed.Within(t, testbed.Patience), w); err != nil {
				t.Error(err)
			}
			if kv := testbed.Get(t, direct, "k"); kv.Version != 1 {
				t.Errorf("applied %d times", kv.Version)
			}
		})
	}
}

// loseLease has the coordinator grant another lease when it needs one.
func loseLease(t *testing.T, c *etcd.Client, co *concurrency.Coordinator) {
	t.Helper()
	session, err := co.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Revoke(t.Context(), etcd.RevokeRequest{ID: session.Lease().ID}); err != nil {
		t.Fatal(err)
	}
	<-session.Done()
}
