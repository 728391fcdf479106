package coalesce

import (
	"bytes"
	"context"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/yield"
)

// batch is a group of calls that share one request.
type batch struct {
	op      *Operation
	waiters []*Waiter
	parts   []part
	index   map[uint64]int // the parts of reads by the hash of their keys
	size    int            // bytes of the parts' requests
	claims  claims         // of transactions
	inside  int            // operations in the largest of the transactions
	limits  Limits
	old     bool // a part reads a given revision
	left    int  // number of waiters that gave up; guarded by queue.mu
	era     int  // stalls.era when it was sent

	memory *memory // of the answer

	ctx      context.Context // lasts as long as the most patient call
	cancel   context.CancelFunc
	progress call.Progress
}

// part is one operation of the request; identical reads share one.
type part struct {
	first   int // index of the waiter whose request it is
	waiters int
	answer  []byte
}

// newBatch reuses the memory of former, whose calls have been notified; former may be
// nil. A call that gives up late may still use former, but not the reused memory.
func newBatch(op *Operation, limits Limits, former *batch) *batch {
	b := &batch{op: op, limits: limits}
	if former != nil {
		clear(former.parts) // the answers
		clear(former.index)
		clear(former.claims)
		b.waiters, b.parts, b.index, b.claims = former.waiters[:0], former.parts[:0], former.index, former.claims
		former.parts, former.index, former.claims = nil, nil, nil
	}
	return b
}

// add takes w into the batch, unless the batch is full.
func (b *batch) add(w *Waiter) bool {
	if len(b.parts) > 0 && (w.solo || b.waiters[0].solo) {
		return false
	}
	if i, ok := b.same(w); ok {
		w.index = i
		b.parts[i].waiters++
	} else {
		if len(b.parts) > 0 && (b.opsWith(w) > b.limits.Parts || b.size+len(w.Message) > b.limits.Bytes) {
			return false
		}
		w.index = len(b.parts)
		b.parts = append(b.parts, part{first: len(b.waiters), waiters: 1})
		b.size += len(w.Message)
	}
	if b.op.txns {
		b.claim(w)
		b.inside = max(b.inside, w.ops)
	}
	b.old = b.old || w.old
	w.batch = b
	b.waiters = append(b.waiters, w)
	return true
}

// opsWith is the number of operations, as etcd counts them, of the batch with w: those of the
// largest transaction inside count on top of the parts.
func (b *batch) opsWith(w *Waiter) int { return len(b.parts) + 1 + max(b.inside, w.ops) }

// refill reduces the batch to these writes, which are a part of it.
func (b *batch) refill(writes []*Waiter) {
	b.waiters, b.parts, b.size, b.inside, b.left = b.waiters[:0], b.parts[:0], 0, 0, 0
	for _, w := range writes {
		b.add(w)
	}
}

// same finds the part whose request is identical to w's. Writes never share a part.
func (b *batch) same(w *Waiter) (int, bool) {
	if b.op.writes || b.op.txns {
		return 0, false
	}
	i, ok := b.index[w.key]
	if ok {
		return i, bytes.Equal(b.waiters[b.parts[i].first].Message, w.Message)
	}
	if b.index == nil {
		b.index = make(map[uint64]int)
	}
	b.index[w.key] = len(b.parts)
	return 0, false
}

// begin sets the batch's context, which lasts until the latest deadline. Either all or
// none of its calls have a deadline.
func (b *batch) begin() {
	var last time.Time
	for _, w := range b.waiters {
		if w.deadline.After(last) {
			last = w.deadline
		}
	}
	if last.IsZero() {
		b.ctx, b.cancel = context.WithCancel(context.Background())
	} else {
		b.ctx, b.cancel = context.WithDeadline(context.Background(), last)
	}
}

// announce counts a batch that is about to be sent, if calls share it. A batch that is
// grouped again counts once.
func (c *Coalescer) announce(b *batch) {
	if len(b.waiters) > 1 {
		c.config.Batched(len(b.waiters))
	}
}

// contexts returns those of its calls, or nil for the operations of one caller.
func (b *batch) contexts() []context.Context {
	if b.waiters[0].ctx == nil {
		return nil
	}
	all := make([]context.Context, len(b.waiters))
	for i, w := range b.waiters {
		all[i] = w.ctx
	}
	return all
}

// method returns the method of the batch's request.
func (b *batch) method() *rpc.Method {
	if len(b.parts) == 1 {
		return b.op.Single
	}
	return b.op.shared
}

// split finds the parts' answers in the reply.
func (b *batch) split(m *rpc.Method, reply []byte) *call.Error {
	if len(b.parts) == 1 {
		b.parts[0].answer = reply
		b.answered(call.Header{}, reply)
		return nil
	}
	if err := splitTxn(reply, b.op.field, b.parts); err != nil {
		return call.Undecodable(m, err)
	}
	b.answered(call.PeekHeader(reply), reply)
	return nil
}

func (b *batch) answered(h call.Header, reply []byte) {
	kept := false
	for _, w := range b.waiters {
		p := &b.parts[w.index]
		w.reply, w.header = p.answer, h
		w.mine = p.waiters == 1 && 2*len(p.answer) >= cap(reply)
		kept = kept || w.mine
	}
	if !kept {
		b.memory.bytes = reply
	}
}

// settle sets the verdict of each of the batch's calls.
func (b *batch) settle(err *call.Error) {
	alone := err != nil && len(b.parts) > 1 && err.RefusesShared()
	for _, w := range b.waiters {
		w.err, w.alone, w.settled = err, alone, true
	}
	b.memory.unread.Store(int32(len(b.waiters) - b.left))
}

// notify lets the calls return, and has those run that wait for it: they may call again, and
// then share a batch. Afterwards only the calls may use their waiters.
func (b *batch) notify(turn yield.Turn) {
	last := len(b.waiters) - 1
	for _, w := range b.waiters[:last] {
		w.done <- struct{}{}
	}
	turn.Behind(func() { b.waiters[last].done <- struct{}{} })
}
