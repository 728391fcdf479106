package client

import (
	"bytes"
	"strings"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

func TestPut(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	ctx := t.Context()
	p := ownKeys(t)

	t.Run("revisions and versions", func(t *testing.T) {
		first := put(t, c, p+"k", "1")
		second := put(t, c, p+"k", "2")
		if second <= first {
			t.Errorf("revision %d follows %d", second, first)
		}
		kv := stored(t, c, p+"k")
		want := etcd.KeyValue{Key: p + "k", Value: []byte("2"), CreateRevision: first, ModRevision: second, Version: 2}
		if kv.Key != want.Key || string(kv.Value) != "2" || kv.CreateRevision != first || kv.ModRevision != second || kv.Version != 2 || kv.Lease != 0 {
			t.Errorf("stored %+v, want %+v", kv, want)
		}
	})

	t.Run("header", func(t *testing.T) {
		resp, err := c.Put(ctx, etcd.PutRequest{Key: p + "header"})
		if err != nil {
			t.Fatal(err)
		}
		if h := resp.Header; h.ClusterID == 0 || h.MemberID == 0 || h.Revision == 0 || h.RaftTerm == 0 {
			t.Errorf("header %+v", h)
		}
	})

	t.Run("previous pair", func(t *testing.T) {
		key := p + "prev"
		for i, want := range []string{"", "one", "two"} {
			value := [...]string{"one", "two", "three"}[i]
			resp, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte(value), PrevKV: true})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				if resp.PrevKV != nil {
					t.Errorf("a new key had %+v before", resp.PrevKV)
				}
				continue
			}
			if kv := resp.PrevKV; kv == nil || kv.Key != key || string(kv.Value) != want || kv.Version != int64(i) {
				t.Errorf("before %q the key was %+v, want %q", value, kv, want)
			}
		}
		resp, err := c.Put(ctx, etcd.PutRequest{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		if resp.PrevKV != nil {
			t.Error("the previous pair came without being asked for")
		}
	})

	t.Run("values", func(t *testing.T) {
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		for name, value := range map[string][]byte{
			"nil": nil, "empty": {}, "zero": {0}, "binary": all,
			"1MiB": bytes.Repeat([]byte{0, 0xff, 'x'}, (1<<20)/3),
		} {
			for _, key := range []string{p + name, p + string(all) + name} {
				if _, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: value}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if kv := stored(t, c, key); kv.Version != 1 || kv.Key != key || !bytes.Equal(kv.Value, value) {
					t.Errorf("%s: stored %d bytes of %d under a key of %d bytes", name, len(kv.Value), len(value), len(kv.Key))
				}
			}
		}
	})

	t.Run("ignore value", func(t *testing.T) {
		key := p + "iv"
		_, err := c.Put(ctx, etcd.PutRequest{Key: key, IgnoreValue: true})
		wants(t, err, etcd.ErrKeyNotFound, etcd.OutcomeRejected)
		put(t, c, key, "kept")
		if _, err := c.Put(ctx, etcd.PutRequest{Key: key, IgnoreValue: true}); err != nil {
			t.Fatal(err)
		}
		if kv := stored(t, c, key); string(kv.Value) != "kept" || kv.Version != 2 {
			t.Errorf("stored %+v, want the old value as version 2", kv)
		}
	})

	t.Run("ignore lease", func(t *testing.T) {
		key := p + "il"
		_, err := c.Put(ctx, etcd.PutRequest{Key: key, IgnoreLease: true})
		wants(t, err, etcd.ErrKeyNotFound, etcd.OutcomeRejected)
		id := grant(t, testbed.Shared)
		if _, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte("1"), Lease: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(ctx, etcd.PutRequest{Key: key, Value: []byte("2"), IgnoreLease: true}); err != nil {
			t.Fatal(err)
		}
		if kv := stored(t, c, key); kv.Lease != id || string(kv.Value) != "2" {
			t.Errorf("stored %+v, want the lease %x kept", kv, id)
		}
		put(t, c, key, "3")
		if kv := stored(t, c, key); kv.Lease != 0 {
			t.Errorf("a put without lease left the key on %x", kv.Lease)
		}
	})

	t.Run("lease not found", func(t *testing.T) {
		_, err := c.Put(ctx, etcd.PutRequest{Key: p + "nolease", Lease: 0x7eadbeef})
		e := wants(t, err, etcd.ErrLeaseNotFound, etcd.OutcomeRejected)
		if e != nil && (e.Op != "Put" || e.Code != etcd.CodeNotFound || e.Attempts != 1 || e.Endpoint != testbed.Shared.Endpoints()[0]) {
			t.Errorf("error %+v", e)
		}
		if etcd.MaybeApplied(err) {
			t.Errorf("%v: said to be applied, maybe", err)
		}
		if kv := stored(t, c, p+"nolease"); kv.Version != 0 {
			t.Errorf("the key was stored: %+v", kv)
		}
	})
}

