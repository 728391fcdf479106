package coalesce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

func TestGivingUpAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		background := context.Background()
		key := c.startPut(background, "k", "1")
		sent := g.came()

		// In the queue.
		queued, cancel := context.WithCancel(background)
		put := c.startPut(queued, "k", "2")
		synctest.Wait()
		cancel()
		if r := <-put; !errors.Is(r.err, context.Canceled) || maybeApplied(r.err) {
			t.Errorf("in the queue: %v", r.err)
		}
		sent[0].put()
		<-key
		if more := g.came(); len(more) != 0 {
			t.Fatal("a call was sent after it had been given up")
		}

		// In a batch, whose other call continues.
		fillers := fillPuts(c, g)
		leaves, cancel := context.WithCancel(background)
		put, stays := c.startPut(leaves, "a", "1"), c.startPut(background, "b", "2")
		synctest.Wait()
		fillers[0].put()
		batch := g.came()
		cancel()
		if r := <-put; !errors.Is(r.err, context.Canceled) || !maybeApplied(r.err) {
			t.Errorf("in a batch: %v", r.err)
		}
		batch[0].shared(2, putReply(inHeader), putReply(inHeader))
		if r := <-stays; r.err != nil || r.Header.MemberID != 2 {
			t.Errorf("%+v", r)
		}
	})
}

// TestGivingUpTogether: a batch ends when no call waits for it any longer, and its
// deadline is the latest of its calls.
func TestGivingUpTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
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
		if want, _ := long.Deadline(); len(batch) != 1 || !batch[0].Deadline.Equal(want) {
			t.Fatalf("deadline %v, want %v", batch[0].Deadline, want)
		}
		if r := <-a; !errors.Is(r.err, context.DeadlineExceeded) {
			t.Error(r.err)
		}
		synctest.Wait()
		if batch[0].Cancelled() {
			t.Error("the batch ended with one of its calls")
		}
		cancelLong()
		if r := <-b; !errors.Is(r.err, context.Canceled) {
			t.Error(r.err)
		}
		synctest.Wait()
		if !batch[0].Cancelled() {
			t.Error("the batch goes on for nobody")
		}
	})
}

// TestWithdrawnWrite: a write whose call left while its batch waited for a connection is
// not sent. The call was reported not sent, and was applied: the batch went on with all
// of its writes once it had its connection.
func TestWithdrawnWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		background := context.Background()
		fillers := fillPuts(c, g)
		connection, send := make(chan struct{}), c.config.Send
		c.config.Send = func(ctx context.Context, r call.Request) ([]byte, *call.Error) {
			<-connection
			return send(ctx, r)
		}
		var batched []int
		c.config.Batched = func(calls int) { batched = append(batched, calls) }
		var puts []<-chan ended
		var leave []context.CancelFunc
		for _, key := range []string{"a", "b", "c", "d"} {
			ctx, cancel := context.WithCancel(background)
			defer cancel()
			puts, leave = append(puts, c.startPut(ctx, key, "value-"+key)), append(leave, cancel)
		}
		synctest.Wait()
		fillers[0].put()
		synctest.Wait()
		for _, i := range []int{0, 2} {
			leave[i]()
			if r := <-puts[i]; !errors.Is(r.err, context.Canceled) || maybeApplied(r.err) {
				t.Errorf("left a batch that waits for a connection: %v", r.err)
			}
		}
		close(connection)
		batch := g.came()
		if len(batch) != 1 {
			t.Fatalf("%d requests", len(batch))
		}
		for i, value := range []string{"value-a", "value-b", "value-c", "value-d"} {
			if sent := bytes.Contains(batch[0].Request.Message, []byte(value)); sent != (i%2 == 1) {
				t.Errorf("%s was sent: %v", value, sent)
			}
		}
		batch[0].shared(2, putReply(inHeader), putReply(inHeader))
		for _, i := range []int{1, 3} {
			if r := <-puts[i]; r.err != nil || r.Header.MemberID != 2 {
				t.Errorf("%+v", r)
			}
		}
		if !slices.Equal(batched, []int{4}) {
			t.Errorf("batches of %d, want one of 4", batched)
		}
		again := c.startPut(background, "a", "2")
		if alone := g.came(); len(alone) != 1 {
			t.Error("a later write of the key waits for the withdrawn one")
		} else {
			alone[0].put()
		}
		<-again
	})
}

// TestWithdrawnByAll: a batch that all calls left while it waited for a connection is
// not sent, and does not trouble later calls.
func TestWithdrawnByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		fillers := fillPuts(c, g)
		connection, send := make(chan struct{}), c.config.Send
		c.config.Send = func(_ context.Context, r call.Request) ([]byte, *call.Error) {
			<-connection
			return send(context.Background(), r) // the connection takes it just before the end
		}
		ctx, cancel := context.WithCancel(context.Background())
		a, b := c.startPut(ctx, "a", "1"), c.startPut(ctx, "b", "1")
		synctest.Wait()
		fillers[0].put()
		synctest.Wait()
		cancel()
		for _, put := range []<-chan ended{a, b} {
			if r := <-put; !errors.Is(r.err, context.Canceled) {
				t.Error(r.err)
			}
		}
		close(connection)
		if more := g.came(); len(more) != 0 {
			t.Error("the batch was sent for nobody")
		}
		if c.patientQueue(Put).trouble != nil {
			t.Error(c.patientQueue(Put).trouble)
		}
	})
}

// TestAnsweredWhileGivingUp: a call that already has its answer when its context
// ends returns the answer, not an unknown outcome.
func TestAnsweredWhileGivingUp(t *testing.T) {
	var q queue
	q.init(new(Coalescer), Put)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := newBatch(Put, Limits{9, 99}, nil)
	w := new(Waiter)
	b.add(w)
	b.memory = q.c.memory()
	b.settle(nil)
	if err := q.giveUp(ctx, w); err != nil {
		t.Error(err)
	}
}

// TestGivingUpInTrouble: the error of a call that gives up in the queue says how the
// last request ended, and in a batch how often the request was tried.
func TestGivingUpInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		fillers := fillPuts(c, g)
		c.startPut(context.Background(), "takes the place", "")
		synctest.Wait()
		fillers[1].Answer(peertest.Reply{Err: &transport.Error{Code: transport.Unavailable, Message: "it burns"}})
		g.came()
		ctx, cancel := context.WithCancel(context.Background())
		queued := c.startPut(ctx, "a", "")
		synctest.Wait()
		cancel()
		if r := <-queued; !errors.Is(r.err, context.Canceled) || !errors.Is(r.err, call.ErrUnavailable) || !strings.Contains(r.err.Error(), "it burns") {
			t.Error(r.err)
		}

		ctx, cancel = context.WithCancel(context.Background())
		defer cancel()
		sent := c.startPut(ctx, "b", "")
		c.startPut(context.Background(), "c", "")
		synctest.Wait()
		fillers[0].put()
		g.came()
		if c.patientQueue(Put).trouble != nil {
			t.Error("an answer does not end the trouble")
		}
		cancel()
		var e *call.Error
		if r := <-sent; !errors.As(r.err, &e) || e.Attempts != 1 {
			t.Error(r.err)
		}
	})
}
