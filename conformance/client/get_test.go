package client

import (
	"strings"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// The keys of TestGet, each with a different value and version, so that all sort
// orders differ. They were created and last changed in the order of the lists.
var (
	created  = []string{"c", "a", "e", "b", "d"}
	modified = []string{"a", "e", "d", "c", "b"}
	values   = map[string]string{"a": "5", "b": "3", "c": "1", "d": "4", "e": "2"}
	versions = map[string]int64{"a": 4, "b": 6, "c": 3, "d": 2, "e": 5}
)

func TestGet(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	before := put(t, c, p+"before", "") // a key in front of the range
	createdAt, modifiedAt := map[string]int64{}, map[string]int64{}
	for _, k := range created {
		createdAt[k] = put(t, c, p+"k/"+k, "first of "+k)
		for range versions[k] - 2 {
			put(t, c, p+"k/"+k, "middle of "+k)
		}
	}
	history := createdAt["d"] // all five exist
	for _, k := range modified {
		modifiedAt[k] = put(t, c, p+"k/"+k, values[k])
	}
	put(t, c, p+"l", "behind")

	type asked = etcd.GetRequest
	for _, test := range []struct {
		name  string
		req   asked // the key is under p+"k/"
		want  string
		count int64
		more  bool
	}{
		{name: "one", req: asked{Key: "b"}, want: "b", count: 1},
		{name: "missing", req: asked{Key: "x"}},
		{name: "prefix", req: asked{Prefix: true}, want: "a b c d e", count: 5},
		{name: "longer prefix", req: asked{Key: "b", Prefix: true}, want: "b", count: 1},
		{name: "range end", req: asked{Key: "b", RangeEnd: "d"}, want: "b c", count: 2},
		{name: "limit", req: asked{Prefix: true, Limit: 2}, want: "a b", count: 5, more: true},
		{name: "limit of all", req: asked{Prefix: true, Limit: 5}, want: "a b c d e", count: 5},
		{name: "limit beyond", req: asked{Prefix: true, Limit: 6}, want: "a b c d e", count: 5},
		{name: "count only", req: asked{Prefix: true, CountOnly: true}, count: 5},
		{name: "serializable", req: asked{Prefix: true, Serializable: true}, want: "a b c d e", count: 5},

		{name: "ascend", req: asked{Prefix: true, SortOrder: etcd.Ascend}, want: "a b c d e", count: 5},
		{name: "descend", req: asked{Prefix: true, SortOrder: etcd.Descend}, want: "e d c b a", count: 5},
		{name: "descend, limit", req: asked{Prefix: true, SortOrder: etcd.Descend, Limit: 2}, want: "e d", count: 5, more: true},
		{name: "by version", req: asked{Prefix: true, SortTarget: etcd.SortByVersion}, want: "d c a e b", count: 5},
		{name: "by version up", req: asked{Prefix: true, SortTarget: etcd.SortByVersion, SortOrder: etcd.Ascend}, want: "d c a e b", count: 5},
		{name: "by version down", req: asked{Prefix: true, SortTarget: etcd.SortByVersion, SortOrder: etcd.Descend}, want: "b e a c d", count: 5},
		{name: "by creation", req: asked{Prefix: true, SortTarget: etcd.SortByCreateRevision}, want: "c a e b d", count: 5},
		{name: "by creation up", req: asked{Prefix: true, SortTarget: etcd.SortByCreateRevision, SortOrder: etcd.Ascend}, want: "c a e b d", count: 5},
		{name: "by creation down", req: asked{Prefix: true, SortTarget: etcd.SortByCreateRevision, SortOrder: etcd.Descend}, want: "d b e a c", count: 5},
		{name: "by change", req: asked{Prefix: true, SortTarget: etcd.SortByModRevision}, want: "a e d c b", count: 5},
		{name: "by change up", req: asked{Prefix: true, SortTarget: etcd.SortByModRevision, SortOrder: etcd.Ascend}, want: "a e d c b", count: 5},
		{name: "by change down", req: asked{Prefix: true, SortTarget: etcd.SortByModRevision, SortOrder: etcd.Descend}, want: "b c d e a", count: 5},
		{name: "by value", req: asked{Prefix: true, SortTarget: etcd.SortByValue}, want: "c e b d a", count: 5},
		{name: "by value up", req: asked{Prefix: true, SortTarget: etcd.SortByValue, SortOrder: etcd.Ascend}, want: "c e b d a", count: 5},
		{name: "by value down", req: asked{Prefix: true, SortTarget: etcd.SortByValue, SortOrder: etcd.Descend}, want: "a d b e c", count: 5},
		{name: "by value down, limit", req: asked{Prefix: true, SortTarget: etcd.SortByValue, SortOrder: etcd.Descend, Limit: 2}, want: "a d", count: 5, more: true},

		{name: "changed from", req: asked{Prefix: true, MinModRevision: modifiedAt["d"]}, want: "b c d", count: 5},
		{name: "changed until", req: asked{Prefix: true, MaxModRevision: modifiedAt["d"]}, want: "a d e", count: 5},
		{name: "changed between", req: asked{Prefix: true, MinModRevision: modifiedAt["e"], MaxModRevision: modifiedAt["c"]}, want: "c d e", count: 5},
		{name: "changed at", req: asked{Prefix: true, MinModRevision: modifiedAt["e"], MaxModRevision: modifiedAt["e"]}, want: "e", count: 5},
		{name: "created from", req: asked{Prefix: true, MinCreateRevision: createdAt["e"]}, want: "b d e", count: 5},
		{name: "created until", req: asked{Prefix: true, MaxCreateRevision: createdAt["e"]}, want: "a c e", count: 5},
		{name: "created between", req: asked{Prefix: true, MinCreateRevision: createdAt["a"], MaxCreateRevision: createdAt["b"]}, want: "a b e", count: 5},
		{name: "all filters", req: asked{
			Prefix: true, MinModRevision: modifiedAt["e"], MaxModRevision: modifiedAt["c"],
			MinCreateRevision: createdAt["a"], MaxCreateRevision: createdAt["b"],
		}, want: "e", count: 5},
		{name: "filter, limit", req: asked{Prefix: true, MinModRevision: modifiedAt["d"], Limit: 2}, want: "b c", count: 5, more: true},

		{name: "history", req: asked{Prefix: true, Revision: history}, want: "a b c d e", count: 5},
		{name: "history before some", req: asked{Prefix: true, Revision: createdAt["e"]}, want: "a c e", count: 3},
		{name: "history before all", req: asked{Prefix: true, Revision: before}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, keysOnly := range []bool{false, true} {
				req := test.req
				req.Key = p + "k/" + req.Key
				if req.RangeEnd != "" {
					req.RangeEnd = p + "k/" + req.RangeEnd
				}
				req.KeysOnly = keysOnly && !req.CountOnly
				resp := get(t, c, req)
				if got := keysOf(resp.KVs, p+"k/"); got != test.want || resp.Count != test.count || resp.More != test.more {
					t.Errorf("keys only %v: %q, count %d, more %v; want %q, %d, %v",
						keysOnly, got, resp.Count, resp.More, test.want, test.count, test.more)
				}
				for _, kv := range resp.KVs {
					k := strings.TrimPrefix(kv.Key, p+"k/")
					if kv.CreateRevision != createdAt[k] {
						t.Errorf("%s was created at %d, want %d", k, kv.CreateRevision, createdAt[k])
					}
					if req.KeysOnly != (len(kv.Value) == 0) {
						t.Errorf("keys only %v: %s has the value %q", req.KeysOnly, k, kv.Value)
					}
					if req.Revision == 0 && (kv.ModRevision != modifiedAt[k] || kv.Version != versions[k]) {
						t.Errorf("%s is version %d of %d, want %d of %d", k, kv.Version, kv.ModRevision, versions[k], modifiedAt[k])
					}
					if req.Revision == 0 && !req.KeysOnly && string(kv.Value) != values[k] {
						t.Errorf("%s=%q, want %q", k, kv.Value, values[k])
					}
				}
			}
		})
	}

	t.Run("older values", func(t *testing.T) {
		resp := get(t, c, etcd.GetRequest{Key: p + "k/c", Revision: createdAt["c"]})
		if len(resp.KVs) != 1 || string(resp.KVs[0].Value) != "first of c" || resp.KVs[0].Version != 1 {
			t.Errorf("at its creation: %+v", resp.KVs)
		}
		if resp.Header.Revision < modifiedAt["b"] {
			t.Errorf("the header's revision %d is not the store's", resp.Header.Revision)
		}
	})

	t.Run("future revision", func(t *testing.T) {
		_, err := c.Get(t.Context(), etcd.GetRequest{Key: p + "k/c", Revision: 1 << 40})
		wants(t, err, etcd.ErrFutureRevision, etcd.OutcomeRejected)
	})
}

