package coalesce

import (
	"context"
	"math"

	"silly.store/etcd/internal/call"
)

// Limits returns how large a batch may be.
func (c *Coalescer) Limits(op *Operation) Limits {
	q := c.patientQueue(op)
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limits.batch()
}

func (c *Coalescer) refused(op *Operation, b *batch, err *call.Error) {
	q := c.patientQueue(op)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limits.refused(b, err)
}

// Prepare initializes a waiter that is not from Begin, for Together. The key comes in two
// parts.
func (c *Coalescer) Prepare(w *Waiter, space, key string, msg []byte) {
	w.key, w.Message = c.hash(space, key), msg
}

// Together sends the operations of one caller as one request. If the server refuses
// the request, Together sends each half by itself, and so on until the operation
// that is to blame is alone. Answer then returns the result of each.
func (c *Coalescer) Together(ctx context.Context, op *Operation, all []*Waiter) {
	b := newBatch(op, Limits{Parts: len(all), Bytes: math.MaxInt}, nil)
	b.ctx, b.cancel = ctx, func() {}
	for _, w := range all {
		b.add(w)
	}
	c.announce(b)
	err := new(sender).send(c, b)
	b.settle(err)
	if !all[0].alone {
		return
	}
	c.refused(op, b, err)
	half := len(all) / 2
	c.Together(ctx, op, all[:half])
	c.Together(ctx, op, all[half:])
}

// Answer returns the result of a waiter that Together has sent.
func (w *Waiter) Answer() (Answer, *call.Error) { return w.answer() }
