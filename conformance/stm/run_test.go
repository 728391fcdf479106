package stm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/stm"
)

func hookOf(requests *atomic.Int64) func(context.Context, etcd.AttemptInfo) func(etcd.AttemptResult) {
	return func(context.Context, etcd.AttemptInfo) func(etcd.AttemptResult) {
		requests.Add(1)
		return nil
	}
}

// TestConflicts: the function runs again exactly when what it has read has changed, and
// its second run sees the change and costs one request.
func TestConflicts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		change   func(t *testing.T, c *etcd.Client)
		conflict bool
	}{
		{"nothing", func(*testing.T, *etcd.Client) {}, false},
		{"another key", func(t *testing.T, c *etcd.Client) { testbed.Put(t, c, "other", "1") }, false},
		{"behind the range", func(t *testing.T, c *etcd.Client) { testbed.Put(t, c, "r0", "1") }, false},
		{"a key, changed", func(t *testing.T, c *etcd.Client) { testbed.Put(t, c, "key", "1") }, true},
		{"a key, to the same value", func(t *testing.T, c *etcd.Client) { testbed.Put(t, c, "key", "0") }, true},
		{"a key, deleted", func(t *testing.T, c *etcd.Client) { testbed.Delete(t, c, "key") }, true},
		{"a missing key, created", func(t *testing.T, c *etcd.Client) { testbed.Put(t, c, "missing", "1") }, true},
		{"a missing key, created and deleted", func(t *testing.T, c *etcd.Client) { testbed.Put(t, c, "missing", "1"); testbed.Delete(t, c, "missing") }, false},
		{"in the range, created", func(t *testing.T, c *etcd.Client) { testbed.Put(t, c, "r/new", "1") }, true},
		{"in the range, changed", func(t *testing.T, c *etcd.Client) { testbed.Put(t, c, "r/a", "1") }, true},
		{"in the range, deleted", func(t *testing.T, c *etcd.Client) { testbed.Delete(t, c, "r/a") }, true},
		{"in the range, deleted and created", func(t *testing.T, c *etcd.Client) { testbed.Delete(t, c, "r/a"); testbed.Put(t, c, "r/a", "0") }, true},
		{"in the empty range, created", func(t *testing.T, c *etcd.Client) { testbed.Put(t, c, "empty/a", "1") }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := etcdtest.Start(t)
			other, _ := connect(t, etcd.Config{}, s.Endpoints()...)
			for _, key := range []string{"key", "r/a", "r/b"} {
				testbed.Put(t, other, key, "0")
			}
			c, requests := connect(t, etcd.Config{}, s.Endpoints()...)
			runs := 0
			var last []string
			result, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
				runs++
				last = readAll(t, tx)
				if runs == 1 {
					test.change(t, other)
				}
				return tx.Put(etcd.PutRequest{Key: "z", Value: []byte(strings.Join(last, ","))})
			})
			if err != nil {
				t.Fatal(err)
			}
			want := 1
			if test.conflict {
				want = 2
			}
			if runs != want || result.Attempts != want {
				t.Errorf("%d runs, %d attempts, want %d", runs, result.Attempts, want)
			}
			// Four reads, and a commit per run.
			if n := requests.Load(); n != int64(4+want) {
				t.Errorf("%d requests, want %d", n, 4+want)
			}
			if got := stored(t, other, "z"); !slices.Equal(got, []string{"z=" + strings.Join(last, ",")}) {
				t.Errorf("stored %q", got)
			}
			now := append(stored(t, other, "key"), stored(t, other, "missing")...)
			now = append(append(now, stored(t, other, "r/")...), stored(t, other, "empty/")...)
			if !slices.Equal(last, now) {
				t.Errorf("the last run has read %q, the store has %q", last, now)
			}
			if rev := stored(t, other, "z"); len(rev) == 1 && result.Revision == 0 {
				t.Error("no revision")
			}
		})
	}
}

func readAll(t *testing.T, tx *stm.Tx) (list []string) {
	t.Helper()
	for _, key := range []string{"key", "missing"} {
		kv, found, err := tx.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		if found {
			list = append(list, texts([]etcd.KeyValue{kv})...)
		}
	}
	for _, prefix := range []string{"r/", "empty/"} {
		kvs, err := tx.Range(prefix)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, texts(kvs)...)
	}
	return list
}

