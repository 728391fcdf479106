package coalesce

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/wire"
)

func TestCallsAloneGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		for _, held := range fillWindow(c, g) {
			if held.path() != "Range" {
				t.Errorf("sent as %s", held.path())
			}
		}
	})
}

// TestQueuedCallsGoTogether: calls that arrive while the window is full go in one
// request once one in flight has ended, and no call joins that request later.
func TestQueuedCallsGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		ctx, fillers := context.Background(), fillWindow(c, g)
		a := c.startGet(ctx, "a")
		synctest.Wait()
		b, again := c.startGet(ctx, "b"), c.startGet(ctx, "a")
		if came := g.came(); len(came) != 0 {
			t.Fatalf("%d calls were sent beyond the window", len(came))
		}
		fillers[0].single("x")
		came := g.came()
		if len(came) != 1 || came[0].path() != "Txn" {
			t.Fatalf("sent %d requests", len(came))
		}
		late := c.startGet(ctx, "late")
		if more := g.came(); len(more) != 0 {
			t.Fatal("a call was sent beyond the window")
		}
		if !isFirst(came[0].Request.Message, "a") {
			t.Error("the calls are not in order")
		}
		came[0].shared(1, getReply(inHeader, "1"), getReply(inHeader, "2"))
		ra, rc := <-a, <-again
		ra.isShared(t, "1")
		rc.isShared(t, "1")
		(<-b).isShared(t, "2")
		if &ra.Reply[0] == &rc.Reply[0] {
			t.Error("two callers have the same bytes")
		}
		came = g.came()
		if len(came) != 1 || came[0].path() != "Range" {
			t.Fatalf("the late call: %d requests", len(came))
		}
		came[0].single("3")
		if r := <-late; r.err != nil || !bytes.Equal(r.Reply, getReply(testHeader, "3")) {
			t.Errorf("%+v", r)
		}
	})
}

// isShared checks that r is a read of the value that shared a request.
func (r ended) isShared(t *testing.T, value string) {
	t.Helper()
	if r.err != nil || !bytes.Equal(r.Reply, getReply(inHeader, value)) {
		t.Fatalf("%+v, want %s", r, value)
	}
	if r.Header != (call.Header{ClusterID: 1, MemberID: 2, Revision: 7, RaftTerm: 3}) {
		t.Errorf("header %+v", r.Header)
	}
}

// isFirst reports whether the first operation of a transaction names the key.
func isFirst(txn []byte, key string) bool {
	op, _ := wire.Bytes(txn, 1)
	req, _ := wire.Bytes(op, 1)
	k, _ := wire.Bytes(req, 1)
	return string(k) == key
}

func TestUnknownFateOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		fillers := fillPuts(c, g)
		a, b := c.startPut(context.Background(), "a", "1"), c.startPut(context.Background(), "b", "2")
		synctest.Wait()
		fillers[0].put()
		g.came()[0].Answer(peertest.Stopped)
		for _, done := range []<-chan ended{a, b} {
			var e *call.Error
			if r := <-done; !maybeApplied(r.err) || !errors.As(r.err, &e) || e.Op != "Put" || e.Attempts != 1 {
				t.Error(r.err)
			}
		}
		if more := g.came(); len(more) != 0 {
			t.Error("a write with an unknown outcome was sent again")
		}
	})
}

func TestCloseFailsWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		fillWindow(c, g)
		a := c.startGet(context.Background(), "a")
		synctest.Wait()
		c.Close()
		if r := <-a; !errors.Is(r.err, call.ErrClosed) {
			t.Error(r.err)
		}
	})
}
