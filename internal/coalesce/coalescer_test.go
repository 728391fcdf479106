package coalesce

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// TestBatched: only shared requests are counted.
func TestBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		var batched []int
		c.config.Batched = func(calls int) { batched = append(batched, calls) }
		fillers := fillWindow(c, g)
		for _, key := range []string{"a", "b", "a"} {
			c.startGet(context.Background(), key)
		}
		synctest.Wait()
		fillers[0].single("x")
		g.came()
		c.startGet(context.Background(), "alone")
		synctest.Wait()
		fillers[1].single("x")
		if came := g.came(); len(came) != 1 || came[0].path() != "Range" {
			t.Errorf("%d requests", len(came))
		}
		if !slices.Equal(batched, []int{3}) {
			t.Errorf("batches of %d", batched)
		}
	})
}

// TestWhatShares: each kind of call has its own queues, if it shares at all.
func TestWhatShares(t *testing.T) {
	ops := []*Operation{Get, GetLocal, Put, Delete, Txn}
	for _, test := range []struct {
		config Config
		shares []*Operation
	}{
		{Config{}, nil},
		{Config{Reads: true}, ops[:2]},
		{Config{Writes: true}, ops[2:4]},
		{Config{Txns: true}, ops[4:]},
		{Config{Reads: true, Writes: true, Txns: true}, ops},
	} {
		c := New(test.config)
		for _, op := range ops {
			if c.Shares(op) != slices.Contains(test.shares, op) {
				t.Errorf("%+v: %s shares: %v", test.config, op.Single.Op, c.Shares(op))
			}
			if c.patientQueue(op).op != op || c.timelyQueue(op).op != op {
				t.Errorf("the queue of %s is that of another operation", op.Single.Op)
			}
		}
	}
}

// TestTogether: halving finds the operation that is to blame, and each of the
// others gets its own answer.
func TestTogether(t *testing.T) {
	const n = 21
	var requests []int // how many operations each had
	c := New(Config{Writes: true, Send: func(_ context.Context, r call.Request) ([]byte, *call.Error) {
		requests = append(requests, r.Progress.Calls)
		if bytes.Contains(r.Message, []byte("bad")) {
			return nil, call.FromServer(r.Method, "", transport.NotFound, "etcdserver: requested lease not found")
		}
		if r.Method == rpc.Put {
			return putReply(testHeader), nil
		}
		return txnReply(Put.field, slices.Repeat([][]byte{putReply(inHeader)}, r.Progress.Calls)...), nil
	}})
	ws := preparePuts(c, n)
	c.Prepare(ws[13], "", "k13", putMessage("k13", "bad"))
	before := c.Limits(Put)
	c.Together(context.Background(), Put, ws)
	for i, w := range ws {
		answer, err := w.Answer()
		switch {
		case i == 13:
			if err == nil || err.Sentinel != call.ErrLeaseNotFound {
				t.Errorf("the bad put: %v", err)
			}
		case err != nil:
			t.Errorf("put %d: %v", i, err)
		case answer.Header == (call.Header{}) && !bytes.Equal(answer.Reply, putReply(testHeader)):
			t.Errorf("put %d: %x", i, answer.Reply)
		}
	}
	if requests[0] != n || len(requests) != 11 { // 21 10 11 5 6 3 3 1 2 1 1
		t.Errorf("requests of %d", requests)
	}
	if c.Limits(Put) != before {
		t.Error("a refusal for another reason makes batches smaller")
	}
}

// preparePuts makes puts for Together.
func preparePuts(c *Coalescer, n int) []*Waiter {
	ws := make([]*Waiter, n)
	for i := range ws {
		key := fmt.Sprint("k", i)
		ws[i] = new(Waiter)
		c.Prepare(ws[i], "", key, putMessage(key, "good"))
	}
	return ws
}

// TestTogetherLearns: requests are smaller once servers have refused larger ones.
func TestTogetherLearns(t *testing.T) {
	const allowed = 5
	c := New(Config{Writes: true, Send: func(_ context.Context, r call.Request) ([]byte, *call.Error) {
		if n := r.Progress.Calls; n > allowed {
			return nil, call.FromServer(r.Method, "", transport.InvalidArgument, "etcdserver: too many operations in txn request")
		}
		return txnReply(Put.field, slices.Repeat([][]byte{putReply(inHeader)}, r.Progress.Calls)...), nil
	}})
	ws := preparePuts(c, 4*allowed)
	c.Together(context.Background(), Put, ws)
	for i, w := range ws {
		if _, err := w.Answer(); err != nil {
			t.Errorf("put %d: %v", i, err)
		}
	}
	if n := c.Limits(Put).Parts; n != allowed {
		t.Errorf("the next request may have %d operations, want %d", n, allowed)
	}
}

// TestWithoutQueue: a closed coalescer sends each call alone.
func TestWithoutQueue(t *testing.T) {
	var sent atomic.Int32
	c := New(Config{Writes: true, Send: func(_ context.Context, r call.Request) ([]byte, *call.Error) {
		sent.Add(1)
		return putReply(testHeader), nil
	}})
	c.Close()
	for range 3 {
		if r := <-c.startPut(context.Background(), "k", "v"); r.err != nil {
			t.Error(r.err)
		}
	}
	if n := sent.Load(); n != 3 {
		t.Errorf("%d requests", n)
	}
	c.Wait()
}
