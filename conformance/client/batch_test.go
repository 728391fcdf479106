package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// counted is a client that counts its requests.
func counted(t *testing.T, server etcdtest.Config, config etcd.Config) (*etcd.Client, *atomic.Int64) {
	var n atomic.Int64
	config.Hooks.Attempt = func(context.Context, etcd.AttemptInfo) func(etcd.AttemptResult) {
		n.Add(1)
		return nil
	}
	_, c := private(t, server, config)
	return c, &n
}

// TestBatch: each operation has its own result, in its place, and operations of one
// kind share a request.
func TestBatch(t *testing.T) {
	t.Parallel()
	c, requests := counted(t, etcdtest.Config{}, etcd.Config{})
	ctx := t.Context()
	put(t, c, "there", "1")
	put(t, c, "p/1", "x")
	put(t, c, "p/2", "y")
	put(t, c, "gone", "z")
	requests.Store(0)
	results := c.Batch(ctx,
		etcd.GetRequest{Key: "there"},
		&etcd.GetRequest{Key: "missing"},
		etcd.GetRequest{Key: "p/", Prefix: true, SortOrder: etcd.Descend},
		etcd.GetRequest{Key: "there", Serializable: true},
		etcd.PutRequest{Key: "new", Value: []byte("1"), PrevKV: true},
		etcd.PutRequest{Key: "new", Value: []byte("2"), PrevKV: true},
		etcd.PutRequest{Key: "other", Value: []byte("3")},
		etcd.DeleteRequest{Key: "gone", PrevKV: true},
		etcd.DeleteRequest{Key: "never"},
		etcd.TxnRequest{If: []etcd.Compare{etcd.CompareVersion("there", etcd.Equal, 1)}, Then: []etcd.Op{etcd.GetRequest{Key: "there"}}},
	)
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("operation %d: %v", i, r.Err)
		}
	}
	for _, i := range []int{0, 3} {
		if kv, _ := results[i].Get.First(); string(kv.Value) != "1" {
			t.Errorf("operation %d: %+v", i, kv)
		}
	}
	if n := len(results[1].Get.KVs); n != 0 {
		t.Errorf("a key that is missing: %d pairs", n)
	}
	if got := keysOf(results[2].Get.KVs, "p/"); got != "2 1" {
		t.Errorf("prefix: %s", got)
	}
	if first, second := results[4].Put, results[5].Put; first.PrevKV != nil || string(second.PrevKV.Value) != "1" || second.Header.Revision <= first.Header.Revision {
		t.Errorf("puts of one key: %+v, then %+v", first, second)
	}
	if a, b := results[4].Put.Header, results[6].Put.Header; a != b {
		t.Errorf("puts that share a request: %+v, %+v", a, b)
	}
	if results[7].Delete.Deleted != 1 || string(results[7].Delete.PrevKVs[0].Value) != "z" || results[8].Delete.Deleted != 0 {
		t.Errorf("deletes: %+v, %+v", results[7].Delete, results[8].Delete)
	}
	if !results[9].Txn.Succeeded {
		t.Error("the transaction's compare does not hold")
	}
	for i, h := range []etcd.ResponseHeader{results[0].Get.Header, results[4].Put.Header, results[7].Delete.Header} {
		if h.ClusterID == 0 || h.MemberID == 0 || h.Revision == 0 || h.RaftTerm == 0 {
			t.Errorf("header %d: %+v", i, h)
		}
	}
	if n := requests.Load(); n != 6 { // two kinds of gets, puts in two rounds, deletes, a transaction
		t.Errorf("%d requests", n)
	}
}

