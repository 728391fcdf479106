package stm

import (
	"errors"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/stm"
)

// TestExactlyOnce: with a Writer every transaction counts once, while connections are cut.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	const callers, each = 4, 25
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	c, _ := connect(t, etcd.Config{Retry: 200, RetrySleep: 5 * time.Millisecond}, proxy.Endpoint())
	direct, _ := connect(t, etcd.Config{}, s.Endpoints()...)
	w := testbed.Writer(t, c)
	endCuts := testbed.Cuts(proxy, 10*time.Millisecond)
	heated(callers, each, func() {
		if _, err := stm.Run(t.Context(), nil, stm.Config{Writer: w}, func(tx *stm.Tx) error {
			return errors.Join(increment(tx, "n"), tx.Put(etcd.PutRequest{Key: "puts"}))
		}); err != nil {
			t.Error(err)
		}
	})
	endCuts()
	if n, v := number(t, direct, "n"), version(t, direct, "puts"); n != callers*each || v != callers*each {
		t.Errorf("%d and %d, want %d", n, v, callers*each)
	}
}

// TestUpdateWith counts exactly, also where the answer to the commit is always lost first.
func TestUpdateWith(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	c, _ := connect(t, etcd.Config{Retry: 200, RetrySleep: 5 * time.Millisecond}, proxy.Endpoint())
	direct, _ := connect(t, etcd.Config{}, s.Endpoints()...)
	w := testbed.Writer(t, c)
	for i := range int64(10) {
		result, err := stm.UpdateWith(t.Context(), w, "k", func(old etcd.KeyValue, found bool) ([]byte, error) {
			proxy.CutAfter(etcdtest.ToClient, 1)
			return append(old.Value, 'x'), nil
		})
		if err != nil || result.Revision == 0 {
			t.Fatalf("%+v, %v", result, err)
		}
		if v := version(t, direct, "k"); v != i+1 {
			t.Fatalf("version %d after %d updates", v, i+1)
		}
	}
	if _, err := stm.Run(t.Context(), direct, stm.Config{Writer: w}, func(*stm.Tx) error { return nil }); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
	if _, err := stm.UpdateWith(t.Context(), nil, "k", nil); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
}
