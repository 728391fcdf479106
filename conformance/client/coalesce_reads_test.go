package client

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// getter is a Get that keeps its answer.
type getter struct {
	req  etcd.GetRequest
	resp *etcd.GetResponse
	done <-chan error
}

func (g *getter) call(t *testing.T, c *etcd.Client) func() error {
	return func() (err error) {
		g.resp, err = c.Get(t.Context(), g.req)
		return err
	}
}

// reading is a Get of a key that does not exist.
func reading(t *testing.T, c *etcd.Client, key string) func() error {
	return func() error {
		_, err := c.Get(t.Context(), etcd.GetRequest{Key: key})
		return err
	}
}

// The same read of many callers is sent once, and each of them gets its own bytes.
func TestCoalescedIdenticalReads(t *testing.T) {
	t.Parallel()
	key, value := ownKeys(t), strings.Repeat("v", 10_000)
	put(t, connect(t, etcd.Config{}), key, value)
	const callers = 60
	for w := range crowds(t, testbed.Shared, etcd.Config{}) {
		w.hold(etcdtest.ToServer, reading(t, w.Client, key+"none"))
		gets := make([]getter, callers)
		for i := range gets {
			gets[i].req.Key = key
			gets[i].done = w.queue(gets[i].call(t, w.Client))
		}
		if !w.together() {
			continue
		}
		before := w.proxy.Carried(etcdtest.ToClient)
		w.release()
		succeed(t, w.fillers...)
		for i := range gets {
			succeed(t, gets[i].done)
		}
		if carried := w.proxy.Carried(etcdtest.ToClient) - before; carried > int64(2*len(value)) {
			t.Errorf("%d bytes came for %d reads of the same %d", carried, callers, len(value))
		}
		checkOwnBytes(t, gets, key, value)
		if s := w.Stats(); s.Batches != 1 || s.BatchedCalls != int64(w.queued) {
			t.Errorf("%d batches of %d calls, want one of %d", s.Batches, s.BatchedCalls, w.queued)
		}
	}
}

// checkOwnBytes checks one after another that all have the value, and overwrites
// each after the check.
func checkOwnBytes(t *testing.T, gets []getter, key, value string) {
	t.Helper()
	for i := range gets {
		kv, found := gets[i].resp.First()
		if !found || kv.Key != key || string(kv.Value) != value {
			t.Fatalf("read %d is %d pairs, with %q and %d bytes", i, len(gets[i].resp.KVs), kv.Key, len(kv.Value))
		}
		clear(kv.Value)
		clear(append(kv.Value, value...))
	}
}

// Each caller gets the complete header of its answer.
func TestCoalescedHeaders(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{Coalesce: etcd.CoalesceOff})
	key := ownKeys(t)
	put(t, c, key, "v")
	alone := get(t, c, etcd.GetRequest{Key: key}).Header
	for w := range crowds(t, testbed.Shared, etcd.Config{}) {
		w.hold(etcdtest.ToServer, reading(t, w.Client, key+"none"))
		gets := make([]getter, 12)
		for i := range gets {
			gets[i].req.Key = key
			if i%2 == 0 {
				gets[i].req.Key = fmt.Sprint(key, i) // which does not exist
			}
			gets[i].done = w.queue(gets[i].call(t, w.Client))
		}
		if !w.together() {
			continue
		}
		w.release()
		for i := range gets {
			succeed(t, gets[i].done)
			h, first := gets[i].resp.Header, gets[0].resp.Header
			if h.ClusterID != alone.ClusterID || h.MemberID != alone.MemberID || h.RaftTerm != alone.RaftTerm || h.Revision < alone.Revision {
				t.Errorf("header %+v, alone it was %+v", h, alone)
			}
			if h != first {
				t.Errorf("headers %+v and %+v of one request", h, first)
			}
		}
	}
}

// Reads of one key with different options have different answers.
func TestCoalescedOptions(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{Coalesce: etcd.CoalesceOff})
	key := ownKeys(t)
	put(t, c, key, "1")
	mod := put(t, c, key, "2")
	requests := []etcd.GetRequest{
		{}, {KeysOnly: true}, {CountOnly: true}, {Limit: 1}, {SortOrder: etcd.Descend},
		{MinModRevision: mod}, {MinModRevision: mod + 1}, {MaxModRevision: mod - 1}, {MaxCreateRevision: mod - 1}, {MinCreateRevision: mod},
	}
	for w := range crowds(t, testbed.Shared, etcd.Config{}) {
		w.hold(etcdtest.ToServer, reading(t, w.Client, key+"none"))
		gets := make([]getter, 4*len(requests))
		for i := range gets {
			gets[i].req = requests[i%len(requests)]
			gets[i].req.Key = key
			gets[i].done = w.queue(gets[i].call(t, w.Client))
		}
		if !w.together() {
			continue
		}
		w.release()
		for i := range gets {
			g := &gets[i]
			succeed(t, g.done)
			want := get(t, c, g.req)
			if fmt.Sprint(g.resp.KVs, g.resp.Count, g.resp.More) != fmt.Sprint(want.KVs, want.Count, want.More) {
				t.Errorf("%+v: %+v, alone it is %+v", g.req, g.resp, want)
			}
		}
	}
}

// Waiting calls do not hold up calls that may not share a request.
func TestCoalescedReadsApart(t *testing.T) {
	t.Parallel()
	key := ownKeys(t)
	for w := range crowds(t, testbed.Shared, etcd.Config{}) {
		w.hold(etcdtest.ToServer, reading(t, w.Client, key))
		if !w.together() {
			continue
		}
		var others []<-chan error
		for _, req := range []etcd.GetRequest{
			{Key: key, Serializable: true}, {Key: key, Prefix: true}, {Key: key, FromKey: true, Limit: 1},
			{Key: key, RangeEnd: key + "z"}, {Key: key, Revision: 1, Serializable: true},
		} {
			before := w.told.count()
			others = append(others, async((&getter{req: req}).call(t, w.Client)))
			w.until("the call to be sent", func() bool { return w.told.count() > before })
			if a := w.told.since(before); a[0].Calls != 1 {
				t.Errorf("%+v was sent with %d others", req, a[0].Calls-1)
			}
		}
		w.release()
		succeed(t, w.fillers...)
		succeed(t, others[:4]...)
		if err := await(t, others[4]); err != nil && !strings.Contains(err.Error(), "compacted") {
			t.Error(err)
		}
	}
}

// Off means off.
func TestCoalesceOff(t *testing.T) {
	t.Parallel()
	key := ownKeys(t)
	told := new(attempts)
	c := connect(t, etcd.Config{Coalesce: etcd.CoalesceOff, Hooks: etcd.Hooks{Attempt: told.attempt}})
	writes := connect(t, etcd.Config{Hooks: etcd.Hooks{Attempt: told.attempt}}) // share only if asked to
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			own := fmt.Sprint(key, i)
			if _, err := c.Get(t.Context(), etcd.GetRequest{Key: key}); err != nil {
				t.Error(err)
			}
			for _, c := range []*etcd.Client{c, writes} {
				if _, err := c.Put(t.Context(), etcd.PutRequest{Key: own, Value: bytes.Repeat([]byte("v"), i)}); err != nil {
					t.Error(err)
				}
				if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: own}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if a := told.find(func(a *attempt) bool { return a.Calls != 1 }); a != nil || told.count() < 500 {
		t.Errorf("%d attempts, of which one is %+v", told.count(), a)
	}
}
