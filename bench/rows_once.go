package main

import (
	"context"
	"sync"

	"silly.store/etcd"
	"silly.store/etcd/idempotent"
)

// onceRows returns writes that are applied exactly once, beside plain ones.
func onceRows() []row {
	return []row{{
		name: "exactly-once", about: "a put of 256 B by a Writer of package idempotent; \"ours, plain\" and client/v3 put it without",
		callers: []int{1, 16}, quick: []int{1},
		coalesce: etcd.CoalesceOff, plain: true,
		run: runOnce,
	}}
}

func runOnce(ctx context.Context, r *round) (figures, error) {
	keys := newKeys("key/", r.scale.Keys)
	v := newValue(valueSize)
	put := r.load.putOnce
	if r.client == plainName {
		put = r.load.put
	}
	return r.timed(ctx, func(caller int) operation {
		return operation{do: func(ctx context.Context, seq int) error { return put(ctx, keys[pick(caller, seq, len(keys))], v) }}
	})
}

// writer is the Writer of ours, made when it is first needed.
type writer struct {
	once sync.Once
	w    *idempotent.Writer
	err  error
}

func (o *ours) putOnce(ctx context.Context, key string, v value) error {
	o.writer.once.Do(func() {
		co, err := o.coordinator()
		if err != nil {
			o.writer.err = err
			return
		}
		o.writer.w, o.writer.err = idempotent.NewWriter(ctx, co, idempotent.Config{})
	})
	if o.writer.err != nil {
		return o.writer.err
	}
	_, err := o.writer.w.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: key, Value: v.bytes}}})
	return err
}

// putOnce is a plain put: client/v3 has nothing that finds out what became of one.
func (p *peer) putOnce(ctx context.Context, key string, v value) error { return p.put(ctx, key, v) }
