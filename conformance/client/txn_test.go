package client

import (
	"fmt"
	"strings"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

func txn(t testing.TB, c *etcd.Client, req etcd.TxnRequest) *etcd.TxnResponse {
	t.Helper()
	resp, err := c.Txn(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// Every target with every result, for a key that is below, at and above the
// compared value, and for a key that does not exist.
func TestCompareTargets(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	id := grant(t, testbed.Shared)
	put(t, c, p+"k", "first")
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: p + "k", Value: []byte("mm"), Lease: id}); err != nil {
		t.Fatal(err)
	}
	kv := stored(t, c, p+"k")
	around := func(n int64) [3]int64 { return [3]int64{n - 1, n, n + 1} }
	text := [3]string{"ml", "mm", "mm\x00"}

	holds := func(name string, c1 etcd.Compare, want bool) {
		t.Helper()
		if got := txn(t, c, etcd.TxnRequest{If: []etcd.Compare{c1}}).Succeeded; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	results := []etcd.CompareResult{etcd.Equal, etcd.NotEqual, etcd.Less, etcd.Greater}
	for i := range 3 { // the compared value is below, equal, above
		want := map[etcd.CompareResult]bool{
			etcd.Equal: i == 1, etcd.NotEqual: i != 1, etcd.Less: i == 2, etcd.Greater: i == 0,
		}
		for _, r := range results {
			name := fmt.Sprintf("operand %d, result %d", i, r)
			holds(name+" version", etcd.CompareVersion(p+"k", r, around(2)[i]), want[r])
			holds(name+" created", etcd.CompareCreateRevision(p+"k", r, around(kv.CreateRevision)[i]), want[r])
			holds(name+" changed", etcd.CompareModRevision(p+"k", r, around(kv.ModRevision)[i]), want[r])
			holds(name+" value", etcd.CompareValue(p+"k", r, []byte(text[i])), want[r])
			holds(name+" lease", etcd.CompareLease(p+"k", r, etcd.LeaseID(around(int64(id))[i])), want[r])

			// A key that does not exist compares as zeros, and has no value to
			// compare.
			name += " of none"
			n := around(0)[i]
			holds(name+" version", etcd.CompareVersion(p+"none", r, n), want[r])
			holds(name+" created", etcd.CompareCreateRevision(p+"none", r, n), want[r])
			holds(name+" changed", etcd.CompareModRevision(p+"none", r, n), want[r])
			holds(name+" lease", etcd.CompareLease(p+"none", r, etcd.LeaseID(n)), want[r])
			holds(name+" value", etcd.CompareValue(p+"none", r, []byte(text[i])), false)
		}
	}

	put(t, c, p+"kk", "zz")
	prefix := func(c etcd.Compare) etcd.Compare { c.Prefix = true; return c }
	holds("one of the range", prefix(etcd.CompareVersion(p+"k", etcd.Equal, 2)), false)
	holds("all of the range", prefix(etcd.CompareVersion(p+"k", etcd.Greater, 0)), true)
	holds("values of the range", prefix(etcd.CompareValue(p+"k", etcd.Greater, []byte("m"))), true)
	holds("an empty range", prefix(etcd.CompareVersion(p+"x", etcd.Equal, 7)), false)
	holds("range end", etcd.Compare{Key: p + "k", RangeEnd: p + "kk", Target: etcd.TargetVersion, Version: 2}, true)
	txnOf := func(cs ...etcd.Compare) bool { return txn(t, c, etcd.TxnRequest{If: cs}).Succeeded }
	yes, no := etcd.CompareVersion(p+"k", etcd.Equal, 2), etcd.CompareVersion(p+"k", etcd.Equal, 3)
	if !txnOf() || !txnOf(yes, yes) || txnOf(yes, no) || txnOf(no, yes) {
		t.Error("compares are not joined by and")
	}
}

// Missing, Exists and Unchanged, at each stage of a key's life.
func TestTxnConditions(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	key := ownKeys(t) + "k"
	holds := func(moment, name string, condition etcd.Compare, want bool) {
		t.Helper()
		if got := txn(t, c, etcd.TxnRequest{If: []etcd.Compare{condition}}).Succeeded; got != want {
			t.Errorf("%s: %s is %v, want %v", moment, name, got, want)
		}
	}
	exists := func(moment string, want bool) {
		t.Helper()
		holds(moment, "Exists", etcd.Exists(key), want)
		holds(moment, "Missing", etcd.Missing(key), !want)
	}

	exists("before the first put", false)
	put(t, c, key, "same")
	first := stored(t, c, key)
	exists("put", true)
	holds("put", "Unchanged", etcd.Unchanged(first), true)

	put(t, c, key, "same")
	second := stored(t, c, key)
	exists("put again", true)
	holds("put again", "Unchanged since the first put", etcd.Unchanged(first), false)
	holds("put again", "Unchanged", etcd.Unchanged(second), true)

	remove(t, c, key)
	exists("deleted", false)
	holds("deleted", "Unchanged", etcd.Unchanged(second), false)

	put(t, c, key, "same")
	exists("put after the deletion", true)
	holds("put after the deletion", "Unchanged", etcd.Unchanged(second), false)

	_, err := c.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{etcd.Unchanged(etcd.KeyValue{})}})
	refused(t, err, etcd.ErrInvalidRequest, "TxnRequest.If[0].Key is empty; for Unchanged of a key that was not found use Missing")
}

