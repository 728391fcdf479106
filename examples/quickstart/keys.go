package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"silly.store/etcd"
)

// readPrefix reads many keys with one request, and deletes them with one.
func (t *tour) readPrefix(ctx context.Context) error {
	t.heading("Prefix")

	fruit := t.prefix + "fruit/"
	for name, count := range map[string]string{"apple": "3", "banana": "12", "cherry": "40"} {
		if _, err := t.c.Put(ctx, etcd.PutRequest{Key: fruit + name, Value: []byte(count)}); err != nil {
			return err
		}
	}

	last, err := t.c.Get(ctx, etcd.GetRequest{Key: fruit, Prefix: true, SortOrder: etcd.Descend, Limit: 2})
	if err != nil {
		return err
	}
	t.show("get fruit/*, the last two", "of %d", last.Count)
	for _, kv := range last.KVs {
		t.show("  "+strings.TrimPrefix(kv.Key, t.prefix), "%s", kv.Value)
	}

	// Range reads all pairs piece by piece, as of one revision, so their number
	// doesn't matter.
	r, err := t.c.Range(ctx, etcd.GetRequest{Key: fruit, Prefix: true})
	if err != nil {
		return err
	}
	t.show("range over fruit/*", "as of revision %d", r.Revision())
	for kv, err := range r.All() {
		if err != nil {
			return err
		}
		t.show("  "+strings.TrimPrefix(kv.Key, t.prefix), "%s", kv.Value)
	}

	deleted, err := t.c.Delete(ctx, etcd.DeleteRequest{Key: fruit, Prefix: true})
	if err != nil {
		return err
	}
	t.show("delete fruit/*", "%d keys", deleted.Deleted)
	return nil
}

// transact makes two people try to take the same lock: only one gets it.
func (t *tour) transact(ctx context.Context) error {
	t.heading("Transaction")

	lock := t.prefix + "lock"
	for _, name := range []string{"alice", "bob"} {
		txn, err := t.c.Txn(ctx, etcd.TxnRequest{
			If:   []etcd.Compare{etcd.Missing(lock)},
			Then: []etcd.Op{etcd.PutRequest{Key: lock, Value: []byte(name)}},
			Else: []etcd.Op{etcd.GetRequest{Key: lock}},
		})
		if err != nil {
			return err
		}
		if txn.Succeeded {
			t.show("if lock is free, put "+name, "done")
		} else {
			holder, _ := txn.Responses[0].Get.First()
			t.show("if lock is free, put "+name, "no, %s has it", holder.Value)
		}
	}
	return nil
}

// lookBack reads earlier versions of a key.
func (t *tour) lookBack(ctx context.Context) error {
	t.heading("History")

	put, err := t.c.Put(ctx, etcd.PutRequest{Key: t.prefix + "color", Value: []byte("blue")})
	if err != nil {
		return err
	}
	t.colors = append(t.colors, put.Header.Revision)

	for _, revision := range t.colors {
		got, err := t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "color", Revision: revision})
		if err != nil {
			return err
		}
		color, _ := got.First()
		t.show(fmt.Sprintf("color at revision %d", revision), "%s", color.Value)
	}
	return nil
}

// compact makes the store forget the versions that lookBack could still read.
func (t *tour) compact(ctx context.Context) error {
	t.heading("Compaction")

	first, last := t.colors[0], t.colors[len(t.colors)-1]
	if _, err := t.c.Compact(ctx, etcd.CompactRequest{Revision: last}); err != nil {
		return err
	}
	t.show(fmt.Sprintf("forget what was before %d", last), "done")

	_, err := t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "color", Revision: first})
	if !errors.Is(err, etcd.ErrCompacted) {
		return fmt.Errorf("reading revision %d after the compaction: %v, want ErrCompacted", first, err)
	}
	t.show(fmt.Sprintf("color at revision %d", first), "ErrCompacted: it is gone")

	got, err := t.c.Get(ctx, etcd.GetRequest{Key: t.prefix + "color"})
	if err != nil {
		return err
	}
	color, _ := got.First()
	t.show("color now", "%s", color.Value)
	return nil
}
