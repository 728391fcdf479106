package concurrency

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// BarrierConfig configures a [Barrier]. The zero value is valid.
type BarrierConfig struct {
	// Persistent keeps the barrier when the session or the process of its holder ends.
	// Without it the barrier is released then.
	Persistent bool
}

// Barrier holds its waiters until it is released. It is safe for concurrent use.
type Barrier struct {
	q      queue
	config BarrierConfig
}

// Barrier returns the barrier of a name. It does no I/O. Its key is the name.
func (co *Coordinator) Barrier(name string, config BarrierConfig) *Barrier {
	return &Barrier{queue{co: co, name: name}, config}
}

// Hold raises the barrier: Wait waits from now on.
//
// Errors: ErrLocked when it is held already, and those of [Mutex.Lock]. If ctx ends first,
// Hold takes it back.
//
// etcd: KV/Txn (since 3.0)
func (b *Barrier) Hold(ctx context.Context) error {
	if err := b.q.check(ctx); err != nil {
		return err
	}
	for {
		err := b.hold(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errSlotTaken):
			return fmt.Errorf("concurrency: the barrier %q %w", b.q.name, ErrLocked)
		case !errors.Is(err, errRequeue):
			return b.q.failed(ctx, err)
		}
		if ended := b.q.ended(ctx); ended != nil {
			return ended
		}
	}
}

// hold puts the key once. Its value says which call has put it, in case of doubt.
func (b *Barrier) hold(ctx context.Context) error {
	s, err := b.q.co.session(ctx, func(*Session) bool { return true })
	if err != nil {
		return err
	}
	p := &place{q: &b.q, s: s, slot: -1, key: b.q.name, value: []byte(s.hex + "." + strconv.FormatInt(rand.Int64(), 36))}
	if b.config.Persistent {
		// A late copy without a lease is refused only by the session's key, so that must
		// have been there.
		if err := s.ensureKey(ctx); err != nil {
			return s.explain(p.lost(err))
		}
	} else {
		p.lease = s.lease.ID
	}
	err = p.enqueue(ctx, false)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		p.drop(err)
	}
	return err
}

// Release lowers the barrier, no matter which process has raised it. It does nothing if
// the barrier is not raised.
//
// etcd: KV/Range, KV/Txn (since 3.0)
func (b *Barrier) Release(ctx context.Context) error {
	if err := b.q.check(ctx); err != nil {
		return err
	}
	resp, err := b.q.co.client.Get(ctx, etcd.GetRequest{Key: b.q.name, KeysOnly: true})
	if err != nil {
		return b.q.failed(ctx, err)
	}
	kv, there := resp.First()
	for failures := 0; there; failures++ {
		_, err := b.q.co.client.Txn(call.WithCopies(ctx, failures), etcd.TxnRequest{
			If:   []etcd.Compare{etcd.CompareCreateRevision(kv.Key, etcd.Equal, kv.CreateRevision)},
			Then: []etcd.Op{etcd.DeleteRequest{Key: kv.Key}},
		})
		if err == nil {
			break // that holding is over, however it has ended
		}
		if !etcd.MaybeApplied(err) || !pause(ctx, failures) {
			return b.q.failed(ctx, err)
		}
	}
	return nil
}

// Wait waits until the barrier is not held. It writes nothing and needs no session.
//
// etcd: KV/Range, Watch/Watch (since 3.0)
func (b *Barrier) Wait(ctx context.Context) error {
	if err := b.q.check(ctx); err != nil {
		return err
	}
	key := b.q.name
	err := b.q.co.awaitDeletions(ctx, hubKey{key: key, exact: true}, func(ctx context.Context) (outset, error) {
		resp, err := b.q.co.client.Get(ctx, etcd.GetRequest{Key: key, KeysOnly: true})
		if err != nil {
			return outset{}, err
		}
		o := outset{revision: resp.Header.Revision}
		if _, there := resp.First(); there {
			o.before = []blocker{{key, 1}}
		}
		return o, nil
	})
	if err != nil {
		return b.q.failed(ctx, err)
	}
	return nil
}

// awaitDeletions waits until the keys that read finds are gone. It puts no key.
func (co *Coordinator) awaitDeletions(ctx context.Context, at hubKey, read func(context.Context) (outset, error)) error {
	ctx, cancel := joined(ctx, co.life)
	defer cancel()
	m := co.hubs.come(at, "", nil)
	defer m.leave(false)
	for failures, waited := 0, false; ; {
		o, err := read(ctx)
		switch {
		case err != nil && (!waited || !etcd.Temporary(err) || !pause(ctx, failures)):
			return err
		case err != nil:
			failures++
			continue
		case o.clear():
			return nil
		}
		failures, waited = 0, true
		if m.join(o) {
			st, err := m.await(ctx)
			switch {
			case err != nil:
				return err
			case st == standsClear:
				return nil
			case st == standsFailed:
				return m.failure()
			}
		}
		m.again()
	}
}