// FromKey reaches to the end of the store, and an empty prefix is the whole store,
// so these need their own server. So do keys without a successor.
func TestOpenRanges(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{}, etcd.Config{})
	names := []string{"\x00", "\x00\x01", "a", "a\x00", "a\xff", "a\xff\xff", "b", "\xfe\xff", "\xff", "\xff\x01", "\xff\xff", "\xff\xff\xff"}
	fill := func() {
		for _, k := range names {
			put(t, c, k, "v")
		}
	}
	for _, test := range []struct {
		name        string
		key         string
		prefix      bool
		fromKey     bool
		rangeEnd    string
		first, last int // indices of names
	}{
		{name: "all by prefix", prefix: true, first: 0, last: 11},
		{name: "all from key", fromKey: true, first: 0, last: 11},
		{name: "all from zero", key: "\x00", fromKey: true, first: 0, last: 11},
		{name: "prefix zero", key: "\x00", prefix: true, first: 0, last: 1},
		{name: "prefix a", key: "a", prefix: true, first: 2, last: 5},
		{name: "prefix a 255", key: "a\xff", prefix: true, first: 4, last: 5},
		{name: "prefix 254 255", key: "\xfe\xff", prefix: true, first: 7, last: 7},
		{name: "prefix 255", key: "\xff", prefix: true, first: 8, last: 11},
		{name: "prefix 255 255", key: "\xff\xff", prefix: true, first: 10, last: 11},
		{name: "from b", key: "b", fromKey: true, first: 6, last: 11},
		{name: "from between", key: "aa", fromKey: true, first: 4, last: 11},
		{name: "from the last", key: "\xff\xff\xff", fromKey: true, first: 11, last: 11},
		{name: "range end zero is the end", key: "b", rangeEnd: "\x00", first: 6, last: 11},
		{name: "range end", key: "a", rangeEnd: "a\xff\xff", first: 2, last: 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			fill()
			want := strings.Join(names[test.first:test.last+1], " ")
			resp := get(t, c, etcd.GetRequest{Key: test.key, Prefix: test.prefix, FromKey: test.fromKey, RangeEnd: test.rangeEnd})
			if got := keysOf(resp.KVs, ""); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			r, err := c.Range(t.Context(), etcd.GetRequest{Key: test.key, Prefix: test.prefix, FromKey: test.fromKey, RangeEnd: test.rangeEnd})
			if err != nil {
				t.Fatal(err)
			}
			if kvs := collect(t, r); keysOf(kvs, "") != want {
				t.Errorf("as a range %q, want %q", keysOf(kvs, ""), want)
			}
			compare := etcd.Compare{Key: test.key, Prefix: test.prefix, FromKey: test.fromKey, RangeEnd: test.rangeEnd, Target: etcd.TargetVersion, Result: etcd.Greater}
			txn, err := c.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{compare}})
			if err != nil || !txn.Succeeded {
				t.Errorf("the compare of all its keys: %+v, %v", txn, err)
			}
			del := etcd.DeleteRequest{Key: test.key, Prefix: test.prefix, FromKey: test.fromKey, RangeEnd: test.rangeEnd, PrevKV: true}
			if test.last-test.first == len(names)-1 { // every key: such a range is refused
				del = etcd.DeleteRequest{All: true, PrevKV: true}
			}
			deleted, err := c.Delete(t.Context(), del)
			if err != nil {
				t.Fatal(err)
			}
			if got := keysOf(deleted.PrevKVs, ""); got != want || deleted.Deleted != int64(test.last-test.first+1) {
				t.Errorf("deleted %d: %q, want %q", deleted.Deleted, got, want)
			}
			left := append(append([]string(nil), names[:test.first]...), names[test.last+1:]...)
			if got := keysOf(get(t, c, etcd.GetRequest{Prefix: true}).KVs, ""); got != strings.Join(left, " ") {
				t.Errorf("left are %q, want %q", got, left)
			}
		})
	}
	fill()
	if deleted, err := c.Delete(t.Context(), etcd.DeleteRequest{All: true}); err != nil || deleted.Deleted != int64(len(names)) {
		t.Errorf("all: %+v, %v", deleted, err)
	}
	fill()
	op := etcd.DeleteRequest{All: true, PrevKV: true}
	if all := txn(t, c, etcd.TxnRequest{Then: []etcd.Op{op}}).Responses[0].Delete; len(all.PrevKVs) != len(names) {
		t.Errorf("all, in a transaction: %+v", all)
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{}, etcd.Config{})
	ctx := t.Context()
	var revisions []int64
	for range 10 {
		revisions = append(revisions, put(t, c, "k", "v"))
	}
	for _, physical := range []bool{false, true} {
		at := revisions[3]
		if physical {
			at = revisions[6]
		}
		resp, err := c.Compact(ctx, etcd.CompactRequest{Revision: at, Physical: physical})
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Revision != revisions[9] {
			t.Errorf("the header's revision is %d, want %d", resp.Header.Revision, revisions[9])
		}
		_, err = c.Get(ctx, etcd.GetRequest{Key: "k", Revision: at - 1})
		if e := wants(t, err, etcd.ErrCompacted, etcd.OutcomeRejected); e != nil && e.Attempts != 1 {
			t.Errorf("%d attempts: %v", e.Attempts, err)
		}
		if kvs := get(t, c, etcd.GetRequest{Key: "k", Revision: at}).KVs; len(kvs) != 1 || kvs[0].ModRevision != at {
			t.Errorf("at the compacted revision: %+v", kvs)
		}
		_, err = c.Compact(ctx, etcd.CompactRequest{Revision: at, Physical: physical})
		wants(t, err, etcd.ErrCompacted, etcd.OutcomeRejected)
		_, err = c.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{
			etcd.PutRequest{Key: "k2"}, etcd.GetRequest{Key: "k", Revision: at - 1},
		}})
		wants(t, err, etcd.ErrCompacted, etcd.OutcomeRejected)
		if kv := stored(t, c, "k2"); kv.Version != 0 {
			t.Errorf("a refused transaction stored %+v", kv)
		}
		_, err = c.Range(ctx, etcd.GetRequest{Key: "k", Revision: at - 1})
		wants(t, err, etcd.ErrCompacted, etcd.OutcomeRejected)
	}
	_, err := c.Compact(ctx, etcd.CompactRequest{Revision: 1 << 40})
	wants(t, err, etcd.ErrFutureRevision, etcd.OutcomeRejected)
	if etcd.MaybeApplied(err) {
		t.Error(err)
	}
}

func TestNoSpace(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{QuotaBytes: 1 << 20}, etcd.Config{})
	value := make([]byte, 32<<10)
	for i := range 10_000 { // the server updates the size of its file only now and then
		_, err := c.Put(t.Context(), etcd.PutRequest{Key: "k", Value: value})
		if err == nil {
			continue
		}
		// The put that reaches the quota is applied, and still fails.
		wants(t, err, etcd.ErrNoSpace, etcd.OutcomeUnknown)
		if !etcd.MaybeApplied(err) {
			t.Errorf("put %d: %v: said to be not applied", i, err)
		}
		return
	}
	t.Error("more than the quota was stored")
}