func TestTxnBranches(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	yes, no := etcd.CompareVersion(p+"x", etcd.Equal, 0), etcd.CompareVersion(p+"x", etcd.Greater, 0)
	for _, test := range []struct {
		name string
		req  etcd.TxnRequest
		want bool
		n    int
	}{
		{"nothing", etcd.TxnRequest{}, true, 0},
		{"nothing, serializable", etcd.TxnRequest{Serializable: true}, true, 0},
		{"compare that holds", etcd.TxnRequest{If: []etcd.Compare{yes}}, true, 0},
		{"compare that fails", etcd.TxnRequest{If: []etcd.Compare{no}}, false, 0},
		{"the same, serializable", etcd.TxnRequest{If: []etcd.Compare{no}, Serializable: true}, false, 0},
		{"Then of two", etcd.TxnRequest{If: []etcd.Compare{yes}, Then: ops(etcd.GetRequest{Key: p}, etcd.GetRequest{Key: p}), Else: ops(etcd.GetRequest{Key: p})}, true, 2},
		{"Else of two", etcd.TxnRequest{If: []etcd.Compare{no}, Then: ops(etcd.GetRequest{Key: p}), Else: ops(etcd.GetRequest{Key: p}, etcd.GetRequest{Key: p})}, false, 2},
		{"Else of none", etcd.TxnRequest{If: []etcd.Compare{no}, Then: ops(etcd.GetRequest{Key: p})}, false, 0},
		{"Else of none, writing", etcd.TxnRequest{If: []etcd.Compare{no}, Then: ops(etcd.PutRequest{Key: p + "never"})}, false, 0},
		{"Then of none", etcd.TxnRequest{If: []etcd.Compare{yes}, Else: ops(etcd.GetRequest{Key: p})}, true, 0},
		{"Serializable get", etcd.TxnRequest{If: []etcd.Compare{yes}, Then: ops(etcd.GetRequest{Key: p, Serializable: true})}, true, 1},
		{"a nested transaction of nothing", etcd.TxnRequest{Then: ops(etcd.TxnRequest{})}, true, 1},
		{"pointers", etcd.TxnRequest{Then: ops(&etcd.GetRequest{Key: p}, &etcd.DeleteRequest{Key: p + "none"}, &etcd.TxnRequest{})}, true, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			resp := txn(t, c, test.req)
			if resp.Succeeded != test.want || len(resp.Responses) != test.n {
				t.Errorf("succeeded %v with %d responses, want %v with %d", resp.Succeeded, len(resp.Responses), test.want, test.n)
			}
			if resp.Header.Revision == 0 || resp.Header.MemberID == 0 {
				t.Errorf("header %+v", resp.Header)
			}
		})
	}
	if kv := stored(t, c, p+"never"); kv.Version != 0 {
		t.Error("the branch that was not taken was applied")
	}
}

