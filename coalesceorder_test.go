package etcd

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// refusedPuts has puts of "bad" and of k refused together, while a second put of k
// waits. It returns the two and what they are made of now.
func refusedPuts(ctx context.Context, c *Client, g *gate) (first, second <-chan ended[*PutResponse], alone []*gated) {
	fillers := fillPuts(c, g)
	c.startPut(context.Background(), "bad", "0")
	first = c.startPut(ctx, "k", "1")
	synctest.Wait()
	second = c.startPut(context.Background(), "k", "2")
	synctest.Wait()
	fillers[0].put()
	g.came()[0].answer <- noLease
	return first, second, g.came()
}

// TestOrderAfterARefusal: a put that is made again alone comes before those of its
// key that were called after it.
func TestOrderAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		first, second, alone := refusedPuts(context.Background(), c, g)
		if len(alone) != 2 {
			t.Fatalf("%d requests, want those of the refused batch", len(alone))
		}
		for _, call := range alone {
			if slices.Contains(call.req.Message, '1') {
				call.put()
			} else {
				call.answer <- noLease
			}
		}
		if r := <-first; r.err != nil {
			t.Error(r.err)
		}
		last := g.came()
		if len(last) != 1 || !slices.Contains(last[0].req.Message, '2') {
			t.Fatalf("%d requests follow", len(last))
		}
		last[0].put()
		if r := <-second; r.err != nil {
			t.Error(r.err)
		}
		if n := len(c.coalescer.puts.patient.flying); n > firstWindow { // the fillers
			t.Errorf("%d keys are under way", n)
		}
	})
}

// TestGivingUpBeforeARefusal: a put that has given up holds up nobody.
func TestGivingUpBeforeARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
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
		if r := <-first; !errors.Is(r.err, context.Canceled) || !MaybeApplied(r.err) {
			t.Error(r.err)
		}
		batch.answer <- noLease
		for _, call := range g.came() { // that of the bad key, and the second put
			call.put()
		}
		if r := <-second; r.err != nil {
			t.Error(r.err)
		}
	})
}

// TestGivingUpAfterARefusal: nor does one that gives up when it is made alone.
func TestGivingUpAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		ctx, cancel := context.WithCancel(context.Background())
		first, second, _ := refusedPuts(ctx, c, g)
		cancel()
		if r := <-first; !errors.Is(r.err, context.Canceled) {
			t.Error(r.err)
		}
		last := g.came()
		if len(last) != 1 || !slices.Contains(last[0].req.Message, '2') {
			t.Fatalf("%d requests follow", len(last))
		}
		last[0].put()
		if r := <-second; r.err != nil {
			t.Error(r.err)
		}
	})
}
