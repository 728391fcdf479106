package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
	"silly.store/etcd/internal/wire"
)

func TestCallsAloneGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		for _, call := range fillWindow(c, g) {
			if call.path() != "Range" {
				t.Errorf("sent as %s", call.path())
			}
		}
	})
}

// TestQueuedCallsGoTogether: those that come while the window is full go in one
// request when one under way has ended, and none joins it after that.
func TestQueuedCallsGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		ctx := context.Background()
		fillers := fillWindow(c, g)
		a, b, again := c.startGet(ctx, "a"), c.startGet(ctx, "b"), c.startGet(ctx, "a")
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
		// Which of a and b came first is not known, but two parts there are.
		first, second := "1", "2"
		if !isFirst(came[0].req.Message, "a") {
			first, second = second, first
		}
		came[0].shared(1, getReply(inHeader, first), getReply(inHeader, second))
		ra, rb, rc := <-a, <-b, <-again
		for _, r := range []struct {
			ended[*GetResponse]
			want string
		}{{ra, "1"}, {rb, "2"}, {rc, "1"}} {
			if r.err != nil || string(r.resp.KVs[0].Value) != r.want {
				t.Fatalf("%+v, want %s", r.ended, r.want)
			}
			if h := r.resp.Header; h != (ResponseHeader{1, 2, 7, 3}) {
				t.Errorf("header %+v", h)
			}
		}
		if &ra.resp.KVs[0].Value[0] == &rc.resp.KVs[0].Value[0] {
			t.Error("two callers have the same bytes")
		}
		came = g.came()
		if len(came) != 1 || came[0].path() != "Range" {
			t.Fatalf("the late call: %d requests", len(came))
		}
		came[0].single("3")
		if r := <-late; r.err != nil || string(r.resp.KVs[0].Value) != "3" {
			t.Errorf("%+v", r)
		}
	})
}

// isFirst: the first operation of a transaction names the key.
func isFirst(txn []byte, key string) bool {
	op, _ := wire.Bytes(txn, 1)
	req, _ := wire.Bytes(op, 1)
	k, _ := wire.Bytes(req, 1)
	return string(k) == key
}

func TestWritesOfOneKeyKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
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
		for i, done := range []<-chan ended[*PutResponse]{first, second, third} {
			if len(came) != 1 || !slices.Contains(came[0].req.Message, '1'+byte(i)) {
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

// TestHotKey: more writes of one key than would be answered soon in turn are sent
// at once.
func TestHotKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		for i := range 2 * hotQueue {
			c.startPut(context.Background(), "k", fmt.Sprint(i))
		}
		calls := g.came()
		if len(calls) <= hotQueue {
			t.Fatalf("%d of %d puts under way", len(calls), 2*hotQueue)
		}
		answered := 0
		for ; len(calls) > 0; calls = g.came() {
			for _, call := range calls {
				call.put()
				answered++
			}
		}
		if answered != 2*hotQueue {
			t.Errorf("%d of %d puts were sent", answered, 2*hotQueue)
		}
	})
}

func TestGivingUpAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		background := context.Background()
		key := c.startPut(background, "k", "1")
		sent := g.came()

		// In the queue.
		queued, cancel := context.WithCancel(background)
		put := c.startPut(queued, "k", "2")
		synctest.Wait()
		cancel()
		if r := <-put; !errors.Is(r.err, context.Canceled) || MaybeApplied(r.err) {
			t.Errorf("in the queue: %v", r.err)
		}
		sent[0].put()
		<-key
		if more := g.came(); len(more) != 0 {
			t.Fatal("a call was sent after it had been given up")
		}

		// In a batch, whose other call goes on.
		fillers := fillPuts(c, g)
		leaves, cancel := context.WithCancel(background)
		put, stays := c.startPut(leaves, "a", "1"), c.startPut(background, "b", "2")
		synctest.Wait()
		fillers[0].put()
		batch := g.came()
		cancel()
		if r := <-put; !errors.Is(r.err, context.Canceled) || !MaybeApplied(r.err) {
			t.Errorf("in a batch: %v", r.err)
		}
		batch[0].shared(2, putReply(inHeader), putReply(inHeader))
		if r := <-stays; r.err != nil || r.resp.Header.MemberID != 2 {
			t.Errorf("%+v", r)
		}
	})
}

