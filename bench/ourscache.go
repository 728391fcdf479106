package main

import (
	"context"
	"fmt"
	"math"

	"silly.store/etcd"
	"silly.store/etcd/cache"
)

// oursReading is a cache.
type oursReading struct {
	c  *etcd.Client
	ca *cache.Cache
}

func (o *ours) cached(ctx context.Context, prefix string) (reading, error) {
	ca, err := cache.New(o.c, cache.Config{Key: prefix, Prefix: true, MaxBytes: math.MaxInt64})
	if err != nil {
		return nil, err
	}
	if err := ca.Ready(ctx); err != nil {
		return nil, err
	}
	return &oursReading{o.c, ca}, nil
}

func (r *oursReading) peek(_ context.Context, key string) error {
	if _, presence := r.ca.Peek(key); presence != cache.Present {
		return fmt.Errorf("%s is %v", key, presence)
	}
	return nil
}

func (r *oursReading) linearizable(ctx context.Context, key string) error {
	got, err := r.ca.Get(ctx, key, cache.Linearizable)
	if err == nil && !got.Found {
		err = fmt.Errorf("%s is not there", key)
	}
	return err
}

func (r *oursReading) change(ctx context.Context, key string, v value) (int64, error) {
	resp, err := r.c.Put(ctx, etcd.PutRequest{Key: key, Value: v.bytes})
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

func (r *oursReading) visible(ctx context.Context, revision int64) error {
	_, err := r.ca.Snapshot(ctx, cache.AtLeast(revision))
	return err
}

func (r *oursReading) len() int { return r.ca.Stats().Keys }

func (r *oursReading) close() { _ = r.ca.Close() }