func ops(list ...etcd.Op) []etcd.Op { return list }

// Operations see the effects of earlier ones, all have one revision, and each
// answer has the right type and place.
func TestTxnEffects(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	id := grant(t, testbed.Shared)
	put(t, c, p+"a", "old a")
	put(t, c, p+"b", "old b")
	resp := txn(t, c, etcd.TxnRequest{
		If: []etcd.Compare{etcd.CompareValue(p+"a", etcd.Equal, []byte("old a"))},
		Then: ops(
			etcd.GetRequest{Key: p, Prefix: true},
			etcd.PutRequest{Key: p + "a", Value: []byte("new a"), PrevKV: true, Lease: id},
			etcd.GetRequest{Key: p + "a"},
			etcd.DeleteRequest{Key: p + "b", PrevKV: true},
			etcd.GetRequest{Key: p, Prefix: true, SortOrder: etcd.Descend, KeysOnly: true},
			etcd.TxnRequest{
				If:   []etcd.Compare{etcd.CompareVersion(p+"c", etcd.Equal, 0)},
				Then: ops(etcd.PutRequest{Key: p + "c", Value: []byte("nested")}, etcd.GetRequest{Key: p + "c"}),
				Else: ops(etcd.PutRequest{Key: p + "d"}),
			},
			etcd.GetRequest{Key: p, Prefix: true, CountOnly: true},
		),
	})
	if !resp.Succeeded || len(resp.Responses) != 7 {
		t.Fatalf("succeeded %v, %d responses", resp.Succeeded, len(resp.Responses))
	}
	r := resp.Responses
	if got := r[0].Get; got == nil || keysOf(got.KVs, p) != "a b" || string(got.KVs[0].Value) != "old a" {
		t.Errorf("first get %+v", got)
	}
	if got := r[1].Put; got == nil || got.PrevKV == nil || string(got.PrevKV.Value) != "old a" {
		t.Errorf("put %+v", got)
	}
	if got := r[2].Get; got == nil || len(got.KVs) != 1 || string(got.KVs[0].Value) != "new a" || got.KVs[0].Lease != id {
		t.Errorf("second get %+v", got)
	}
	if got := r[3].Delete; got == nil || got.Deleted != 1 || keysOf(got.PrevKVs, p) != "b" {
		t.Errorf("delete %+v", got)
	}
	if got := r[4].Get; got == nil || keysOf(got.KVs, p) != "a" {
		t.Errorf("third get %+v", got)
	}
	nested := r[5].Txn
	if nested == nil || !nested.Succeeded || len(nested.Responses) != 2 || nested.Responses[0].Put == nil || nested.Responses[1].Get == nil {
		t.Fatalf("nested %+v", nested)
	}
	if kvs := nested.Responses[1].Get.KVs; len(kvs) != 1 || string(kvs[0].Value) != "nested" || kvs[0].ModRevision != resp.Header.Revision {
		t.Errorf("nested get %+v at revision %d", kvs, resp.Header.Revision)
	}
	if got := r[6].Get; got == nil || got.Count != 2 {
		t.Errorf("count %+v", got)
	}
	for _, kv := range get(t, c, etcd.GetRequest{Key: p, Prefix: true}).KVs {
		if kv.ModRevision != resp.Header.Revision {
			t.Errorf("%s was changed at %d, want %d", kv.Key, kv.ModRevision, resp.Header.Revision)
		}
	}
}

