package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// putter is a Put that keeps its answer.
type putter struct {
	req  etcd.PutRequest
	resp *etcd.PutResponse
	done <-chan error
}

func (p *putter) call(ctx context.Context, c *etcd.Client) func() error {
	return func() (err error) {
		p.resp, err = c.Put(ctx, p.req)
		return err
	}
}

// deleter is a Delete that keeps its answer.
type deleter struct {
	req  etcd.DeleteRequest
	resp *etcd.DeleteResponse
	done <-chan error
}

func (d *deleter) call(ctx context.Context, c *etcd.Client) func() error {
	return func() (err error) {
		d.resp, err = c.Delete(ctx, d.req)
		return err
	}
}

// putting puts a different key each time.
func putting(ctx context.Context, c *etcd.Client, prefix string) func() error {
	return func() error {
		_, err := c.Put(ctx, etcd.PutRequest{Key: fmt.Sprint(prefix, "filler", runs.Add(1))})
		return err
	}
}

// deleting deletes a different key each time.
func deleting(ctx context.Context, c *etcd.Client, prefix string) func() error {
	return func() error {
		_, err := c.Delete(ctx, etcd.DeleteRequest{Key: fmt.Sprint(prefix, "filler", runs.Add(1))})
		return err
	}
}

// Puts that share a request are one transaction.
func TestCoalescedPuts(t *testing.T) {
	t.Parallel()
	for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll}) {
		p := ownKeys(t)
		w.hold(etcdtest.ToServer, putting(t.Context(), w.Client, p))
		puts := make([]putter, 30)
		for i := range puts {
			puts[i].req = etcd.PutRequest{Key: fmt.Sprint(p, i), Value: []byte(fmt.Sprint("value ", i)), PrevKV: true}
			puts[i].done = w.queue(puts[i].call(t.Context(), w.Client))
		}
		if !w.together() {
			continue
		}
		w.release()
		succeed(t, w.fillers...)
		header := etcd.ResponseHeader{}
		for i := range puts {
			succeed(t, puts[i].done)
			if i == 0 {
				header = puts[i].resp.Header
			}
			if h := puts[i].resp.Header; h != header || h.ClusterID == 0 || h.MemberID == 0 || h.Revision == 0 || h.RaftTerm == 0 {
				t.Errorf("header %+v, of the first %+v", h, header)
			}
			if kv := puts[i].resp.PrevKV; kv != nil {
				t.Errorf("there was %+v before", kv)
			}
			if kv := stored(t, w.Client, puts[i].req.Key); kv.Version != 1 || string(kv.Value) != string(puts[i].req.Value) || kv.ModRevision != header.Revision {
				t.Errorf("stored %+v, put %+v at revision %d", kv, puts[i].req, header.Revision)
			}
		}
		if s := w.Stats(); s.Batches != 1 || s.BatchedCalls != int64(w.queued) {
			t.Errorf("%d batches of %d calls, want one of %d", s.Batches, s.BatchedCalls, w.queued)
		}
	}
}

// Deletes share too, each with its own count and pair.
func TestCoalescedDeletes(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll}) {
		p := ownKeys(t)
		w.hold(etcdtest.ToServer, deleting(t.Context(), w.Client, p))
		deletes := make([]deleter, 30)
		for i := range deletes {
			key := fmt.Sprint(p, i)
			if i%3 > 0 {
				put(t, c, key, fmt.Sprint("value of ", key))
			}
			deletes[i].req = etcd.DeleteRequest{Key: key, PrevKV: i%3 > 1}
			deletes[i].done = w.queue(deletes[i].call(t.Context(), w.Client))
		}
		if !w.together() {
			continue
		}
		w.release()
		for i := range deletes {
			succeed(t, deletes[i].done)
			d := &deletes[i]
			if d.resp.Header != deletes[0].resp.Header || d.resp.Header.MemberID == 0 {
				t.Errorf("header %+v, of the first %+v", d.resp.Header, deletes[0].resp.Header)
			}
			if d.resp.Deleted != count(i%3 > 0) || len(d.resp.PrevKVs) != int(count(i%3 > 1)) {
				t.Errorf("deletion %d: %+v", i, d.resp)
			}
			for _, kv := range d.resp.PrevKVs {
				if kv.Key != d.req.Key || string(kv.Value) != "value of "+kv.Key {
					t.Errorf("deletion %d was of %+v", i, kv)
				}
			}
			if kv := stored(t, c, d.req.Key); kv.Version != 0 {
				t.Errorf("%+v is still there", kv)
			}
		}
		if s := w.Stats(); s.Batches != 1 || s.BatchedCalls != int64(w.queued) {
			t.Errorf("%d batches of %d calls, want one of %d", s.Batches, s.BatchedCalls, w.queued)
		}
	}
}

// Puts of one key are applied in the order of their calls, even if the transaction
// of the first ones is refused because of another key.
func TestCoalescedOrder(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]bool{"accepted": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for w := range crowds(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll}) {
				checkOrder(t, w, refused)
			}
		})
	}
}

