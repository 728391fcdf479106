package concurrency

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// Leadership is one term of a leader. It is safe for concurrent use.
type Leadership struct {
	l *Lock

	proclaiming chan struct{} // capacity 1: a value in it is the right to proclaim
	last        int64         // the key's mod revision as it was last seen; only with that right
}

// lock is the lock behind it; that of a zero Leadership is nobody's.
func (ld *Leadership) lock() *Lock {
	if ld.l == nil {
		return new(Lock)
	}
	return ld.l
}

// Term is the create revision of the leader's key: a fencing token, which grows from
// leader to leader.
func (ld *Leadership) Term() int64 { return ld.lock().Token() }

// Key is the leader's key.
func (ld *Leadership) Key() string { return ld.lock().Key() }

// Context ends when the leadership is lost or resigned, as [Lock.Context] does.
func (ld *Leadership) Context() context.Context { return ld.lock().Context() }

// Guard is the condition, for any Txn, that this term still lasts.
func (ld *Leadership) Guard() etcd.Compare { return ld.lock().Guard() }

// Txn is [Lock.Txn]; its error is ErrNotLeader when the leadership was lost or resigned.
func (ld *Leadership) Txn(ctx context.Context, req etcd.TxnRequest) (*etcd.TxnResponse, error) {
	resp, err := ld.lock().Txn(ctx, req)
	return resp, notLeader(err)
}

// Proclaim changes the leader's value. It repeats a request of unknown outcome until ctx
// ends; an abandoned proclamation never undoes a later one.
//
// Errors: ErrNotLeader, and those of [etcd.Client.Txn]. The value may have been changed if
// [etcd.MaybeApplied] says so.
//
// etcd: KV/Txn (since 3.0)
func (ld *Leadership) Proclaim(ctx context.Context, value []byte) error {
	l := ld.lock()
	switch err := l.use(); {
	case ctx == nil:
		return errNilContext
	case err != nil:
		return notLeader(err)
	}
	select {
	case ld.proclaiming <- struct{}{}:
	case <-ctx.Done():
		return l.p.q.failed(ctx, context.Cause(ctx))
	}
	defer func() { <-ld.proclaiming }()
	return ld.proclaim(ctx, value)
}

// proclaim puts the value if the key is as it was last seen: mod revisions do not come back,
// so a copy of an earlier request that lands late is refused. The caller has the right to.
func (ld *Leadership) proclaim(ctx context.Context, value []byte) error {
	p := ld.l.p
	var unknown error // of a copy of unknown outcome
	for failures := 0; ; failures++ {
		resp, err := p.q.co.client.Txn(call.WithCopies(ctx, failures), etcd.TxnRequest{
			If:   []etcd.Compare{p.guard(), etcd.CompareModRevision(p.key, etcd.Equal, ld.last)},
			Then: []etcd.Op{etcd.PutRequest{Key: p.key, Value: value, Lease: p.s.lease.ID}},
			Else: []etcd.Op{etcd.GetRequest{Key: p.key}},
		})
		if etcd.MaybeApplied(err) {
			unknown = err
		}
		switch {
		case errors.Is(err, etcd.ErrLeaseNotFound):
			p.s.lose(err)
			return notLeader(ld.l.use())
		case err != nil && (!etcd.MaybeApplied(err) || !pause(ctx, failures)):
			return p.q.failed(ctx, unsettled(call.Join(unknown, err)))
		case err != nil:
			continue
		case resp.Succeeded:
			ld.last = resp.Header.Revision
			return nil
		}
		kv, _ := resp.Responses[0].Get.First()
		if kv.CreateRevision != p.created {
			return notLeader(ld.l.lose(errors.New("its key is gone")))
		}
		ld.last = kv.ModRevision // an earlier copy's, of this value or another
		if failures > 0 && bytes.Equal(kv.Value, value) {
			return nil
		}
	}
}

// notLeader is an error of the lock, as that of a leadership.
func notLeader(err error) error {
	if errors.Is(err, ErrLockLost) || errors.Is(err, ErrNotHeld) {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return err
}

// Resign ends the leadership, as [Lock.Unlock] does. Its error is ErrNotLeader when the
// leadership was lost or resigned before.
func (ld *Leadership) Resign(ctx context.Context) error { return notLeader(ld.lock().Unlock(ctx)) }
