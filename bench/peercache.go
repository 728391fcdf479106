package main

import (
	"context"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// peerReading is what programs on client/v3 write themselves: a Get of the prefix into a map,
// and a watch that changes it.
type peerReading struct {
	c    *clientv3.Client
	stop context.CancelFunc
	over sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	pairs    map[string]*mvccpb.KeyValue
	revision int64
	changed  chan struct{} // closed with the next revision
}

func (p *peer) cached(ctx context.Context, prefix string) (reading, error) {
	got, err := p.c.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	r := &peerReading{c: p.c, pairs: make(map[string]*mvccpb.KeyValue, len(got.Kvs)), revision: got.Header.Revision, changed: make(chan struct{})}
	for _, kv := range got.Kvs {
		r.pairs[string(kv.Key)] = kv
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	events := p.c.Watch(watching, prefix, clientv3.WithPrefix(), clientv3.WithRev(r.revision+1))
	r.over.Go(func() {
		for resp := range events {
			r.apply(resp)
		}
	})
	return r, nil
}

func (r *peerReading) apply(resp clientv3.WatchResponse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range resp.Events {
		if ev.Type == clientv3.EventTypeDelete {
			delete(r.pairs, string(ev.Kv.Key))
		} else {
			r.pairs[string(ev.Kv.Key)] = ev.Kv
		}
		r.revision = ev.Kv.ModRevision
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *peerReading) peek(ctx context.Context, key string) error { return r.linearizable(ctx, key) }

func (r *peerReading) linearizable(ctx context.Context, key string) error {
	got, err := r.c.Get(ctx, key)
	if err != nil {
		return err
	}
	return expect("get", len(got.Kvs), 1)
}

func (r *peerReading) change(ctx context.Context, key string, v value) (int64, error) {
	resp, err := r.c.Put(ctx, key, v.text)
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

func (r *peerReading) visible(ctx context.Context, revision int64) error {
	for {
		r.mu.Lock()
		now, changed := r.revision, r.changed
		r.mu.Unlock()
		if now >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *peerReading) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pairs)
}

func (r *peerReading) close() {
	r.stop()
	r.over.Wait()
}
