package main

import (
	"context"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
)

// ours does the work with silly.store/etcd at its defaults, except for the row's
// coalescing.
type ours struct {
	coalesce etcd.Coalesce
	variant  variant
	whole    *etcd.Client
	c        *etcd.Client // whole, or the variant's view of it

	once  sync.Once // makes co
	co    *concurrency.Coordinator
	coErr error

	writer writer
}

func (o *ours) open(t target) error {
	config, err := t.tls()
	if err != nil {
		return err
	}
	c := etcd.Config{Endpoints: t.Endpoints, TLS: config, Username: t.User, Password: t.Password, Coalesce: o.coalesce}
	if t.CountDials {
		c.DialContext = dials.dial
	}
	if o.variant.hooks != nil {
		if c.Hooks, err = o.variant.hooks(); err != nil {
			return err
		}
	}
	if o.whole, err = etcd.New(c); err != nil {
		return err
	}
	o.c = o.whole.Namespace(o.variant.namespace)
	return nil
}

func (o *ours) close() error { return o.whole.Close() }

func (o *ours) get(ctx context.Context, key string) error {
	r, err := o.c.Get(ctx, etcd.GetRequest{Key: key})
	if err != nil {
		return err
	}
	return expect("get", len(r.KVs), 1)
}

func (o *ours) put(ctx context.Context, key string, v value) error {
	_, err := o.c.Put(ctx, etcd.PutRequest{Key: key, Value: v.bytes})
	return err
}

func (o *ours) getAll(ctx context.Context, prefix string, n int) error {
	r, err := o.c.Get(ctx, etcd.GetRequest{Key: prefix, Prefix: true})
	if err != nil {
		return err
	}
	return expect("range", len(r.KVs), n)
}

func (o *ours) walk(ctx context.Context, prefix string, n int, each func()) error {
	r, err := o.c.Range(ctx, etcd.GetRequest{Key: prefix, Prefix: true})
	if err != nil {
		return err
	}
	pairs := 0
	for _, err := range r.All() {
		if err != nil {
			return err
		}
		pairs++
		each()
	}
	return expect("walk", pairs, n)
}

func (o *ours) txnGet(ctx context.Context, keys []string) error {
	ops := make([]etcd.Op, len(keys))
	for i, k := range keys {
		ops[i] = etcd.GetRequest{Key: k}
	}
	r, err := o.c.Txn(ctx, etcd.TxnRequest{Then: ops})
	if err != nil {
		return err
	}
	pairs := 0
	for _, p := range r.Responses {
		if p.Get != nil {
			pairs += len(p.Get.KVs)
		}
	}
	return expect("txn of gets", pairs, len(keys))
}

func (o *ours) txnPut(ctx context.Context, keys []string, v value) error {
	ops := make([]etcd.Op, len(keys))
	for i, k := range keys {
		ops[i] = etcd.PutRequest{Key: k, Value: v.bytes}
	}
	r, err := o.c.Txn(ctx, etcd.TxnRequest{Then: ops})
	if err != nil {
		return err
	}
	return expect("txn of puts", len(r.Responses), len(keys))
}

func (o *ours) keepLease(ctx context.Context, ttl time.Duration) (alive func() error, err error) {
	l, err := o.c.Grant(ctx, etcd.GrantRequest{TTL: ttl})
	if err != nil {
		return nil, err
	}
	return l.Err, nil
}

func (o *ours) watch(ctx context.Context, key string, prefix bool, revision int64) (watching, error) {
	w, err := o.c.Watch(ctx, etcd.WatchRequest{Key: key, Prefix: prefix, Revision: revision})
	return oursWatching{w}, err
}

type oursWatching struct{ w *etcd.Watcher }

func (w oursWatching) next(ctx context.Context) (int, error) {
	r, err := w.w.Read(ctx)
	if err != nil {
		return 0, err
	}
	return len(r.Events), nil
}

func (w oursWatching) stop() { _ = w.w.Close() }
