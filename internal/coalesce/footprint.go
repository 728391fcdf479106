package coalesce

import (
	"context"
)

// Footprint is all keys of a transaction. Transactions share a request, a transaction with one
// inside it for each, when none writes a key of another. etcd evaluates the compares of all
// before it applies the first, so the outcome of each is what it would be alone.
type Footprint struct {
	Reads  []string // compared, or read in a branch
	Writes []string // put or deleted in a branch
}

type footprintKey struct{}

// WithFootprint returns a context for one Txn that touches these keys and no others, and so
// may share a request.
func WithFootprint(ctx context.Context, f *Footprint) context.Context {
	return context.WithValue(ctx, footprintKey{}, f)
}

// FootprintOf returns the footprint of the Txn that is called with ctx; nil: it shares no
// request.
func FootprintOf(ctx context.Context) *Footprint {
	f, _ := ctx.Value(footprintKey{}).(*Footprint)
	return f
}

// touches is a footprint as hashes. Keys of one hash count as one key.
type touches struct{ reads, writes []uint64 }

// BeginTxn returns a waiter for a transaction, as Begin does for a call of one key. ops is the
// number of operations that etcd counts in it.
func (c *Coalescer) BeginTxn(ctx context.Context, space string, f *Footprint, ops int) *Waiter {
	w := c.begin(ctx)
	w.ops = ops
	for _, key := range f.Reads {
		w.touches.reads = append(w.touches.reads, c.hash(space, key))
	}
	for _, key := range f.Writes {
		w.touches.writes = append(w.touches.writes, c.hash(space, key))
	}
	if len(w.touches.writes) > 0 {
		w.key = w.touches.writes[0]
	}
	return w
}

// claims are the keys that the transactions of a batch touch; true: one of them writes it.
type claims map[uint64]bool

// clash reports whether the transaction and one of the batch depend on each other.
func (all claims) clash(t *touches) bool {
	for _, key := range t.reads {
		if all[key] {
			return true
		}
	}
	for _, key := range t.writes {
		if _, touched := all[key]; touched {
			return true
		}
	}
	return false
}

// claim records the keys of a transaction of the batch.
func (b *batch) claim(w *Waiter) {
	if b.claims == nil {
		b.claims = make(claims)
	}
	for _, key := range w.touches.reads {
		if _, touched := b.claims[key]; !touched {
			b.claims[key] = false
		}
	}
	for _, key := range w.touches.writes {
		b.claims[key] = true
	}
}