// The server's limit is on the encoded request. Below it values pass, above it the
// server refuses, and far above it the server's gRPC layer refuses.
func TestRequestTooLarge(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	for name, mode := range map[string]etcdtest.TLSMode{"plain": etcdtest.NoTLS, "TLS": etcdtest.ServerTLS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := private(t, etcdtest.Config{MaxRequestBytes: limit, TLS: mode}, etcd.Config{})
			if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "fits", Value: make([]byte, limit-512)}); err != nil {
				t.Errorf("just below the limit: %v", err)
			}
			for _, size := range []int{limit + 1, limit + 700<<10, 8 << 20} {
				_, err := c.Put(t.Context(), etcd.PutRequest{Key: "big", Value: make([]byte, size)})
				wants(t, err, etcd.ErrRequestTooLarge, etcd.OutcomeRejected)
				if etcd.MaybeApplied(err) {
					t.Errorf("%d bytes: %v", size, err)
				}
				_, err = c.Get(t.Context(), etcd.GetRequest{Key: strings.Repeat("k", size)})
				if size > limit+512<<10 {
					wants(t, err, etcd.ErrRequestTooLarge, etcd.OutcomeRejected)
				}
			}
			if kv := stored(t, c, "big"); kv.Version != 0 {
				t.Errorf("a request that was too large was stored as version %d", kv.Version)
			}
		})
	}
}

// The server's default limit is 1.5 MiB.
func TestLargestValue(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	key := ownKeys(t)
	value := bytes.Repeat([]byte("0123456789abcdef"), (3<<19)/16-32)
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: value}); err != nil {
		t.Fatal(err)
	}
	if kv := stored(t, c, key); !bytes.Equal(kv.Value, value) {
		t.Errorf("stored %d bytes of %d, or others", len(kv.Value), len(value))
	}
	_, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: append(value, make([]byte, 1024)...)})
	wants(t, err, etcd.ErrRequestTooLarge, etcd.OutcomeRejected)
}

func TestDelete(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	for _, test := range []struct {
		name string
		req  etcd.DeleteRequest
		want string // of the keys a b ba bb c
	}{
		{"one key", etcd.DeleteRequest{Key: "b"}, "b"},
		{"missing key", etcd.DeleteRequest{Key: "x"}, ""},
		{"prefix", etcd.DeleteRequest{Key: "b", Prefix: true}, "b ba bb"},
		{"range end", etcd.DeleteRequest{Key: "b", RangeEnd: "bb"}, "b ba"},
		{"empty range", etcd.DeleteRequest{Key: "bx", RangeEnd: "by"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			at := p + test.name + "/"
			for _, prev := range []bool{false, true} {
				for _, k := range []string{"a", "b", "ba", "bb", "c"} {
					put(t, c, at+k, "value of "+k)
				}
				req := test.req
				req.Key, req.PrevKV = at+req.Key, prev
				if req.RangeEnd != "" {
					req.RangeEnd = at + req.RangeEnd
				}
				resp, err := c.Delete(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				if want := len(strings.Fields(test.want)); resp.Deleted != int64(want) {
					t.Errorf("deleted %d, want %d", resp.Deleted, want)
				}
				if !prev && resp.PrevKVs != nil {
					t.Error("the deleted pairs came without being asked for")
				}
				if got := keysOf(resp.PrevKVs, at); prev && got != test.want {
					t.Errorf("deleted %q, want %q", got, test.want)
				}
				for _, kv := range resp.PrevKVs {
					if string(kv.Value) != "value of "+strings.TrimPrefix(kv.Key, at) {
						t.Errorf("deleted %q=%q", kv.Key, kv.Value)
					}
				}
				left := keysOf(get(t, c, etcd.GetRequest{Key: at, Prefix: true}).KVs, at)
				for k := range strings.FieldsSeq("a b ba bb c") {
					gone := strings.Contains(" "+test.want+" ", " "+k+" ")
					if strings.Contains(" "+left+" ", " "+k+" ") == gone {
						t.Errorf("left are %q after deleting %q", left, test.want)
					}
				}
			}
		})
	}
}
