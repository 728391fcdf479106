package idempotent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/idempotent"
)

// The result is that of the caller's transaction, as if there were no writer.
func TestResult(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	w, _ := open(t, c, idempotent.Config{})
	key := testbed.OwnName(t)
	ops := make([]etcd.Op, 2, 3) // an append in place would be seen
	ops[0], ops[1] = etcd.PutRequest{Key: key, Value: []byte("1")}, etcd.GetRequest{Key: key}
	for _, ifs := range [][]etcd.Compare{nil, {etcd.Exists(key)}} {
		result, err := w.Txn(testbed.Within(t, testbed.Patience), etcd.TxnRequest{If: ifs, Then: ops})
		if err != nil {
			t.Fatal(err)
		}
		resp := result.Response
		if !result.Succeeded || !resp.Succeeded || len(resp.Responses) != 2 || result.Revision != resp.Header.Revision {
			t.Fatalf("%+v", result)
		}
		if kv, _ := resp.Responses[1].Get.First(); kv.ModRevision != result.Revision || string(kv.Value) != "1" {
			t.Errorf("the Get in it has read %+v", kv)
		}
	}
	result, err := w.Txn(testbed.Within(t, testbed.Patience), etcd.TxnRequest{
		If: []etcd.Compare{etcd.Missing(key)}, Then: ops, Else: []etcd.Op{etcd.GetRequest{Key: key}},
	})
	if err != nil || result.Succeeded || result.Response.Succeeded || len(result.Response.Responses) != 1 || result.Revision == 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if ops[:3][2] != nil {
		t.Error("the caller's array was written to")
	}
	result, err = w.Txn(testbed.Within(t, testbed.Patience), etcd.TxnRequest{If: []etcd.Compare{etcd.Missing(key)}, Then: ops})
	if err != nil || result.Succeeded || len(result.Response.Responses) != 0 {
		t.Errorf("without Else: %+v, %v", result, err)
	}
}

