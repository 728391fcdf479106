package concurrency

import (
	"context"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// Once calls f on one of all instances that call Once with this name, and returns the value
// that f has returned, on all of them, now and later. The value is kept in the key
// <name>.done and stored in one Txn with the operations that f returns: these are applied
// exactly once. f is called again if its process is lost before that, so it runs at least
// once; its context ends when the lock that protects it is lost. A panic of f reaches the
// caller, and the next caller calls its own f.
//
// Errors: f's, after which the next caller calls its own f, and those of [Mutex.Lock]
// and [Lock.Txn].
//
// etcd: KV/Txn, KV/Range (since 3.3)
func (co *Coordinator) Once(ctx context.Context, name string, f func(ctx context.Context) (value []byte, ops []etcd.Op, err error)) ([]byte, error) {
	if f == nil {
		return nil, invalid("%q: the function is nil", name)
	}
	o := &once{co.Mutex(name, MutexConfig{}), name + ".done"}
	if err := o.m.q.check(ctx); err != nil {
		return nil, err
	}
	value, done, err := o.look(ctx)
	if done || err != nil {
		return value, err
	}
	l, err := o.m.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Unlock(ctx) }() // what counts is done; the release goes on by itself
	value, done, err = o.look(ctx)
	if done || err != nil {
		return value, err // done by the one before
	}
	held, cancel := l.within(ctx)
	defer cancel()
	value, ops, err := f(held)
	if err != nil {
		return nil, err
	}
	return o.finish(ctx, l, value, ops)
}

type once struct {
	m    *Mutex
	done string // the key
}

// look returns the value if it is there.
func (o *once) look(ctx context.Context) (value []byte, done bool, err error) {
	resp, err := o.m.q.co.client.Get(ctx, etcd.GetRequest{Key: o.done})
	if err != nil {
		return nil, false, o.m.q.failed(ctx, err)
	}
	kv, done := resp.First()
	return kv.Value, done, nil
}

// finish puts the value and applies the operations. It repeats a request of unknown outcome:
// the key is either there, put by an earlier copy, or not.
func (o *once) finish(ctx context.Context, l *Lock, value []byte, ops []etcd.Op) ([]byte, error) {
	var unknown error // of a copy of unknown outcome
	for failures := 0; ; failures++ {
		_, err := l.Txn(call.WithCopies(ctx, failures), etcd.TxnRequest{
			If:   []etcd.Compare{etcd.Missing(o.done)},
			Then: append([]etcd.Op{etcd.PutRequest{Key: o.done, Value: value}}, ops...),
		})
		if err == nil {
			return value, nil
		}
		if etcd.MaybeApplied(err) {
			unknown = err
		}
		if !etcd.MaybeApplied(err) || !pause(ctx, failures) {
			return nil, unsettled(call.Join(unknown, err))
		}
	}
}
