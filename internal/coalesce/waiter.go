package coalesce

import (
	"bytes"
	"context"
	"hash/maphash"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/transport"
)

// Waiter is a call that may share a request. It returns to the pool only when
// nothing else refers to it: it was never in the queue, or its batch was answered.
type Waiter struct {
	// Message is the request in the form in which it is sent alone.
	Message []byte

	ctx      context.Context // of the call, with Config.Contexts
	key      uint64          // the hash of its key
	old      bool            // it reads a given revision
	touches  touches         // of a transaction
	ops      int             // of a transaction, as etcd counts them
	deadline time.Time

	// solo: it must not share. batch is the batch that took it out of the queue,
	// and index its operation there. left: its call gave up. settled: there is a
	// verdict, and done is about to be signalled. Guarded by queue.mu.
	solo, left, settled bool
	batch               *batch
	index               int
	// era is stalls.era at the time when it was sent alone.
	era int

	// done is signalled once there is a verdict.
	done chan struct{}
	verdict
}

// verdict is a batch's result for one of its calls.
type verdict struct {
	reply  []byte      // a part of the batch's answer
	mine   bool        // no other reply shares its memory
	header call.Header // of the batch; zero when the reply has its own
	err    *call.Error
	alone  bool // the batch was refused, so the call must be sent alone
}

// Answer is the answer to a call.
type Answer struct {
	// Reply belongs to the caller.
	Reply []byte
	// Header is the header of the whole answer if Reply is a part of it, and zero
	// if Reply has its own.
	Header call.Header
}

// wait reports whether there is an answer. If not, ctx has ended, and giveUp finds
// out whether an answer has arrived at the same moment.
func (w *Waiter) wait(ctx context.Context) bool {
	if ctx.Done() == nil {
		<-w.done
		return true
	}
	select {
	case <-w.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// answer converts the verdict to the caller's result.
func (w *Waiter) answer() (Answer, *call.Error) {
	if w.err != nil {
		err := *w.err
		return Answer{}, &err
	}
	reply := w.reply
	if !w.mine {
		reply = bytes.Clone(reply)
		w.reply, w.mine = reply, true // a second call must not count as another reader
		w.batch.memory.copied()
	}
	return Answer{reply, w.header}, nil
}

// Begin returns a waiter for a call for the given key, which comes in two parts. The
// caller fills its Message and passes it to Do.
func (c *Coalescer) Begin(ctx context.Context, space, key string) *Waiter {
	w := c.begin(ctx)
	w.key = c.hash(space, key)
	return w
}

func (c *Coalescer) begin(ctx context.Context) *Waiter {
	w, _ := c.waiters.Get().(*Waiter)
	if w == nil {
		w = &Waiter{done: make(chan struct{}, 1)}
	}
	if c.config.Contexts {
		w.ctx = ctx
	}
	w.deadline = transport.Deadline(ctx)
	return w
}

// hash is the hash of a key, however it is parted.
func (c *Coalescer) hash(space, key string) uint64 {
	if space == "" {
		return maphash.String(c.seed, key)
	}
	var h maphash.Hash
	h.SetSeed(c.seed)
	_, _ = h.WriteString(space)
	_, _ = h.WriteString(key)
	return h.Sum64()
}

// maxPooledMessage keeps large messages out of the pool.
const maxPooledMessage = 4 << 10

func (c *Coalescer) release(w *Waiter) {
	msg := w.Message[:0]
	if cap(msg) > maxPooledMessage {
		msg = nil
	}
	t := touches{w.touches.reads[:0], w.touches.writes[:0]}
	*w = Waiter{Message: msg, touches: t, done: w.done}
	c.waiters.Put(w)
}
