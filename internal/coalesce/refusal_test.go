package coalesce

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// TestRefusedBatch: each call is sent alone and gets its own answer. The refused
// key does not share again, and the others do after a pause.
func TestRefusedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		ctx := context.Background()
		fillers := fillPuts(c, g)
		good, bad := c.startPut(ctx, "good", "1"), c.startPut(ctx, "bad", "2")
		synctest.Wait()
		fillers[0].put()
		g.came()[0].Answer(peertest.NoLease)
		answerPuts(t, g.came())
		if r := <-good; r.err != nil {
			t.Error(r.err)
		}
		if r := <-bad; !errors.Is(r.err, call.ErrLeaseNotFound) || maybeApplied(r.err) {
			t.Error(r.err)
		}
		q := c.patientQueue(Put)
		if !q.refused.pausing() {
			t.Error("coalescing goes on at once")
		}
		time.Sleep(refusalBackoff.First)
		if q.refused.pausing() {
			t.Error("coalescing does not come back")
		}
		// The bad key goes alone, although the window is full.
		c.startPut(ctx, "another filler", "")
		g.came()
		c.startPut(ctx, "bad", "3")
		synctest.Wait()
		c.startPut(ctx, "good", "4")
		if came := g.came(); len(came) != 1 || !slices.Contains(came[0].Request.Message, '3') {
			t.Errorf("%d requests", len(came))
		}
	})
}

// answerPuts answers puts that are sent alone, and refuses those of the value 2.
func answerPuts(t *testing.T, puts []gated) {
	t.Helper()
	for _, held := range puts {
		if held.path() != "Put" {
			t.Fatalf("sent as %s", held.path())
		}
		if slices.Contains(held.Request.Message, '2') {
			held.Answer(peertest.NoLease)
		} else {
			held.put()
		}
	}
}

// readsAreMadeAlone ends a batch of two reads with refusal, and checks that each of
// them is sent again and answered.
func readsAreMadeAlone(t *testing.T, c *Coalescer, g *gate, refusal peertest.Reply) {
	t.Helper()
	fillers := fillWindow(c, g)
	a, b := c.startGet(context.Background(), "a"), c.startGet(context.Background(), "b")
	synctest.Wait()
	fillers[0].single("x")
	g.came()[0].Answer(refusal)
	for _, held := range g.came() {
		held.single("1")
	}
	if ra, rb := <-a, <-b; ra.err != nil || rb.err != nil {
		t.Error(ra.err, rb.err)
	}
}

// TestNoTransactions: a server that accepts no transactions gets no more of them.
func TestNoTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		readsAreMadeAlone(t, c, g, peertest.Says(transport.Unimplemented, "unknown method Txn"))
		time.Sleep(time.Hour)
		if !c.patientQueue(Get).refused.pausing() {
			t.Error("transactions are tried again")
		}
	})
}

// TestAnswersThatAreTooLargeTogether: reads are sent again alone, and writes whose
// answers may be large must not share if answers are bounded.
func TestAnswersThatAreTooLargeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		readsAreMadeAlone(t, c, g, peertest.Reply{Err: &transport.Error{Code: transport.ResourceExhausted, Cause: transport.ErrTooLarge}})
	})
	bounded, unbounded := New(Config{MaxAnswer: 1 << 20}), New(Config{})
	if !bounded.MayOverflow(true) {
		t.Error("writes with previous values share")
	}
	if bounded.MayOverflow(false) || unbounded.MayOverflow(true) {
		t.Error("writes without, or without a bound, do not share")
	}
}
