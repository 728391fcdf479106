package concurrency

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"silly.store/etcd"
)

// The session ends while its lock is released. When the server has ended the lease, that may
// have been before the release: the lock counts as lost. Otherwise the key was there when the
// release began.
func TestReleaseAfterTheSessionsEnd(t *testing.T) {
	for _, test := range []struct {
		cause error
		held  bool
	}{
		{fmt.Errorf("%w: %w", ErrSessionLost, etcd.ErrLeaseExpired), false},
		{fmt.Errorf("%w: %w", ErrSessionLost, etcd.ErrLeaseNotRenewed), true},
		{fmt.Errorf("%w: %w", ErrSessionLost, errGrace), true},
		{ErrClosed, true},
	} {
		s := &Session{}
		s.life, s.end = context.WithCancelCause(context.Background())
		s.end(test.cause)
		p := &place{s: s, lease: 1, q: &queue{co: &Coordinator{}, name: "n"}}
		if held, done, err := p.release(t.Context()); held != test.held || !done || err != nil {
			t.Errorf("%v: held %v, done %v, error %v; want held %v", test.cause, held, done, err, test.held)
		}
		l := &Lock{p: p}
		if done, err := l.releaseOnce(t.Context()); !done || errors.Is(err, ErrLockLost) == test.held {
			t.Errorf("%v: Unlock returns %v", test.cause, err)
		}
	}
}
