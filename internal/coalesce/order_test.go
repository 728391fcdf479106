package coalesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"silly.store/etcd/internal/peertest"
)

func TestWritesOfOneKeyKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		ctx := context.Background()
		first := c.startPut(ctx, "k", "1")
		came := g.came()
		second := c.startPut(ctx, "k", "2")
		synctest.Wait()
		third := c.startPut(ctx, "k", "3")
		other := c.startPut(ctx, "other", "4")
		if more := g.came(); len(more) != 1 || more[0].path() != "Put" {
			t.Fatalf("%d requests besides the first put", len(more)) // that of the other key
		} else {
			more[0].put()
		}
		<-other
		for i, done := range []<-chan ended{first, second, third} {
			if len(came) != 1 || !slices.Contains(came[0].Request.Message, '1'+byte(i)) {
				t.Fatalf("put %d: %d requests", i+1, len(came))
			}
			came[0].put()
			if r := <-done; r.err != nil {
				t.Fatal(r.err)
			}
			came = g.came()
		}
	})
}

// TestHotKey: writes of one key are sent at once if there are too many to be
// answered soon one by one.
func TestHotKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		for i := range 2 * hotQueue {
			c.startPut(context.Background(), "k", fmt.Sprint(i))
		}
		calls := g.came()
		if len(calls) <= hotQueue {
			t.Fatalf("%d of %d puts under way", len(calls), 2*hotQueue)
		}
		answered := 0
		for ; len(calls) > 0; calls = g.came() {
			for _, held := range calls {
				held.put()
				answered++
			}
		}
		if answered != 2*hotQueue {
			t.Errorf("%d of %d puts were sent", answered, 2*hotQueue)
		}
	})
}

// TestAfterAHotKey: after the end of writes that were sent out of order, later writes
// still wait for the one that was sent in order.
func TestAfterAHotKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		c.startPut(context.Background(), "k", "first")
		first := g.came()[0]
		for i := range hotQueue + 1 {
			c.startPut(context.Background(), "k", fmt.Sprint(i))
		}
		for _, held := range g.came() {
			held.put()
		}
		synctest.Wait()
		last := c.startPut(context.Background(), "k", "last")
		if more := g.came(); len(more) != 0 {
			t.Fatal("the last put does not wait for the first one")
		}
		first.put()
		g.came()[0].put()
		if r := <-last; r.err != nil {
			t.Error(r.err)
		}
	})
}

// TestWarmKeys: writes of many keys, none of them hot, keep their order.
func TestWarmKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 3 * hotQueue
		c, g := gatedCoalescer(t)
		c.patientQueue(Put).window.size = maxWindow
		for _, value := range []string{"1", "2"} {
			for i := range keys {
				c.startPut(context.Background(), fmt.Sprint("k", i), value)
			}
			synctest.Wait()
		}
		if n := len(g.came()); n != keys {
			t.Errorf("%d puts of %d keys are under way", n, keys)
		}
		if n := c.Waiting(); n != keys {
			t.Errorf("%d puts wait", n)
		}
	})
}

// refusedPuts makes a batch with puts of "bad" and of k and refuses it, while a
// second put of k waits. It returns the two puts of k and the requests that follow
// the refusal.
func refusedPuts(ctx context.Context, c *Coalescer, g *gate) (first, second <-chan ended, alone []gated) {
	fillers := fillPuts(c, g)
	c.startPut(context.Background(), "bad", "0")
	first = c.startPut(ctx, "k", "1")
	synctest.Wait()
	second = c.startPut(context.Background(), "k", "2")
	synctest.Wait()
	fillers[0].put()
	g.came()[0].Answer(peertest.NoLease)
	return first, second, g.came()
}

// TestOrderAfterARefusal: a put that is sent again alone precedes later puts of its
// key.
func TestOrderAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		first, second, alone := refusedPuts(context.Background(), c, g)
		if len(alone) != 2 {
			t.Fatalf("%d requests, want those of the refused batch", len(alone))
		}
		for _, held := range alone {
			if slices.Contains(held.Request.Message, '1') {
				held.put()
			} else {
				held.Answer(peertest.NoLease)
			}
		}
		if r := <-first; r.err != nil {
			t.Error(r.err)
		}
		last := g.came()
		if len(last) != 1 || !slices.Contains(last[0].Request.Message, '2') {
			t.Fatalf("%d requests follow", len(last))
		}
		last[0].put()
		if r := <-second; r.err != nil {
			t.Error(r.err)
		}
		if n := len(c.patientQueue(Put).order.writing); n > firstWindow { // the fillers
			t.Errorf("%d keys are under way", n)
		}
	})
}

// TestGivingUpBeforeARefusal: a put that has given up holds up no other put.
func TestGivingUpBeforeARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		ctx, cancel := context.WithCancel(context.Background())
		fillers := fillPuts(c, g)
		c.startPut(context.Background(), "bad", "0")
		first := c.startPut(ctx, "k", "1")
		synctest.Wait()
		second := c.startPut(context.Background(), "k", "2")
		synctest.Wait()
		fillers[0].put()
		batch := g.came()[0]
		cancel()
		if r := <-first; !errors.Is(r.err, context.Canceled) || !maybeApplied(r.err) {
			t.Error(r.err)
		}
		batch.Answer(peertest.NoLease)
		for _, held := range g.came() { // that of the bad key, and the second put
			held.put()
		}
		if r := <-second; r.err != nil {
			t.Error(r.err)
		}
	})
}

// TestGivingUpAfterARefusal: nor does a put that gives up while it is sent alone.
func TestGivingUpAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		ctx, cancel := context.WithCancel(context.Background())
		first, second, _ := refusedPuts(ctx, c, g)
		cancel()
		if r := <-first; !errors.Is(r.err, context.Canceled) {
			t.Error(r.err)
		}
		last := g.came()
		if len(last) != 1 || !slices.Contains(last[0].Request.Message, '2') {
			t.Fatalf("%d requests follow", len(last))
		}
		last[0].put()
		if r := <-second; r.err != nil {
			t.Error(r.err)
		}
	})
}
