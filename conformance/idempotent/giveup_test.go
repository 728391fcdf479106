package idempotent

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/idempotent"
)

// Whenever writes are given up, their errors tell the truth: one that is not MaybeApplied has
// applied nothing, and of the others Resolve finds what became of them.
//
// Regression: a lane whose making was given up stayed behind until the Writer was closed.
func TestGivenUpAnytime(t *testing.T) {
	t.Parallel()
	for what, config := range map[string]idempotent.Config{"shared": {Lanes: 4}, "alone": {Lanes: 4, Alone: true}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			plain, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			config.Name = name + "-writer"
			w, _ := open(t, testbed.Connect(t, etcd.Config{}), config)
			var writes sync.WaitGroup
			for worker := range 8 {
				writes.Go(func() {
					for i := range 150 {
						key := fmt.Sprintf("%s/%d.%d", name, worker, i)
						ctx, cancel := testbed.Impatient(t, 3*time.Millisecond)
						_, err := w.Txn(ctx, putOf(key))
						cancel()
						want := int64(1)
						switch {
						case err == nil:
						case !etcd.MaybeApplied(err):
							want = 0
						default:
							_, err = w.Resolve(testbed.Within(t, testbed.Patience), err)
							if errors.Is(err, idempotent.ErrNotApplied) {
								want, err = 0, nil
							}
							if err != nil {
								t.Errorf("Resolve: %v", err)
							}
						}
						if kv := testbed.Get(t, plain, key); kv.Version != want {
							t.Errorf("%s has version %d after %v", key, kv.Version, err)
						}
					}
				})
			}
			writes.Wait()
			if n := count(t, plain, config.Name); n > int64(config.Lanes) {
				t.Errorf("%d lanes of %d", n, config.Lanes)
			}
		})
	}
}