// TestOneState: all reads of a run see the state that the first one saw.
func TestOneState(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	testbed.Put(t, c, "a", "0")
	testbed.Put(t, c, "b", "0")
	_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
		a, _, err := tx.Get("a")
		if err != nil {
			return err
		}
		if _, err := c.Txn(t.Context(), etcd.TxnRequest{Then: []etcd.Op{
			etcd.PutRequest{Key: "a", Value: []byte("1")}, etcd.PutRequest{Key: "b", Value: []byte("1")},
		}}); err != nil {
			return err
		}
		b, _, err := tx.Get("b")
		if string(a.Value) != string(b.Value) {
			t.Errorf("a is %s and b is %s", a.Value, b.Value)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOwnWrites: reads see the transaction's own writes, ranges included, and what is
// stored is the last write of each key.
func TestOwnWrites(t *testing.T) {
	t.Parallel()
	c, requests := start(t)
	for _, key := range []string{"w/a", "w/b", "w/c"} {
		testbed.Put(t, c, key, "0")
	}
	before := requests.Load()
	result, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
		value := []byte("1")
		err := errors.Join(
			tx.Put(etcd.PutRequest{Key: "w/b", Value: value}), tx.Delete("w/c"),
			tx.Put(etcd.PutRequest{Key: "w/d", Value: value}), tx.Put(etcd.PutRequest{Key: "w/e"}), tx.Delete("w/e"),
			tx.Delete("w/nothing"), tx.Put(etcd.PutRequest{Key: "x", Value: value}))
		value[0] = '9' // Put has copied it
		kvs, rangeErr := tx.Range("w/")
		if got, want := texts(kvs), []string{"w/a=0", "w/b=1", "w/d=1"}; !slices.Equal(got, want) {
			t.Errorf("the range is %q, want %q", got, want)
		}
		kv, found, getErr := tx.Get("w/d")
		if !found || string(kv.Value) != "1" || kv.ModRevision != 0 {
			t.Errorf("w/d is %+v, found %v", kv, found)
		}
		_, found, goneErr := tx.Get("w/c")
		if found {
			t.Error("a deleted key is found")
		}
		return errors.Join(err, rangeErr, getErr, goneErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := stored(t, c, "w/"), []string{"w/a=0", "w/b=1", "w/d=1"}; !slices.Equal(got, want) {
		t.Errorf("stored %q, want %q", got, want)
	}
	if n := requests.Load() - before; n != 3 { // a range, a commit, and stored
		t.Errorf("%d requests, want 3", n)
	}
	resp, err := c.Get(t.Context(), etcd.GetRequest{Key: "x"})
	if kv, _ := resp.First(); err != nil || kv.ModRevision != result.Revision {
		t.Errorf("x is of revision %d, the result is %+v; %v", kv.ModRevision, result, err)
	}
}

// TestReadOnly: a transaction that only reads has no commit and no limit, and reports
// the revision that it has read.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	c, requests := start(t)
	var last int64
	for i := range 200 {
		last = testbed.Put(t, c, fmt.Sprintf("k/%03d", i), "")
	}
	before := requests.Load()
	result, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
		kvs, err := tx.Range("k/")
		if len(kvs) != 200 {
			t.Errorf("%d keys", len(kvs))
		}
		_, found, getErr := tx.Get("k/007")
		if !found {
			t.Error("a key of the range is not found")
		}
		part, partErr := tx.Range("k/19")
		if len(part) != 10 {
			t.Errorf("%d keys in the part", len(part))
		}
		return errors.Join(err, getErr, partErr)
	})
	if err != nil || *result != (stm.Result{Revision: last, Attempts: 1}) {
		t.Errorf("%+v, %v; the last revision is %d", result, err, last)
	}
	if n := requests.Load() - before; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestTooMany: the error names what takes up the server's limit.
func TestTooMany(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	for i := range 128 {
		testbed.Put(t, c, fmt.Sprintf("k/%03d", i), "")
	}
	_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
		if _, err := tx.Range("k/"); err != nil {
			return err
		}
		return tx.Put(etcd.PutRequest{Key: "z"})
	})
	if !errors.Is(err, etcd.ErrTooManyOps) || !strings.Contains(err.Error(), "129 compares") {
		t.Error(err)
	}
}

// TestAttempts: after Config.Attempts conflicts Run gives up, and nothing is written.
func TestAttempts(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	runs := 0
	_, err := stm.Run(t.Context(), c, stm.Config{Attempts: 4}, func(tx *stm.Tx) error {
		runs++
		if _, _, err := tx.Get("key"); err != nil {
			return err
		}
		testbed.Put(t, c, "key", "theirs")
		return tx.Put(etcd.PutRequest{Key: "key", Value: []byte("ours")})
	})
	if !errors.Is(err, stm.ErrConflict) || runs != 4 {
		t.Errorf("%v after %d runs", err, runs)
	}
	if got := stored(t, c, "key"); !slices.Equal(got, []string{"key=theirs"}) {
		t.Errorf("stored %q", got)
	}
}

