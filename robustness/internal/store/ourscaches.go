package store

import (
	"context"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/robustness/internal/history"
)

func (s *ours) cache(prefix string, maxBytes int64) (Cache, error) {
	ca, err := cache.New(s.c, cache.Config{Key: prefix, Prefix: true, MaxBytes: maxBytes})
	if err != nil {
		return nil, err
	}
	return &oursCache{ca, s.names}, nil
}

type oursCache struct {
	ca    *cache.Cache
	names *history.Interner
}

func (o *oursCache) Close() error { return o.ca.Close() }

func (o *oursCache) Revision() int64 {
	sn, err := o.ca.Snapshot(ended, cache.Local)
	if err != nil {
		return 0
	}
	return sn.Revision()
}

// ended has calls that would have to wait fail.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (o *oursCache) Stats() CacheStats {
	s := o.ca.Stats()
	return CacheStats{s.Bytes, s.RetainedBytes, s.State == cache.StateEnded}
}

func (o *oursCache) Peek(key string) (*history.Event, bool) {
	kv, presence := o.ca.Peek(key)
	if presence != cache.Present {
		return nil, presence == cache.Absent
	}
	return o.event(&kv), true
}

func (o *oursCache) event(kv *etcd.KeyValue) *history.Event {
	if kv == nil {
		return nil
	}
	return &history.Event{
		Revision: kv.ModRevision, Key: o.names.String(kv.Key), Value: text(o.names, kv.Value),
		Created: kv.CreateRevision, Version: kv.Version, Lease: int64(kv.Lease),
	}
}

func freshness(f history.Fresh) cache.Freshness {
	switch f.Freshness {
	case history.Linearizable:
		return cache.Linearizable
	case history.AtLeast:
		return cache.AtLeast(f.Least)
	case history.Within:
		return cache.Within(f.Age)
	case history.AtRevision:
		return cache.Exact(f.Least)
	case history.Peek, history.Local:
	}
	return cache.Local
}

func (o *oursCache) Get(ctx context.Context, key string, f history.Fresh) (CacheAnswer, error) {
	r, err := o.ca.Get(ctx, key, freshness(f))
	if err != nil {
		return CacheAnswer{}, err
	}
	a := CacheAnswer{Revision: r.Revision, FromServer: r.FromServer}
	if r.Found {
		a.Pairs = []history.Event{*o.event(&r.KV)}
	}
	return a, nil
}

func (o *oursCache) All(ctx context.Context, f history.Fresh) (CacheAnswer, error) {
	sn, err := o.ca.Snapshot(ctx, freshness(f))
	if err != nil {
		return CacheAnswer{}, err
	}
	a := CacheAnswer{Revision: sn.Revision()}
	for kv := range sn.All("") {
		a.Pairs = append(a.Pairs, *o.event(&kv))
	}
	return a, nil
}

func (o *oursCache) Subscribe(prefix string) Subscription {
	return &oursSubscription{o, o.ca.Subscribe(prefix)}
}

type oursSubscription struct {
	o   *oursCache
	sub *cache.Subscription
}

func (s *oursSubscription) Next(ctx context.Context) (history.CacheUpdate, error) {
	u, err := s.sub.Next(ctx)
	if err != nil {
		return history.CacheUpdate{}, err
	}
	h := history.CacheUpdate{Revision: u.Snapshot.Revision(), First: u.First, Again: u.Again}
	for c := range u.Changes() {
		h.Changes = append(h.Changes, history.CacheChange{Old: s.o.event(c.Old), New: s.o.event(c.New)})
	}
	return h, nil
}