func TestTxnDeepNesting(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	p := ownKeys(t)
	req := etcd.TxnRequest{Then: ops(etcd.PutRequest{Key: p + "deep", Value: []byte("found")})}
	const depth = 20
	for range depth {
		req = etcd.TxnRequest{
			If:   []etcd.Compare{etcd.CompareVersion(p+"none", etcd.Greater, 0)},
			Else: ops(req),
		}
	}
	resp := txn(t, c, req)
	for range depth {
		if resp.Succeeded || len(resp.Responses) != 1 || resp.Responses[0].Txn == nil {
			t.Fatalf("response %+v", resp)
		}
		resp = resp.Responses[0].Txn
	}
	if !resp.Succeeded || resp.Responses[0].Put == nil || string(stored(t, c, p+"deep").Value) != "found" {
		t.Errorf("innermost response %+v", resp)
	}
}

func TestTxnRefused(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{MaxTxnOps: 4}, etcd.Config{})
	put(t, c, "a", "kept")
	puts := func(n int) (list []etcd.Op) {
		for i := range n {
			list = append(list, etcd.PutRequest{Key: fmt.Sprint("new", i)})
		}
		return list
	}
	for _, test := range []struct {
		name string
		then []etcd.Op
		want error
	}{
		{"put twice", ops(etcd.PutRequest{Key: "new"}, etcd.PutRequest{Key: "new"}), etcd.ErrDuplicateKey},
		{"put and delete", ops(etcd.PutRequest{Key: "new"}, etcd.DeleteRequest{Key: "n", Prefix: true}), etcd.ErrDuplicateKey},
		{"put twice, nested", ops(etcd.PutRequest{Key: "new"}, etcd.TxnRequest{Else: ops(etcd.PutRequest{Key: "new"})}), etcd.ErrDuplicateKey},
		{"too many", puts(5), etcd.ErrTooManyOps},
		{"too many, nested", ops(etcd.TxnRequest{Else: puts(5)}), etcd.ErrTooManyOps},
		{"future revision", ops(etcd.PutRequest{Key: "new"}, etcd.GetRequest{Key: "a", Revision: 1 << 40}), etcd.ErrFutureRevision},
		{"lease", ops(etcd.PutRequest{Key: "new"}, etcd.PutRequest{Key: "new2", Lease: 12345}), etcd.ErrLeaseNotFound},
		{"missing key", ops(etcd.PutRequest{Key: "new"}, etcd.PutRequest{Key: "new2", IgnoreValue: true}), etcd.ErrKeyNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.Txn(t.Context(), etcd.TxnRequest{Then: test.then})
			if e := wants(t, err, test.want, etcd.OutcomeRejected); e != nil && (e.Op != "Txn" || e.Attempts != 1) {
				t.Errorf("error %+v", e)
			}
			if etcd.MaybeApplied(err) {
				t.Errorf("%v: said to be applied, maybe", err)
			}
		})
	}
	if got := keysOf(get(t, c, etcd.GetRequest{Prefix: true}).KVs, ""); got != "a" {
		t.Errorf("refused transactions left %q", got)
	}
	compares := make([]etcd.Compare, 5)
	for i := range compares {
		compares[i] = etcd.CompareVersion("a", etcd.Greater, 0)
	}
	_, err := c.Txn(t.Context(), etcd.TxnRequest{If: compares})
	wants(t, err, etcd.ErrTooManyOps, etcd.OutcomeRejected)
	// The read that is added to a transaction with only compares must not exceed
	// the limit.
	if resp := txn(t, c, etcd.TxnRequest{If: compares[:4]}); !resp.Succeeded {
		t.Error("four compares of four do not hold")
	}
	if resp := txn(t, c, etcd.TxnRequest{Then: puts(4)}); len(resp.Responses) != 4 {
		t.Errorf("%d responses", len(resp.Responses))
	}
	_, err = c.Txn(t.Context(), etcd.TxnRequest{Then: ops(etcd.PutRequest{Key: strings.Repeat("x", 8<<20)})})
	wants(t, err, etcd.ErrRequestTooLarge, etcd.OutcomeRejected)
}
