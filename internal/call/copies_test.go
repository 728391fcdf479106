package call

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/rpc"
)

// A write that its caller sends again waits for its answer only so long, whatever its context
// and Config.Timeout allow. The time doubles, and follows Config.Timeout.
func TestWithCopies(t *testing.T) {
	five, twenty := Config{Timeout: 5 * time.Second}, Config{Timeout: 20 * time.Second}
	for name, test := range map[string]struct {
		config   Config
		method   *rpc.Method
		copies   int // negative: it does not say
		deadline bool
		want     time.Duration
	}{
		"the first":            {five, rpc.Txn, 0, false, 1500 * time.Millisecond},
		"the third":            {twenty, rpc.Txn, 2, true, 24 * time.Second},
		"the third, bounded":   {five, rpc.Txn, 2, false, 5 * time.Second},
		"with a deadline":      {five, rpc.Txn, 0, true, 1500 * time.Millisecond},
		"a patient client":     {twenty, rpc.Txn, 0, true, 6 * time.Second},
		"a client without end": {Config{}, rpc.Txn, 1, false, 3 * time.Second},
		"it does not say":      {five, rpc.Txn, -1, true, time.Minute},
		"a read":               {five, rpc.TxnRead, 0, true, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, _ := scripted(t, test.config, silence)
				ctx := t.Context()
				if test.copies >= 0 {
					ctx = WithCopies(ctx, test.copies)
				}
				if test.deadline {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Minute)
					defer cancel()
				}
				began := time.Now()
				err := do(ctx, e, test.method)
				var failed *Error
				if !errors.As(err, &failed) || test.method.Class == rpc.Write && !failed.MaybeApplied() {
					t.Errorf("the error is %v", err)
				}
				if got := time.Since(began); got < test.want || got > test.want+200*time.Millisecond {
					t.Errorf("it took %v, want %v", got, test.want)
				}
			})
		})
	}
}
