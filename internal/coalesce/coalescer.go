package coalesce

import (
	"context"
	"hash/maphash"
	"sync"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
)

// Config configures a Coalescer.
type Config struct {
	// Send makes a request and returns the answer, which then belongs to the
	// Coalescer. It must not use the message after it returns.
	Send func(ctx context.Context, r call.Request) ([]byte, *call.Error)
	// Batched, when not nil, is called before a shared request is sent, with the
	// number of its calls and with no lock held.
	Batched func(calls int)
	// Reads and Writes select which calls share requests.
	Reads, Writes bool
	// Contexts: shared requests carry the contexts of their calls.
	Contexts bool
	// MaxAnswer is Config.MaxResponseBytes; 0 means no limit.
	MaxAnswer int
}

// Operation is a kind of call that may share a request with others of its kind.
type Operation struct {
	Single *rpc.Method // how a single call is sent
	shared *rpc.Method // how several calls are sent
	field  int         // number of the operation in RequestOp and of its answer in ResponseOp
	// writes: two calls for one key do not share a request, and keep their order.
	writes bool
}

// The operations that can share requests.
var (
	Get      = &Operation{Single: rpc.Get, shared: rpc.GetShared, field: 1}
	GetLocal = &Operation{Single: rpc.GetLocal, shared: rpc.GetSharedLocal, field: 1}
	Put      = &Operation{Single: rpc.Put, shared: rpc.PutShared, field: 2, writes: true}
	Delete   = &Operation{Single: rpc.Delete, shared: rpc.DeleteShared, field: 3, writes: true}
)

// Coalescer holds the queues in which calls wait for one another. Calls with a
// deadline and calls without one use separate queues, because Config.Timeout bounds
// the attempts of the latter only. All methods may be called concurrently.
type Coalescer struct {
	config   Config
	seed     maphash.Seed
	waiters  sync.Pool // of *Waiter; one pool per Coalescer, see doc.go
	routines sync.WaitGroup

	gets, localGets, puts, deletes queues
}

// queues holds the queues of one operation.
type queues struct {
	shares          bool
	patient, timely queue // without and with a deadline
}

// New makes a Coalescer, which has no goroutine until calls wait.
func New(config Config) *Coalescer {
	if config.Batched == nil {
		config.Batched = func(int) {}
	}
	c := &Coalescer{config: config, seed: maphash.MakeSeed()}
	c.gets.init(c, Get, config.Reads)
	c.localGets.init(c, GetLocal, config.Reads)
	c.puts.init(c, Put, config.Writes)
	c.deletes.init(c, Delete, config.Writes)
	return c
}

func (qs *queues) init(c *Coalescer, op *Operation, shares bool) {
	qs.shares = shares
	qs.patient.init(c, op)
	qs.timely.init(c, op)
}

func (c *Coalescer) all() [8]*queue {
	return [...]*queue{
		&c.gets.patient, &c.gets.timely, &c.localGets.patient, &c.localGets.timely,
		&c.puts.patient, &c.puts.timely, &c.deletes.patient, &c.deletes.timely,
	}
}

// Close fails the calls that wait in queues. Later calls are sent alone.
func (c *Coalescer) Close() {
	for _, q := range c.all() {
		q.close()
	}
}

// Wait waits for the requests in flight, which end when the connections do.
func (c *Coalescer) Wait() { c.routines.Wait() }

// Waiting returns how many calls wait in queues.
func (c *Coalescer) Waiting() (n int) {
	for _, q := range c.all() {
		n += q.count()
	}
	return n
}

func (c *Coalescer) queues(op *Operation) *queues {
	switch op {
	case Get:
		return &c.gets
	case GetLocal:
		return &c.localGets
	case Put:
		return &c.puts
	}
	return &c.deletes
}

// Shares reports whether calls of the operation share requests.
func (c *Coalescer) Shares(op *Operation) bool { return c.queues(op).shares }

// MayOverflow reports whether writes that return previous values may get a shared
// answer that is too large. That would show only after they were applied.
func (c *Coalescer) MayOverflow(prevKV bool) bool { return prevKV && c.config.MaxAnswer > 0 }

// Do sends the call w, alone or together with others, and takes w back.
func (c *Coalescer) Do(ctx context.Context, op *Operation, w *Waiter) (Answer, *call.Error) {
	qs := c.queues(op)
	q := &qs.patient
	if !w.deadline.IsZero() {
		q = &qs.timely
	}
	return q.call(ctx, w)
}