func checkOrder(t *testing.T, w *crowd, refused bool) {
	const keys, each = 5, 4
	p := ownKeys(t)
	w.hold(etcdtest.ToServer, putting(t.Context(), w.Client, p))
	var bad <-chan error
	if refused {
		put := &putter{req: etcd.PutRequest{Key: p + "bad", Lease: 0x7eadbeef}}
		bad = w.queue(put.call(t.Context(), w.Client))
	}
	puts := make([]putter, keys*each)
	for i := range puts {
		puts[i].req = etcd.PutRequest{Key: fmt.Sprint(p, i%keys), Value: []byte(fmt.Sprint(i / keys)), PrevKV: true}
		puts[i].done = w.queue(puts[i].call(t.Context(), w.Client))
	}
	if !w.together() {
		return
	}
	w.release()
	if refused {
		wants(t, await(t, bad), etcd.ErrLeaseNotFound, etcd.OutcomeRejected)
	}
	for i := range puts {
		succeed(t, puts[i].done)
		before := ""
		if kv := puts[i].resp.PrevKV; kv != nil {
			before = string(kv.Value)
		}
		if want := strings.TrimPrefix(fmt.Sprint(i/keys-1), "-1"); before != want {
			t.Errorf("put %d of %s came behind %q", i/keys, puts[i].req.Key, before)
		}
	}
}

// Many callers that write one key do not wait for one another's round trips.
func TestCoalescedHotKey(t *testing.T) {
	t.Parallel()
	const callers, each, delay = 200, 3, 50 * time.Millisecond
	w := newCrowd(t, testbed.Shared, etcd.Config{Coalesce: etcd.CoalesceAll})
	key := ownKeys(t)
	w.proxy.Set(etcdtest.ToServer, etcdtest.Fault{Delay: delay})
	began := time.Now()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				if _, err := w.Put(t.Context(), etcd.PutRequest{Key: key}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > callers*each*delay/3 {
		t.Errorf("%d callers took %v, one after the other it would be %v", callers, took, callers*each*delay)
	}
	if v := stored(t, w.Client, key).Version; v != callers*each {
		t.Errorf("version %d after %d puts", v, callers*each)
	}
}

// In every combination each write is applied once.
func TestCoalescedWritesOnce(t *testing.T) {
	t.Parallel()
	const callers, rounds = 64, 10
	c := connect(t, etcd.Config{Coalesce: etcd.CoalesceAll})
	p := ownKeys(t)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			ctx := t.Context()
			if caller%2 == 0 { // calls with a deadline have their own queue
				ctx = within(t, time.Minute)
			}
			own, other := fmt.Sprint(p, caller), fmt.Sprint(p, caller, "deleted")
			for range rounds {
				for _, key := range []string{own, p, other} {
					if _, err := c.Put(ctx, etcd.PutRequest{Key: key}); err != nil {
						t.Error(err)
					}
				}
				if resp, err := c.Delete(ctx, etcd.DeleteRequest{Key: other}); err != nil || resp.Deleted != 1 {
					t.Errorf("deleted %+v, %v", resp, err)
				}
			}
			if v := stored(t, c, own).Version; v != rounds {
				t.Errorf("version %d after %d puts", v, rounds)
			}
		})
	}
	all.Wait()
	if v := stored(t, c, p).Version; v != callers*rounds {
		t.Errorf("version %d after %d puts", v, callers*rounds)
	}
	if s := c.Stats(); s.Batches == 0 {
		t.Error("no call has met another one")
	}
}

// Without space puts are refused, and not retried. Operations that make room are
// not refused, nor are reads.
func TestCoalescedNoSpace(t *testing.T) {
	t.Parallel()
	const kept = 10
	s, c := private(t, etcdtest.Config{QuotaBytes: 1 << 20, Heartbeat: 10 * time.Millisecond}, etcd.Config{})
	for i := range kept {
		put(t, c, fmt.Sprint(i), "kept")
	}
	for full := false; !full; {
		_, err := c.Put(t.Context(), etcd.PutRequest{Key: "large", Value: make([]byte, 128<<10)})
		if full = errors.Is(err, etcd.ErrNoSpace); err != nil && !full {
			t.Fatal(err)
		}
	}
	for w := range crowds(t, s, etcd.Config{Coalesce: etcd.CoalesceAll}) {
		w.hold(etcdtest.ToServer, putting(t.Context(), w.Client, "p"))
		puts := make([]putter, kept)
		for i := range puts {
			puts[i].req.Key = fmt.Sprint("new", i)
			puts[i].done = w.queue(puts[i].call(t.Context(), w.Client))
		}
		if !w.together() {
			continue
		}
		w.release()
		for _, done := range w.fillers {
			wants(t, await(t, done), etcd.ErrNoSpace, etcd.OutcomeUnknown)
		}
		for i := range puts {
			wants(t, await(t, puts[i].done), etcd.ErrNoSpace, etcd.OutcomeUnknown)
		}
		if n := w.told.count(); n != len(w.fillers) { // the last of these shared the puts' request
			t.Errorf("%d puts that went together and %d alone took %d attempts", kept+1, len(w.fillers)-1, n)
		}
	}
	for w := range crowds(t, s, etcd.Config{Coalesce: etcd.CoalesceAll}) {
		w.hold(etcdtest.ToServer, deleting(t.Context(), w.Client, "p"))
		deletes := make([]deleter, kept)
		for i := range deletes {
			deletes[i].req.Key = fmt.Sprint(i)
			deletes[i].done = w.queue(deletes[i].call(t.Context(), w.Client))
		}
		if !w.together() {
			continue
		}
		w.release()
		succeed(t, w.fillers...)
		for i := range deletes {
			succeed(t, deletes[i].done)
			if resp := deletes[i].resp; resp != nil && resp.Deleted != 1 {
				t.Errorf("deleted %+v", resp)
			}
		}
	}
	for w := range crowds(t, s, etcd.Config{}) {
		w.hold(etcdtest.ToServer, reading(t, w.Client, "0"))
		done := w.queue(reading(t, w.Client, "1"))
		if !w.together() {
			continue
		}
		w.release()
		succeed(t, append(w.fillers, done)...)
	}
}
