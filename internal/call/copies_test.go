package call

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
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

// In a cluster whose answers take longer than a first copy waits, the first copies of later
// requests wait longer, until an answer is prompt. An answer that is neither changes nothing.
func TestLearnsThatAnswersAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delay atomic.Int64 // of the member's answers
		e, m := scripted(t, Config{Timeout: 5 * time.Second}, ok)
		m.Handle(func(ctx context.Context, _ transport.Request) ([]byte, error) {
			return peertest.AppendHeader(nil, 1), peertest.Sleep(ctx, time.Duration(delay.Load()))
		})
		for i, step := range []struct {
			answer, took time.Duration
			ok           bool
		}{
			{100 * time.Millisecond, 100 * time.Millisecond, true},
			{2 * time.Second, 1500 * time.Millisecond, false}, // learns it
			{2 * time.Second, 2 * time.Second, true},          // 3 s
			{2 * time.Second, 2 * time.Second, true},
			{4 * time.Second, 3 * time.Second, false}, // 5 s, which is Config.Timeout's
			{4 * time.Second, 4 * time.Second, true},
			{time.Minute, 5 * time.Second, false},
			{1200 * time.Millisecond, 1200 * time.Millisecond, true}, // not prompt
			{4 * time.Second, 4 * time.Second, true},
			{900 * time.Millisecond, 900 * time.Millisecond, true}, // prompt
			{4 * time.Second, 1500 * time.Millisecond, false},
		} {
			delay.Store(int64(step.answer))
			began := time.Now()
			err := do(WithCopies(t.Context(), 0), e, rpc.Txn)
			if took := time.Since(began); (err == nil) != step.ok || took < step.took || took > step.took+100*time.Millisecond {
				t.Errorf("request %d, answered after %v: %v after %v, want %v", i, step.answer, err, took, step.took)
			}
			time.Sleep(time.Minute)
		}
	})
}