// With the guard of a lock among the conditions, nothing is applied after the lock was lost.
func TestResultUnderALock(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	w := testbed.Writer(t, c)
	key := testbed.OwnName(t)
	l, err := testbed.Coordinate(t, c, concurrency.Config{}).Mutex(key+"/lock", concurrency.MutexConfig{}).Lock(testbed.Within(t, testbed.Patience))
	if err != nil {
		t.Fatal(err)
	}
	write := etcd.TxnRequest{If: []etcd.Compare{l.Guard()}, Then: []etcd.Op{etcd.PutRequest{Key: key, Value: []byte("1")}}}
	if result, err := w.Txn(testbed.Within(t, testbed.Patience), write); err != nil || !result.Succeeded {
		t.Errorf("while the lock is held: %+v, %v", result, err)
	}
	if _, err := c.Delete(testbed.Within(t, testbed.Patience), etcd.DeleteRequest{Key: l.Key()}); err != nil {
		t.Fatal(err)
	}
	if result, err := w.Txn(testbed.Within(t, testbed.Patience), write); err != nil || result.Succeeded {
		t.Errorf("after the loss: %+v, %v", result, err)
	}
	if got, err := c.Get(testbed.Within(t, testbed.Patience), etcd.GetRequest{Key: key}); err != nil || len(got.KVs) != 1 || got.KVs[0].Version != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Any number of callers share the lanes. Nothing but the lanes' keys is in the store, and
// nothing after Close.
func TestNothingAccumulates(t *testing.T) {
	t.Parallel()
	writes := 2000
	if *slow {
		writes = 1_000_000
	}
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	w, co := open(t, c, idempotent.Config{Lanes: 4, Name: "w"})
	key := "k"
	var left atomic.Int64
	var heap [2]runtime.MemStats
	half := func(heap *runtime.MemStats) {
		left.Store(int64(writes / 2))
		var callers sync.WaitGroup
		for range 32 {
			callers.Go(func() {
				for left.Add(-1) >= 0 {
					if _, err := w.Txn(within2(t), putOf(key)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		callers.Wait()
		runtime.GC()
		runtime.ReadMemStats(heap)
	}
	half(&heap[0])
	half(&heap[1])
	if n := testbed.Get(t, c, key).Version; n != int64(writes) {
		t.Errorf("%d writes were applied, want %d", n, writes)
	}
	if n := count(t, c, ""); n != 1+4 {
		t.Errorf("%d keys", n)
	}
	if *slow {
		if grown := int64(heap[1].HeapAlloc) - int64(heap[0].HeapAlloc); grown > 1<<20 {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
	}
	if err := w.Close(testbed.Within(t, testbed.Patience)); err != nil {
		t.Error(err)
	}
	if n := count(t, c, "w/"); n != 0 {
		t.Errorf("%d keys after Close", n)
	}
	if _, err := w.Txn(testbed.Within(t, testbed.Patience), putOf(key)); !errors.Is(err, idempotent.ErrClosed) {
		t.Error(err)
	}
	if err := w.Close(testbed.Within(t, testbed.Patience)); err != nil {
		t.Error(err)
	}
	if err := co.Close(testbed.Within(t, testbed.Patience)); err != nil {
		t.Error(err)
	}
	if n := count(t, c, ""); n != 1 {
		t.Errorf("%d keys in the end", n)
	}
}

// within2 is a context for one of very many calls.
func within2(t *testing.T) context.Context { return t.Context() }

// After the loss of the session, writes go on with the next one.
func TestSessionLost(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	w, co := open(t, c, idempotent.Config{Lanes: 1})
	key := testbed.OwnName(t)
	for i := range int64(3) {
		result, err := w.Txn(testbed.Within(t, testbed.Patience), putOf(key))
		if err != nil || result.Recovered {
			t.Fatalf("%+v, %v", result, err)
		}
		if n := testbed.Get(t, c, key).Version; n != i+1 {
			t.Errorf("%d writes were applied", n)
		}
		revoke(t, c, co)
	}
}

// A lane whose key somebody has deleted or put is replaced.
func TestMeddling(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	name := testbed.OwnName(t)
	w, _ := open(t, c, idempotent.Config{Lanes: 1, Name: name + "/w"})
	for i, meddle := range []func(lane string){
		func(lane string) { _, _ = c.Delete(testbed.Within(t, testbed.Patience), etcd.DeleteRequest{Key: lane}) },
		func(lane string) {
			_, _ = c.Put(testbed.Within(t, testbed.Patience), etcd.PutRequest{Key: lane, Value: []byte("?")})
		},
	} {
		resp, err := c.Get(testbed.Within(t, testbed.Patience), etcd.GetRequest{Key: name + "/w/", Prefix: true, SortTarget: etcd.SortByCreateRevision, SortOrder: etcd.Descend})
		if err != nil {
			t.Fatal(err)
		}
		meddle(resp.KVs[0].Key)
		if result, err := w.Txn(testbed.Within(t, testbed.Patience), putOf(name)); err != nil || result.Recovered {
			t.Errorf("%+v, %v", result, err)
		}
		if n := testbed.Get(t, c, name).Version; n != int64(i+1) {
			t.Errorf("%d writes were applied", n)
		}
	}
}

// What a server with the usual limit takes, and what the error says beyond that.
func TestLimits(t *testing.T) {
	t.Parallel()
	w, _ := open(t, testbed.Connect(t, etcd.Config{}), idempotent.Config{Lanes: 1})
	key := testbed.OwnName(t)
	req := func(compares, ops int) (req etcd.TxnRequest) {
		for i := range compares {
			req.If = append(req.If, etcd.Missing(key+"/none/"+strconv.Itoa(i)))
		}
		for i := range ops {
			req.Then = append(req.Then, etcd.PutRequest{Key: key + "/" + strconv.Itoa(i)})
		}
		return req
	}
	for _, test := range []struct {
		compares, ops int
		fits          bool
	}{{0, 127, true}, {0, 128, false}, {127, 126, true}, {128, 1, false}, {1, 127, false}} {
		_, err := w.Txn(testbed.Within(t, testbed.Patience), req(test.compares, test.ops))
		switch {
		case test.fits && err != nil:
			t.Errorf("%+v: %v", test, err)
		case !test.fits && (!errors.Is(err, etcd.ErrTooManyOps) || !strings.Contains(err.Error(), fmt.Sprintf("%d compares, %d operations", test.compares, test.ops))):
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// A range that contains the writer's keys can't be deleted by it.
func TestOwnKeys(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	w, _ := open(t, testbed.Connect(t, etcd.Config{}), idempotent.Config{Lanes: 1, Name: name})
	_, err := w.Txn(testbed.Within(t, testbed.Patience), etcd.TxnRequest{Then: []etcd.Op{etcd.DeleteRequest{Key: name, Prefix: true}}})
	if !errors.Is(err, etcd.ErrDuplicateKey) || etcd.MaybeApplied(err) {
		t.Error(err)
	}
}

// A caller that waits for a lane is let go when its context ends, or the Writer.
func TestWaitingForALane(t *testing.T) {
	t.Parallel()
	w, _, p, _ := lossy(t)
	p.Set(etcdtest.BothWays, etcdtest.Fault{Stall: true})
	ctx, cancel := context.WithTimeout(testbed.Within(t, testbed.Patience), time.Second)
	defer cancel()
	first := testbed.Async(func() (*idempotent.Result, error) { return w.Txn(ctx, putOf("a")) })
	second := testbed.Async(func() (*idempotent.Result, error) { return w.Txn(ctx, putOf("a")) })
	errs := []error{(<-first).Err, (<-second).Err}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	for _, err := range errs {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	if etcd.MaybeApplied(errs[0]) == etcd.MaybeApplied(errs[1]) {
		t.Errorf("one was sent and one was not: %v", errs)
	}
	third := testbed.Async(func() (*idempotent.Result, error) { return w.Txn(testbed.Within(t, testbed.Patience), putOf("a")) })
	closing := make(chan error)
	go func() { closing <- w.Close(testbed.Within(t, testbed.Patience)) }()
	if o := <-third; !errors.Is(o.Err, idempotent.ErrClosed) {
		t.Error(o.Err)
	}
	p.Heal()
	if err := <-closing; err != nil {
		t.Error(err)
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	w, co := open(t, c, idempotent.Config{})
	for field, config := range map[string]idempotent.Config{
		"Config.Lanes": {Lanes: -1}, "Config.Lanes is 257": {Lanes: 257}, "Config.Keep": {Keep: -1}, "Config.Keep is 1ms": {Keep: time.Millisecond}, "did you mean 30 * time.Second": {Keep: 30},
		"Config.Keep is 2562047h": {Keep: 1<<63 - 1},
	} {
		if _, err := idempotent.NewWriter(t.Context(), co, config); !errors.Is(err, etcd.ErrInvalidRequest) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	//lint:ignore SA1012 it is what is tested
	_, nilContext := w.Txn(nil, etcd.TxnRequest{})
	_, nilCoordinator := idempotent.NewWriter(t.Context(), nil, idempotent.Config{})
	_, noID := w.Once(t.Context(), "", etcd.TxnRequest{})
	_, noTicket := w.OnceWith(t.Context(), idempotent.Ticket{ID: "a"}, etcd.TxnRequest{})
	_, local := w.Txn(t.Context(), etcd.TxnRequest{Serializable: true})
	_, foreign := w.Resolve(t.Context(), errors.New("other"))
	for text, err := range map[string]error{
		"the context is nil": nilContext, "the coordinator is nil": nilCoordinator, "the ID is empty": noID, "Ticket.Lease": noTicket,
		"Serializable": local, "not that of a write": foreign,
	} {
		if !errors.Is(err, etcd.ErrInvalidRequest) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := co.Close(testbed.Within(t, testbed.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := idempotent.NewWriter(t.Context(), co, idempotent.Config{}); !errors.Is(err, concurrency.ErrClosed) {
		t.Error(err)
	}
}
