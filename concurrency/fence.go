package concurrency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
)

// A copy of a request that the client has given up can be applied much later: by a member
// that was suspended before it handled the request. If a second copy has created the key
// and the key was deleted meanwhile, the late copy brings it back, unnoticed.
//
// So every request that creates a key compares the mod revision of the session's key, the
// epoch. After a request of unknown outcome the session's key is put once (the fence): from
// that answer on no earlier copy can be applied, because a mod revision never comes back.
// Only then is the request sent again, with the next epoch, and its result is final. So
// neither it nor the fence waits long for an answer (call.WithCopies). As long as no
// outcome is unknown, the session has no key, and the epoch is 0; such requests put with
// the lease, which etcd refuses once the lease, and with it the key, is gone.

// pauses spaces requests that fail.
var pauses = backoff.Backoff{First: 20 * time.Millisecond, Cap: time.Second}

// pause waits until another attempt is due; false when ctx ends before.
func pause(ctx context.Context, failures int) bool {
	return call.Sleep(ctx, pauses.Jittered(failures))
}

// currentEpoch is what a request that creates a key must compare.
func (s *Session) currentEpoch() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// inEpoch is the condition that no fence was put since the epoch.
func (s *Session) inEpoch(epoch int64) etcd.Compare {
	return etcd.CompareModRevision(s.key, etcd.Equal, epoch)
}

// moved takes note of the session's key as a request of the given epoch found it.
func (s *Session) moved(epoch int64, found *etcd.GetResponse) {
	kv, ok := found.First()
	switch {
	case !ok && epoch != 0:
		s.lose(errors.New("the session's key was deleted"))
		return
	case kv.ModRevision < epoch:
		s.lose(etcd.ErrHistoryReset)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kv.ModRevision > s.epoch {
		s.epoch, s.created = kv.ModRevision, kv.CreateRevision
	}
}

// fence returns when no request of the epoch can be applied any more.
func (s *Session) fence(ctx context.Context, epoch int64) error {
	select {
	case s.fencing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.fencing }()
	for failures := 0; s.currentEpoch() == epoch; failures++ {
		if err := s.Err(); err != nil {
			return err
		}
		err := s.putKey(call.WithCopies(ctx, failures), epoch)
		switch {
		case err == nil:
			s.co.counters.fences.Add(1)
		case errors.Is(err, etcd.ErrLeaseNotFound):
			s.lose(err)
			return s.Err()
		case !retriable(err) || !pause(ctx, failures):
			return err
		}
	}
	return s.Err()
}

// putKey puts the session's key if the epoch is still the given one.
func (s *Session) putKey(ctx context.Context, epoch int64) error {
	resp, err := s.co.client.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{s.inEpoch(epoch)},
		Then: []etcd.Op{etcd.PutRequest{Key: s.key, Lease: s.lease.ID}, etcd.GetRequest{Key: s.key}},
		Else: []etcd.Op{etcd.GetRequest{Key: s.key}},
	})
	if err != nil {
		return s.explain(err)
	}
	s.moved(epoch, resp.Responses[len(resp.Responses)-1].Get)
	return nil
}

// explain names the field to change when the session's key is forbidden.
func (s *Session) explain(err error) error {
	if errors.Is(err, etcd.ErrPermissionDenied) {
		return fmt.Errorf("%w (the user needs read and write permission for its own keys and for those below Config.Name, %q)", err, s.co.config.Name+"/")
	}
	return err
}

// retriable reports whether the same request may succeed later, when it is safe to repeat.
func retriable(err error) bool { return etcd.Temporary(err) || etcd.MaybeApplied(err) }

// Guard returns a condition that holds while the session's lease lives, for any Txn: a
// write behind it is refused once the lease has ended, however late it arrives. The first
// call puts the session's key.
//
// Errors: ErrSessionLost, and those of [etcd.Client.Txn].
//
// etcd: KV/Txn (since 3.0)
func (s *Session) Guard(ctx context.Context) (etcd.Compare, error) {
	if ctx == nil {
		return etcd.Compare{}, errNilContext
	}
	if err := s.ensureKey(ctx); err != nil {
		return etcd.Compare{}, fmt.Errorf("concurrency: Session.Guard: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return etcd.CompareCreateRevision(s.key, etcd.Equal, s.created), nil
}

// ensureKey puts the session's key unless it is there.
func (s *Session) ensureKey(ctx context.Context) error {
	if err := s.Err(); err != nil {
		return err
	}
	if s.currentEpoch() != 0 {
		return nil
	}
	return s.fence(ctx, 0)
}

// Epoch returns the session's current epoch, and the condition that it still lasts.
//
// Let a Txn that puts a key on the session's lease compare it. When the outcome of the Txn
// stays unknown, [Session.Fence] ensures that no copy of it is applied later, for example
// after the key was deleted. The locks of this package do so.
func (s *Session) Epoch() (epoch int64, goesOn etcd.Compare) {
	epoch = s.currentEpoch()
	return epoch, s.inEpoch(epoch)
}

// Fence ends an epoch: when it returns nil, no request that compares the epoch's condition can
// be applied, however late it arrives. It does nothing if the epoch is over, also if another
// recipe of the Coordinator has ended it.
//
// It repeats requests that fail for a passing reason until ctx ends. A lease that etcd no
// longer knows ends the session.
//
// Errors: ErrSessionLost, and those of [etcd.Client.Txn]. The epoch may have ended after any
// error.
//
// etcd: KV/Txn (since 3.0)
func (s *Session) Fence(ctx context.Context, epoch int64) error {
	if ctx == nil {
		return errNilContext
	}
	if err := s.fence(ctx, epoch); err != nil {
		return fmt.Errorf("concurrency: Session.Fence: %w", err)
	}
	return nil
}