// TestGivingUpTogether: a batch ends when nobody waits for it any longer, and its
// deadline is the last of its calls'.
func TestGivingUpTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		timely := func(d time.Duration) (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), d)
		}
		hour, cancelAll := timely(time.Hour)
		defer cancelAll()
		for i := range firstWindow {
			c.startGet(hour, fmt.Sprint("filler", i))
		}
		fillers := g.came()
		short, cancel := timely(time.Second)
		defer cancel()
		long, cancelLong := timely(time.Minute)
		defer cancelLong()
		a, b := c.startGet(short, "a"), c.startGet(long, "b")
		synctest.Wait()
		fillers[0].single("x")
		batch := g.came()
		if want, _ := long.Deadline(); len(batch) != 1 || !batch[0].deadline.Equal(want) {
			t.Fatalf("deadline %v, want %v", batch[0].deadline, want)
		}
		if r := <-a; !errors.Is(r.err, context.DeadlineExceeded) {
			t.Error(r.err)
		}
		synctest.Wait()
		if batch[0].cancelled {
			t.Error("the batch ended with one of its calls")
		}
		cancelLong()
		if r := <-b; !errors.Is(r.err, context.Canceled) {
			t.Error(r.err)
		}
		synctest.Wait()
		if !batch[0].cancelled {
			t.Error("the batch goes on for nobody")
		}
	})
}

// TestStalledRequests: calls that wait behind requests that nothing ends are sent.
func TestStalledRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		fillers := fillWindow(c, g)
		a := c.startGet(context.Background(), "a")
		synctest.Wait()
		began := time.Now()
		time.Sleep(2*stallTick + time.Millisecond)
		came := g.came()
		if len(came) != 1 {
			t.Fatalf("after %v %d requests", time.Since(began), len(came))
		}
		came[0].single("1")
		if r := <-a; r.err != nil {
			t.Error(r.err)
		}
		nothingIsLeft(t, c, fillers)
	})
}

// nothingIsLeft answers the fillers and finds that no request counts any longer.
func nothingIsLeft(t *testing.T, c *Client, fillers []*gated) {
	t.Helper()
	for _, f := range fillers {
		f.single("x")
	}
	synctest.Wait()
	if l := &c.coalescer.gets.patient; l.flights != 0 || l.stalled != 0 {
		t.Errorf("%d under way, %d stalled", l.flights, l.stalled)
	}
}

// TestStalledRequestsHoldUpOnce: calls that come while requests are stalled go as
// if those were not there, for as long as they last. They used to take the places
// that had been given for the stalled ones, and waited for half a second each.
func TestStalledRequestsHoldUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		fillers := fillWindow(c, g)
		c.startGet(context.Background(), "first")
		time.Sleep(2*stallTick + time.Millisecond)
		g.came()[0].single("x")
		for i := range 3 * firstWindow {
			done := c.startGet(context.Background(), fmt.Sprint("k", i))
			came := g.came()
			if len(came) != 1 {
				t.Fatalf("call %d behind stalled ones is not sent", i)
			}
			came[0].single("x")
			if r := <-done; r.err != nil {
				t.Error(r.err)
			}
		}
		nothingIsLeft(t, c, fillers)
	})
}

// TestRefusedBatch: each call is made alone and has its own answer; the key that
// was refused does not share again, and the others do after a pause.
func TestRefusedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		ctx := context.Background()
		fillers := fillPuts(c, g)
		good, bad := c.startPut(ctx, "good", "1"), c.startPut(ctx, "bad", "2")
		synctest.Wait()
		fillers[0].put()
		g.came()[0].answer <- noLease
		for _, call := range g.came() {
			if call.path() != "Put" {
				t.Fatalf("sent as %s", call.path())
			}
			if slices.Contains(call.req.Message, '2') {
				call.answer <- noLease
			} else {
				call.put()
			}
		}
		if r := <-good; r.err != nil {
			t.Error(r.err)
		}
		if r := <-bad; !errors.Is(r.err, ErrLeaseNotFound) || MaybeApplied(r.err) {
			t.Error(r.err)
		}
		l := &c.coalescer.puts.patient
		if !l.refused.pausing() {
			t.Error("coalescing goes on at once")
		}
		time.Sleep(firstRefusalPause)
		if l.refused.pausing() {
			t.Error("coalescing does not come back")
		}
		// Though the window is full the bad key goes, by itself.
		c.startPut(ctx, "another filler", "")
		g.came()
		c.startPut(ctx, "bad", "3")
		synctest.Wait()
		c.startPut(ctx, "good", "4")
		if came := g.came(); len(came) != 1 || !slices.Contains(came[0].req.Message, '3') {
			t.Errorf("%d requests", len(came))
		}
	})
}