// TestBatchOfMany: as few requests as the server allows.
func TestBatchOfMany(t *testing.T) {
	t.Parallel()
	c, requests := counted(t, etcdtest.Config{}, etcd.Config{})
	const n = 1000
	ops := make([]etcd.Op, n)
	for i := range ops {
		ops[i] = etcd.PutRequest{Key: fmt.Sprintf("k/%04d", i), Value: fmt.Append(nil, i)}
	}
	for i, r := range c.Batch(t.Context(), ops...) {
		if r.Err != nil {
			t.Fatalf("put %d: %v", i, r.Err)
		}
	}
	for i := range ops {
		ops[i] = etcd.GetRequest{Key: fmt.Sprintf("k/%04d", i)}
	}
	for i, r := range c.Batch(t.Context(), ops...) {
		if r.Err != nil {
			t.Fatalf("get %d: %v", i, r.Err)
		}
		if kv, _ := r.Get.First(); string(kv.Value) != fmt.Sprint(i) {
			t.Fatalf("get %d: %+v", i, kv)
		}
	}
	if got := requests.Load(); got != 2*8 {
		t.Errorf("%d requests", got)
	}
}

// TestBatchWithBadOperations: a refused operation does not affect the others.
func TestBatchWithBadOperations(t *testing.T) {
	t.Parallel()
	c, requests := counted(t, etcdtest.Config{}, etcd.Config{})
	var ops []etcd.Op
	for i := range 100 {
		ops = append(ops, etcd.PutRequest{Key: fmt.Sprint("k", i), Value: []byte("v")})
	}
	ops[42] = etcd.PutRequest{Key: "k42", Lease: 4711}
	ops[43] = etcd.PutRequest{}
	ops[44] = (*etcd.PutRequest)(nil)
	ops[45] = etcd.PutRequest{Key: "k45", IgnoreValue: true}
	results := c.Batch(t.Context(), ops...)
	for i, r := range results {
		if r.Index != i || !reflect.DeepEqual(r.Op, ops[i]) {
			t.Errorf("result %d is of operation %d, %v", i, r.Index, r.Op)
		}
		switch i {
		case 42:
			wants(t, r.Err, etcd.ErrLeaseNotFound, etcd.OutcomeRejected)
		case 43:
			wants(t, r.Err, etcd.ErrInvalidRequest, etcd.OutcomeNotSent)
			if !strings.Contains(r.Err.Error(), "PutRequest.Key is empty") {
				t.Error(r.Err)
			}
		case 44:
			wants(t, r.Err, etcd.ErrInvalidRequest, etcd.OutcomeNotSent)
		case 45:
			wants(t, r.Err, etcd.ErrKeyNotFound, etcd.OutcomeRejected)
		default:
			if r.Err != nil {
				t.Errorf("put %d: %v", i, r.Err)
			} else if kv := stored(t, c, fmt.Sprint("k", i)); kv.Version != 1 {
				t.Errorf("put %d was applied %d times", i, kv.Version)
			}
		}
	}
	err := results.Err()
	for _, want := range []error{etcd.ErrLeaseNotFound, etcd.ErrInvalidRequest, etcd.ErrKeyNotFound} {
		if !errors.Is(err, want) {
			t.Errorf("%v is not %v", err, want)
		}
	}
	if etcd.MaybeApplied(err) {
		t.Errorf("%v: maybe applied", err)
	}
	mustSay(t, err, "etcd: 4 of 100 operations of the Batch failed: operation 42: etcd: Put via ")
	mustSay(t, err, "requested lease not found; operation 43: etcd: Put: PutRequest.Key is empty; operation 44: etcd: Batch: an operation is nil; and 1 more")
	if n := requests.Load(); n > 40+96 { // the gets of stored are 96
		t.Errorf("%d requests", n)
	}
	//lint:ignore SA1012 it is what is tested
	for _, r := range c.Batch(nil, etcd.GetRequest{Key: "k"}, etcd.TxnRequest{}) {
		wants(t, r.Err, etcd.ErrInvalidRequest, etcd.OutcomeNotSent)
	}
	if r := c.Batch(t.Context()); r != nil {
		t.Errorf("no operations: %v", r)
	}
}
