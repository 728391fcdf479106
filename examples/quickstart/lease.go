package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"silly.store/etcd"
)

// outliveTTL puts one key on a lease that is kept alive and one on a lease that
// isn't, and shows which one survives.
func (t *tour) outliveTTL(ctx context.Context) error {
	t.heading("Lease")

	// Deletions of keys, from now on.
	w, err := t.c.Watch(ctx, etcd.WatchRequest{Key: t.prefix + "session/", Prefix: true, NoPut: true})
	if err != nil {
		return err
	}
	defer w.Close()

	// The client renews its leases by itself unless you turn that off. A server
	// may grant more than requested: with usual settings at least 2 s.
	began := time.Now()
	kept, err := t.session(ctx, "kept", etcd.GrantRequest{TTL: time.Second})
	if err != nil {
		return err
	}
	if _, err := t.session(ctx, "left alone", etcd.GrantRequest{TTL: time.Second, NoKeepAlive: true}); err != nil {
		return err
	}
	t.show("put a key on either of two", "leases of %v", kept.TTL)

	resp, err := w.Read(ctx)
	if err != nil {
		return err
	}
	for _, ev := range resp.Events {
		t.show(fmt.Sprintf("after %.1fs", time.Since(began).Seconds()), "%s is gone", t.short(ev.KV.Key))
	}

	select {
	case <-kept.Done():
		return kept.Err() // the lease was lost: the error says why
	default:
	}
	got, err := t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "session/", Prefix: true})
	if err != nil {
		return err
	}
	for _, kv := range got.KVs {
		t.show("", "%s is still there", t.short(kv.Key))
	}

	if err := kept.Revoke(ctx); err != nil {
		return err
	}
	if <-kept.Done(); !errors.Is(kept.Err(), etcd.ErrLeaseRevoked) {
		return fmt.Errorf("the revoked lease ended with %w", kept.Err())
	}
	if resp, err = w.Read(ctx); err != nil {
		return err
	}
	for _, ev := range resp.Events {
		t.show("revoke its lease", "%s is gone", t.short(ev.KV.Key))
	}
	return nil
}

// session grants a lease and puts a key on it.
func (t *tour) session(ctx context.Context, name string, req etcd.GrantRequest) (*etcd.Lease, error) {
	lease, err := t.c.Grant(ctx, req)
	if err != nil {
		return nil, err
	}
	_, err = t.c.Put(ctx, etcd.PutRequest{Key: t.prefix + "session/" + name, Lease: lease.ID})
	return lease, err
}

// short returns a key without the tour's prefix.
func (t *tour) short(key string) string { return strings.TrimPrefix(key, t.prefix) }