// readsAreMadeAlone has a batch of two reads end with refusal, and finds that each
// of them is sent again and answered.
func readsAreMadeAlone(t *testing.T, c *Client, g *gate, refusal reply) {
	t.Helper()
	fillers := fillWindow(c, g)
	a, b := c.startGet(context.Background(), "a"), c.startGet(context.Background(), "b")
	synctest.Wait()
	fillers[0].single("x")
	g.came()[0].answer <- refusal
	for _, call := range g.came() {
		call.single("1")
	}
	if ra, rb := <-a, <-b; ra.err != nil || rb.err != nil {
		t.Error(ra.err, rb.err)
	}
}

// TestNoTransactions: a server that takes none is asked for no more.
func TestNoTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		readsAreMadeAlone(t, c, g, says(transport.Unimplemented, "unknown method Txn"))
		time.Sleep(time.Hour)
		if !c.coalescer.gets.patient.refused.pausing() {
			t.Error("transactions are tried again")
		}
	})
}

func TestUnknownFateOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		fillers := fillPuts(c, g)
		a, b := c.startPut(context.Background(), "a", "1"), c.startPut(context.Background(), "b", "2")
		synctest.Wait()
		fillers[0].put()
		g.came()[0].answer <- stopped
		for _, done := range []<-chan ended[*PutResponse]{a, b} {
			var e *Error
			if r := <-done; !MaybeApplied(r.err) || !errors.As(r.err, &e) || e.Op != "Put" || e.Attempts != 1 {
				t.Error(r.err)
			}
		}
		if more := g.came(); len(more) != 0 {
			t.Error("a write of unknown fate was sent again")
		}
	})
}

func TestCloseFailsWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		fillWindow(c, g)
		a := c.startGet(context.Background(), "a")
		synctest.Wait()
		c.coalescer.close()
		if r := <-a; !errors.Is(r.err, ErrClosed) {
			t.Error(r.err)
		}
	})
}

// TestAnswersThatAreTooLargeTogether: reads are made again alone, and writes whose
// answers may be large do not share where answers are bounded.
func TestAnswersThatAreTooLargeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		readsAreMadeAlone(t, c, g, reply{err: &transport.Error{Code: transport.ResourceExhausted, Cause: transport.ErrTooLarge}})
	})
	c := new(Client)
	c.coalescer.maxAnswer = 1 << 20
	if c.putLines(&putRequest{PrevKV: true}) != nil || c.deleteLines(&deleteRangeRequest{PrevKV: true}) != nil {
		t.Error("writes with previous values share")
	}
	if c.putLines(&putRequest{}) == nil || c.deleteLines(&deleteRangeRequest{}) == nil {
		t.Error("writes without do not share")
	}
}

// TestAnsweredWhileGivingUp: a call that has its answer when its context ends takes
// it, rather than not knowing what became of it.
func TestAnsweredWhileGivingUp(t *testing.T) {
	var l line
	l.init(new(Client), &opPut)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := newBatch(&opPut, batchLimits{9, 99}, nil)
	w := new(waiter)
	b.add(w)
	b.settle(nil)
	if err := l.giveUp(ctx, w); err != nil {
		t.Error(err)
	}
}

// TestGivingUpInTrouble: who gives up in the queue hears how the last request ended,
// and who gives up in a batch how often it was tried.
func TestGivingUpInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedClient(t)
		c.retries = 0
		filled := fillWindow(c, g)
		ctx, cancel := context.WithCancel(context.Background())
		queued := c.startGet(ctx, "a")
		synctest.Wait()
		c.coalescer.gets.patient.endedLocked(&Error{Message: "it burns", sentinel: ErrUnavailable})
		cancel()
		if r := <-queued; !errors.Is(r.err, context.Canceled) || !errors.Is(r.err, ErrUnavailable) || !strings.Contains(r.err.Error(), "it burns") {
			t.Error(r.err)
		}

		ctx, cancel = context.WithCancel(context.Background())
		defer cancel()
		sent := c.startGet(ctx, "b")
		c.startGet(context.Background(), "c")
		synctest.Wait()
		filled[0].single("x")
		g.came()
		if c.coalescer.gets.patient.trouble != nil {
			t.Error("an answer does not end the trouble")
		}
		cancel()
		var e *Error
		if r := <-sent; !errors.As(r.err, &e) || e.Attempts != 1 {
			t.Error(r.err)
		}
	})
}
