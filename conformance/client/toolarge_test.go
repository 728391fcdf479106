package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// The client refuses answers that are larger than its limit, and its error says what to
// do for the operation that it is of.
func TestResponseTooLarge(t *testing.T) {
	t.Parallel()
	s, filler := private(t, etcdtest.Config{}, etcd.Config{})
	fill(t, filler, "large/", 50, 2000)
	for i := range 40 {
		put(t, filler, fmt.Sprintf("mixed/%02d", i), "small")
	}
	fill(t, filler, "mixed/large", 50, 2000)
	lease, err := filler.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := filler.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprint(strings.Repeat("leased", 500), i), Lease: lease.ID}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filler, "value", strings.Repeat("v", 30_000))

	c := connect(t, etcd.Config{Endpoints: s.Endpoints(), MaxResponseBytes: 20_000})
	if resp := get(t, c, etcd.GetRequest{Key: "large/", Prefix: true, Limit: 5}); len(resp.KVs) != 5 {
		t.Errorf("%d pairs", len(resp.KVs))
	}
	for _, test := range []struct {
		name    string
		call    func(ctx context.Context) error
		advice  string
		applied bool // the server has executed the request, and its answer is lost
	}{
		{"Get", func(ctx context.Context) error {
			_, err := c.Get(ctx, etcd.GetRequest{Key: "large/", Prefix: true})
			return err
		}, "read less with Limit or KeysOnly, use Range, or raise it", false},
		{"Get of one key", func(ctx context.Context) error {
			_, err := c.Get(ctx, etcd.GetRequest{Key: "value"})
			return err
		}, "or raise it", false},
		{"Batch", func(ctx context.Context) error {
			return c.Batch(ctx, etcd.PutRequest{Key: "batch"}, etcd.GetRequest{Key: "large/", Prefix: true}).Err()
		}, "read less with Limit or KeysOnly, use Range, or raise it", false},
		{"first page of a Range", func(ctx context.Context) error {
			_, err := c.Range(ctx, etcd.GetRequest{Key: "large/", Prefix: true})
			return err
		}, "a Range needs room for its first 32 pairs, and for pieces of about 1.5 MiB: raise it", false},
		{"piece of a Range", func(ctx context.Context) error {
			r, err := c.Range(ctx, etcd.GetRequest{Key: "mixed/", Prefix: true})
			if err != nil {
				return errors.New(err.Error())
			}
			for _, err = range r.All() {
			}
			return err
		}, "a Range needs room for its first 32 pairs, and for pieces of about 1.5 MiB: raise it", false},
		{"Txn", func(ctx context.Context) error {
			_, err := c.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.GetRequest{Key: "large/", Prefix: true}}})
			return err
		}, "read less in the Txn, with Limit, KeysOnly or fewer operations; or raise it", false},
		{"Txn that writes", func(ctx context.Context) error {
			_, err := c.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: "txn"}, etcd.GetRequest{Key: "large/", Prefix: true}}})
			return err
		}, "read less in the Txn, with Limit, KeysOnly or fewer operations; or raise it", true},
		{"TTL", func(ctx context.Context) error {
			_, err := c.TTL(ctx, etcd.TTLRequest{ID: lease.ID, Keys: true})
			return err
		}, "leave Keys out, or raise it", false},
		{"Watch", func(ctx context.Context) error {
			w, err := c.Watch(ctx, etcd.WatchRequest{Key: "value", Revision: 1})
			if err != nil {
				return errors.New(err.Error())
			}
			defer w.Close()
			_, err = w.Read(ctx)
			return err
		}, "a watch needs room for the largest value, and with PrevKV for two: raise it above the server's --max-request-bytes", false},
		{"Snapshot", func(ctx context.Context) error {
			snapshot, err := c.Maintenance().Snapshot(ctx, etcd.SnapshotRequest{})
			if err != nil {
				return err
			}
			defer snapshot.Close()
			_, err = io.Copy(io.Discard, snapshot)
			return err
		}, "(Config.MaxResponseBytes); raise it", false},
		{"Put", func(ctx context.Context) error {
			_, err := c.Put(ctx, etcd.PutRequest{Key: "value", PrevKV: true})
			return err
		}, "leave PrevKV out, or raise it", true},
		{"Delete", func(ctx context.Context) error {
			_, err := c.Delete(ctx, etcd.DeleteRequest{Key: "large/", Prefix: true, PrevKV: true})
			return err
		}, "leave PrevKV out, or raise it", true},
	} {
		err := test.call(within(t, 20*time.Second))
		e := wants(t, err, etcd.ErrResponseTooLarge, etcd.OutcomeUnknown)
		if e == nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		mustSay(t, err, "larger than the limit of 20000 (Config.MaxResponseBytes); ", test.advice)
		if e.Attempts > 1 || etcd.MaybeApplied(err) != test.applied {
			t.Errorf("%s: %d attempts, may have been applied: %v", test.name, e.Attempts, etcd.MaybeApplied(err))
		}
	}
	if n := get(t, filler, etcd.GetRequest{Key: "large/", Prefix: true, CountOnly: true}).Count; n != 0 {
		t.Errorf("%d pairs are left", n)
	}
	// The connection remains usable.
	put(t, c, "after", "v")
}
