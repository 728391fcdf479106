package concurrency

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
)

// Run campaigns again after a loss, whatever its function returns: the error of a Txn or a
// renewal, its own error, or nil; also when the function has resigned itself or when only Run's
// own resignation finds that the key is gone. The function's context has ended before it learns
// of the loss.
func TestRunCampaignsAfterLoss(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	refused := func(ctx context.Context, ld *concurrency.Leadership) error {
		_, err := ld.Txn(context.WithoutCancel(ctx), etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: "never"}}})
		if !errors.Is(err, concurrency.ErrNotLeader) || ctx.Err() == nil || ld.Context().Err() == nil {
			t.Errorf("a Txn after the loss: %v; the function's context: %v, the leadership's: %v", err, ctx.Err(), ld.Context().Err())
		}
		return err
	}
	for what, lose := range map[string]func(context.Context, *concurrency.Leadership) error{
		"returns what its Txn says": refused,
		"returns nil": func(ctx context.Context, ld *concurrency.Leadership) error {
			_ = refused(ctx, ld)
			return nil
		},
		"returns another error": func(ctx context.Context, ld *concurrency.Leadership) error {
			_ = refused(ctx, ld)
			return boom
		},
		"resigns": func(ctx context.Context, ld *concurrency.Leadership) error {
			err := refused(ctx, ld)
			if resigned := ld.Resign(ctx); !errors.Is(resigned, concurrency.ErrLockLost) {
				t.Errorf("Resign: %v", resigned)
			}
			return err
		},
		"resigns and finds the loss so": func(ctx context.Context, ld *concurrency.Leadership) error {
			return ld.Resign(ctx)
		},
		"does not know": func(context.Context, *concurrency.Leadership) error { return boom },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			ctx := testbed.Within(t, 60*time.Second)
			terms := 0
			err := fresh(t).Election(name, concurrency.ElectionConfig{}).Run(ctx, func(ctx context.Context, ld *concurrency.Leadership) error {
				if terms++; terms == 3 {
					return nil
				}
				testbed.Delete(t, c, ld.Key())
				return lose(ctx, ld)
			})
			if err != nil || terms != 3 {
				t.Errorf("%d terms, %v", terms, err)
			}
			noKeys(t, c, name)
		})
	}
}

// A function that has resigned itself has ended Run, and its error does.
func TestRunAfterOwnResignation(t *testing.T) {
	t.Parallel()
	calls := 0
	err := fresh(t).Election(testbed.OwnName(t), concurrency.ElectionConfig{}).Run(testbed.Within(t, 20*time.Second),
		func(ctx context.Context, ld *concurrency.Leadership) error {
			calls++
			if err := ld.Resign(ctx); err != nil {
				t.Error(err)
			}
			_, err := ld.Txn(ctx, etcd.TxnRequest{})
			return err
		})
	if !errors.Is(err, concurrency.ErrNotHeld) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// The functions of Do and Once have their context ended by the time that a call tells of the
// loss, and Do says once, on one line, why the lock was lost.
func TestFunctionsHearOfTheLoss(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	co := testbed.Coordinate(t, c, concurrency.Config{})
	ctx := testbed.Within(t, 60*time.Second)
	boom := errors.New("boom")
	for _, own := range []error{nil, boom} {
		name := testbed.OwnName(t)
		err := co.Mutex(name, concurrency.MutexConfig{}).Do(ctx, func(ctx context.Context, l *concurrency.Lock) error {
			testbed.Delete(t, c, l.Key())
			_, err := l.Txn(context.WithoutCancel(ctx), etcd.TxnRequest{})
			if cause := context.Cause(ctx); !errors.Is(err, concurrency.ErrLockLost) || !errors.Is(cause, concurrency.ErrLockLost) {
				t.Errorf("Txn: %v; the context: %v", err, cause)
			}
			if own != nil {
				return own
			}
			return err
		})
		if !errors.Is(err, concurrency.ErrLockLost) || own != nil && !errors.Is(err, own) {
			t.Errorf("Do: %v", err)
		}
		if text := err.Error(); strings.Count(text, concurrency.ErrLockLost.Error()) != 1 || strings.Contains(text, "\n") {
			t.Errorf("Do: %q", text)
		}
	}
	name := testbed.OwnName(t)
	_, err := co.Once(ctx, name, func(ctx context.Context) ([]byte, []etcd.Op, error) {
		s := must[*concurrency.Session](t)(co.Session(ctx))
		s.Abandon()
		if cause := context.Cause(ctx); !errors.Is(cause, concurrency.ErrLockLost) {
			t.Errorf("the context of Once: %v", cause)
		}
		return nil, nil, nil
	})
	if !errors.Is(err, concurrency.ErrLockLost) || etcd.MaybeApplied(err) {
		t.Errorf("Once: %v", err)
	}
}