// TestContextEndsConflicts: without a limit, the context ends a transaction that only
// ever meets conflicts, in its pauses too.
func TestContextEndsConflicts(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	cause := errors.New("that is enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	runs := 0
	_, err := stm.Run(ctx, c, stm.Config{}, func(tx *stm.Tx) error {
		if runs++; runs == 8 {
			defer cancel(cause)
		}
		if _, _, err := tx.Get("key"); err != nil {
			return err
		}
		testbed.Put(t, c, "key", "theirs")
		return tx.Put(etcd.PutRequest{Key: "key"})
	})
	if !errors.Is(err, cause) || runs != 8 {
		t.Errorf("%v after %d runs", err, runs)
	}
}

// TestErrors: an error of the function, or of a method whose error the function has
// dropped, discards the writes.
func TestErrors(t *testing.T) {
	t.Parallel()
	c, requests := start(t)
	own := errors.New("own")
	put := func(req etcd.PutRequest) func(*stm.Tx) error {
		return func(tx *stm.Tx) error { return errors.Join(tx.Put(etcd.PutRequest{Key: "z"}), tx.Put(req)) }
	}
	for _, test := range []struct {
		name string
		f    func(tx *stm.Tx) error
		want error
		text string
	}{
		{"own", func(tx *stm.Tx) error { return errors.Join(tx.Put(etcd.PutRequest{Key: "z"}), own) }, own, "own"},
		{"dropped", func(tx *stm.Tx) error { _ = tx.Put(etcd.PutRequest{}); return tx.Put(etcd.PutRequest{Key: "z"}) }, etcd.ErrInvalidRequest, "Key is empty"},
		{"Get", func(tx *stm.Tx) error { _, _, err := tx.Get(""); return err }, etcd.ErrInvalidRequest, "the key is empty"},
		{"Delete", func(tx *stm.Tx) error { return tx.Delete("") }, etcd.ErrInvalidRequest, "the key is empty"},
		{"PrevKV", put(etcd.PutRequest{Key: "a", PrevKV: true}), etcd.ErrInvalidRequest, "PrevKV"},
		{"IgnoreValue", put(etcd.PutRequest{Key: "a", IgnoreValue: true}), etcd.ErrInvalidRequest, "IgnoreValue"},
		{"leases", put(etcd.PutRequest{Key: "a", IgnoreLease: true, Lease: 1}), etcd.ErrInvalidRequest, "IgnoreLease"},
		{"no lease", put(etcd.PutRequest{Key: "a", Lease: 1}), etcd.ErrLeaseNotFound, ""},
	} {
		_, err := stm.Run(t.Context(), c, stm.Config{}, test.f)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := stm.Run(t.Context(), c, stm.Config{Attempts: -1}, func(*stm.Tx) error { return nil }); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
	if _, err := stm.Run(t.Context(), c, stm.Config{}, nil); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
	if _, err := stm.Run(t.Context(), nil, stm.Config{}, func(*stm.Tx) error { return nil }); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
	var none context.Context
	if _, err := stm.Run(none, c, stm.Config{}, func(*stm.Tx) error { return nil }); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
	if _, err := stm.Update(t.Context(), c, "key", nil); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	var kept *stm.Tx
	if _, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error { kept = tx; return nil }); err != nil {
		t.Error(err)
	}
	if err := kept.Put(etcd.PutRequest{Key: "late"}); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
	if got := stored(t, c, ""); got != nil {
		t.Errorf("stored %q", got)
	}
}

// TestUpdate keeps the lease of the key, and creates the key when it is missing.
func TestUpdate(t *testing.T) {
	t.Parallel()
	c, _ := start(t)
	add := func(old etcd.KeyValue, found bool) ([]byte, error) {
		if found != (len(old.Value) > 0) {
			t.Errorf("found is %v for %q", found, old.Value)
		}
		return append(old.Value, 'x'), nil
	}
	lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: 1e12, NoKeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "leased", Value: []byte("x"), Lease: lease.ID}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, key := range []string{"free", "leased"} {
			if _, err := stm.Update(t.Context(), c, key, add); err != nil {
				t.Fatal(err)
			}
		}
	}
	resp, err := c.Get(t.Context(), etcd.GetRequest{Prefix: true})
	if err != nil || !slices.Equal(texts(resp.KVs), []string{"free=xx", "leased=xxx"}) || resp.KVs[1].Lease != lease.ID {
		t.Errorf("%+v, %v", resp, err)
	}
}

// TestOtherReads: a later run that reads less of what is known already conflicts only
// with changes of that, and does so.
func TestOtherReads(t *testing.T) {
	t.Parallel()
	for changed, want := range map[string]int{"r/b": 2, "r/a": 3} {
		c, requests := start(t)
		testbed.Put(t, c, "r/a", "0")
		testbed.Put(t, c, "r/b", "0")
		before, runs := requests.Load(), 0
		_, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) (err error) {
			switch runs++; runs {
			case 1:
				_, err = tx.Range("r/")
				testbed.Put(t, c, "r/b", "1")
			case 2:
				_, _, err = tx.Get("r/a")
				testbed.Put(t, c, changed, "2")
			default:
				_, _, err = tx.Get("r/a")
			}
			return errors.Join(err, tx.Put(etcd.PutRequest{Key: "z"}))
		})
		if err != nil || runs != want {
			t.Errorf("%s changed: %d runs, %v", changed, runs, err)
		}
		if n := int(requests.Load()-before) - 2; n != 1+want { // without the two Puts of store
			t.Errorf("%s changed: %d requests", changed, n)
		}
	}
}
