package coalesce

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

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
	// Txns selects transactions whose footprints are known.
	Txns bool
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
	// txns: two calls share a request when their footprints allow it.
	txns bool
	// old: the servers may no longer have what is read.
	old    bool
	queues int // which queues of a Coalescer are the operation's
}

// The operations that can share requests.
var (
	Get      = &Operation{Single: rpc.Get, shared: rpc.GetShared, field: 1, queues: 0}
	GetLocal = &Operation{Single: rpc.GetLocal, shared: rpc.GetSharedLocal, field: 1, queues: 1}
	Put      = &Operation{Single: rpc.Put, shared: rpc.PutShared, field: 2, writes: true, queues: 2}
	Delete   = &Operation{Single: rpc.Delete, shared: rpc.DeleteShared, field: 3, writes: true, queues: 3}
	// GetAt is a Get of some revision. It shares requests with Get.
	GetAt = &Operation{Single: rpc.Get, shared: rpc.GetShared, field: 1, old: true, queues: Get.queues}
	Txn   = &Operation{Single: rpc.Txn, shared: rpc.TxnShared, field: 4, txns: true, queues: 4}
)

// Coalescer holds the queues in which calls wait for one another. Calls with a
// deadline and calls without one use separate queues, because Config.Timeout bounds
// the attempts of the latter only. A queue is made for its first call. All methods may be
// called concurrently.
type Coalescer struct {
	config   Config
	seed     maphash.Seed
	waiters  sync.Pool // of *Waiter; one pool per Coalescer, see doc.go
	memories sync.Pool // of *memory
	routines sync.WaitGroup

	// Without and with a deadline, by Operation.queues. They are read without a lock and
	// written with mu held.
	patient, timely [operations]atomic.Pointer[queue]

	mu     sync.Mutex // guards closed
	closed bool
}

// operations is how many there are.
const operations = 5

// New makes a Coalescer, which has no goroutine until calls wait.
func New(config Config) *Coalescer {
	if config.Batched == nil {
		config.Batched = func(int) {}
	}
	return &Coalescer{config: config, seed: maphash.MakeSeed()}
}

// queue returns the queue at p, of an operation.
func (c *Coalescer) queue(p *atomic.Pointer[queue], op *Operation) *queue {
	if q := p.Load(); q != nil {
		return q
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q := p.Load()
	if q == nil {
		q = &queue{}
		q.init(c, op)
		q.closed = c.closed
		p.Store(q)
	}
	return q
}

// patientQueue returns the queue of calls without a deadline.
func (c *Coalescer) patientQueue(op *Operation) *queue { return c.queue(&c.patient[op.queues], op) }

// timelyQueue returns the queue of calls with a deadline.
func (c *Coalescer) timelyQueue(op *Operation) *queue { return c.queue(&c.timely[op.queues], op) }

// all returns the queues that there are.
func (c *Coalescer) all() (all []*queue) {
	for i := range operations {
		for _, p := range [...]*atomic.Pointer[queue]{&c.patient[i], &c.timely[i]} {
			if q := p.Load(); q != nil {
				all = append(all, q)
			}
		}
	}
	return all
}

// Close fails the calls that wait in queues. Later calls are sent alone.
func (c *Coalescer) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
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

// Shares reports whether calls of the operation share requests.
func (c *Coalescer) Shares(op *Operation) bool {
	switch {
	case op.txns:
		return c.config.Txns
	case op.writes:
		return c.config.Writes
	}
	return c.config.Reads
}

// MayOverflow reports whether writes that return previous values may get a shared
// answer that is too large. That would show only after they were applied.
func (c *Coalescer) MayOverflow(prevKV bool) bool { return prevKV && c.config.MaxAnswer > 0 }

// Do sends the call w, alone or together with others, and takes w back.
func (c *Coalescer) Do(ctx context.Context, op *Operation, w *Waiter) (Answer, *call.Error) {
	w.old = op.old
	if w.deadline.IsZero() {
		return c.patientQueue(op).call(ctx, w)
	}
	return c.timelyQueue(op).call(ctx, w)
}
