package main

import (
	"context"
	"fmt"
	"time"

	"silly.store/etcd"
)

// discoverInstances watches a service: one of its instances shuts down cleanly, the
// other crashes.
func (t *tour) discoverInstances(ctx context.Context) error {
	t.heading("Service")

	w, err := t.c.Watch(ctx, etcd.WatchRequest{Key: t.prefix + "service/", Prefix: true, PrevKV: true})
	if err != nil {
		return err
	}
	defer w.Close()

	a, err := t.register(ctx, "a", "10.0.0.1:8080")
	if err != nil {
		return err
	}
	defer a.c.Close()
	if err := t.seen(ctx, w, "a registers"); err != nil {
		return err
	}
	b, err := t.register(ctx, "b", "10.0.0.2:8080")
	if err != nil {
		return err
	}
	defer b.c.Close()
	if err := t.seen(ctx, w, "b registers"); err != nil {
		return err
	}

	// The end of a lease deletes its keys.
	if err := a.lease.Revoke(ctx); err != nil {
		return err
	}
	if err := t.seen(ctx, w, "a stops, revoking its lease"); err != nil {
		return err
	}

	// b's lease is no longer renewed, and not revoked.
	b.c.Close()
	return t.seen(ctx, w, "b crashes")
}

// instance is one instance of the service: outside this tour, a separate program.
type instance struct {
	c     *etcd.Client
	lease *etcd.Lease
}

// register starts an instance.
func (t *tour) register(ctx context.Context, name, address string) (*instance, error) {
	c, err := etcd.New(etcd.Config{Endpoints: t.endpoints})
	if err != nil {
		return nil, err
	}
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: time.Second})
	if err == nil {
		_, err = c.Put(ctx, etcd.PutRequest{
			Key: t.prefix + "service/" + name, Value: []byte(address), Lease: lease.ID,
		})
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &instance{c: c, lease: lease}, nil
}

// seen prints the next events of the watch.
func (t *tour) seen(ctx context.Context, w *etcd.Watcher, what string) error {
	began := time.Now()
	resp, err := w.Read(ctx)
	if err != nil {
		return err
	}
	for _, ev := range resp.Events {
		switch ev.Type {
		case etcd.EventPut:
			t.show(what, "new: %s at %s", t.short(ev.KV.Key), ev.KV.Value)
		case etcd.EventDelete:
			where := "an unknown address"
			if ev.PrevKV != nil { // it may have been compacted
				where = string(ev.PrevKV.Value)
			}
			t.show(what, "gone after %.1fs: %s at %s", time.Since(began).Seconds(), t.short(ev.KV.Key), where)
		}
	}
	if len(resp.Events) == 0 {
		return fmt.Errorf("the watch delivered nothing when %s", what)
	}
	return nil
}
