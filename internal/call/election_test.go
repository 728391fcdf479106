package call

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/rpc"
)

// A limit in the context ends a call when there is no leader. Only a read is tried again,
// as usual.
func TestElectionLimit(t *testing.T) {
	patient := Config{Retries: 5, RetrySleep: time.Second}
	for name, test := range map[string]struct {
		config     Config
		method     *rpc.Method
		limit      time.Duration
		attempts   int
		atLeast, d time.Duration // how long it takes: from atLeast to d
	}{
		"write, none":         {patient, rpc.Put, 0, 1, 0, time.Millisecond},
		"write, some":         {patient, rpc.Put, 3 * time.Second, 1, 3 * time.Second, 3100 * time.Millisecond},
		"grant, none":         {patient, rpc.Grant, 0, 1, 0, time.Millisecond},
		"read, none":          {patient, rpc.Get, 0, 6, 4 * time.Second, 6 * time.Second},
		"read, some":          {patient, rpc.Get, time.Second, 6, 10 * time.Second, 12 * time.Second},
		"a token, none":       {withUser(patient), rpc.Put, 0, 1, 0, 100 * time.Millisecond},
		"a token, some":       {withUser(patient), rpc.Put, 2 * time.Second, 1, 2 * time.Second, 2200 * time.Millisecond},
		"beyond Timeout":      {once, rpc.Put, time.Minute, 1, 9 * time.Second, 10 * time.Second},
		"write, a short wait": {patient, rpc.Put, time.Microsecond, 1, 0, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, _ := scripted(t, test.config, noLeader)
				began := time.Now()
				err := do(WithElectionLimit(t.Context(), test.limit), e, test.method)
				took := time.Since(began)
				var failed *Error
				if !errors.As(err, &failed) || failed.Sentinel != ErrNoLeader || failed.Attempts != test.attempts || failed.MaybeApplied() {
					t.Errorf("the error is %v", err)
				}
				if took < test.atLeast || took > test.d {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// An election that ends in time is waited for.
func TestElectionWithinLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := scripted(t, once, append(repeat(noLeader, 20), ok)...)
		if err := do(WithElectionLimit(t.Context(), 2*time.Second), e, rpc.Put); err != nil {
			t.Error(err)
		}
	})
}

// Other callers of a shared request would wait longer.
func TestElectionLimitShares(t *testing.T) {
	e, _ := scripted(t, usual, ok)
	for _, test := range []struct {
		ctx    context.Context
		method *rpc.Method
		shares bool
	}{
		{t.Context(), rpc.Put, true},
		{WithElectionLimit(t.Context(), 0), rpc.Get, false},
		{WithElectionLimit(t.Context(), time.Second), rpc.Get, true},
		{WithElectionLimit(t.Context(), time.Second), rpc.Put, false},
	} {
		if got := e.SharesRetries(test.ctx, test.method); got != test.shares {
			t.Errorf("%s, %v: %v", test.method.Op, test.ctx, got)
		}
	}
}
