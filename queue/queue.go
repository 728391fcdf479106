package queue

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/idempotent"
)

// Config names the queue and says how its items are taken. Name is required. All users of
// a queue should use the same MaxAttempts.
type Config struct {
	// Name is the prefix of the queue's keys, followed by "/". No other queue, lock or
	// group may have a name that begins with it and a "/".
	Name string
	// MaxAttempts is how often an item is given to workers that do not acknowledge it,
	// before it goes to the dead letters. 0 means no limit.
	MaxAttempts int
	// Order says which of the free items Take chooses.
	Order Order
	// Writer makes the writes of Add and Ack. It may be shared with other queues. Its client
	// must be the Coordinator's. Nil: the Queue makes a Writer, with keys below <Name>/l.
	Writer *idempotent.Writer
}

// Order says which of the free items Take chooses.
type Order uint8

const (
	// Strict: the first one, by priority, then by the time at which it was added or due.
	// Workers in different processes then try for the same item, and the slower ones try
	// again.
	Strict Order = iota
	// Relaxed: one near the front, at random, so that processes seldom try for the same
	// item. The first item is still taken soon.
	Relaxed
)

// String returns the constant's name in lower case, or "Order(9)" for a value that is none of them.
func (o Order) String() string {
	if o > Relaxed {
		return fmt.Sprintf("Order(%d)", uint8(o))
	}
	return [...]string{"strict", "relaxed"}[o]
}

// Item is a piece of work.
type Item struct {
	// ID identifies the item: while an item with this ID is in the queue or among its
	// dead letters, no other is added. Empty means a random ID.
	ID string
	// Value is the work. Workers in all processes see it; etcd limits its size
	// (etcd.ErrRequestTooLarge).
	Value []byte
	// Priority is from -32768 to 32767; higher ones are taken first.
	Priority int
	// At is when the item becomes free, by the clocks of the workers, up to the year 4253. The
	// zero value and past times mean now.
	At time.Time
}

// Queue is one end of a queue: producers add, workers take. A process needs one Queue per
// name, however many workers it has. It is safe for concurrent use.
type Queue struct {
	co     *concurrency.Coordinator
	client *etcd.Client
	config Config
	root   string
	view   view
	making chan struct{} // capacity 1: a value in it is the right to make the Writer

	counters counters

	// life ends with Close; goroutines of the queue live no longer.
	life     context.Context
	end      context.CancelCauseFunc
	routines sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	last   int64      // the time that the last item was given, so that the next one is later
	closed bool
	busy   int           // requests that claim or give back, for which Close waits
	idle   chan struct{} // closed when there is none any more; nil: nobody waits
	ended  bool          // Close waits no longer
	own    *idempotent.Writer
}

// New makes a Queue. It does no I/O. Close it when it is no longer needed, before the
// Coordinator.
//
// Errors: etcd.ErrInvalidConfig.
func New(co *concurrency.Coordinator, config Config) (*Queue, error) {
	bad := func(format string, args ...any) (*Queue, error) {
		return nil, fmt.Errorf("queue: "+format+": %w", append(args, etcd.ErrInvalidConfig)...)
	}
	switch {
	case co == nil:
		return bad("the coordinator is nil")
	case config.Name == "":
		return bad("Config.Name is empty; it is the prefix of the queue's keys")
	case strings.HasSuffix(config.Name, "/"):
		return bad("Config.Name is %q; leave out the last \"/\"", config.Name)
	case config.MaxAttempts < 0:
		return bad("Config.MaxAttempts is %d; use 0 for no limit", config.MaxAttempts)
	case config.Order > Relaxed:
		return bad("Config.Order is %v; use Strict or Relaxed", config.Order)
	case config.Writer != nil && config.Writer.Client() != co.Client():
		return bad("Config.Writer's client is not the Coordinator's; leave it nil, or make one with the same client")
	}
	q := &Queue{co: co, client: co.Client(), config: config, root: config.Name + "/", making: make(chan struct{}, 1)}
	q.life, q.end = context.WithCancelCause(context.Background())
	q.view.q, q.view.held, q.view.wanted = q, make(map[string]*Claim), make(chan struct{}, 1)
	return q, nil
}

// Add puts an item into the queue exactly once, however often it has to repeat the request,
// and however late a copy arrives. If an item with this ID and value is in the queue
// already, Add leaves it as it is and returns nil: a producer that does not know whether it
// has added an item simply adds it again. Once an item is acknowledged, its ID may be used
// again.
//
// Errors: ErrExists, ErrDead, ErrClosed, etcd.ErrInvalidRequest, and those of
// [etcd.Client.Txn]. The item may have been added if [etcd.MaybeApplied] says so.
//
// etcd: KV/Txn (since 3.3)
func (q *Queue) Add(ctx context.Context, it Item) error {
	if err := q.usable(ctx); err != nil {
		return err
	}
	if it.Priority < minPriority || it.Priority > maxPriority {
		return invalid("Item.Priority is %d; it must be from %d to %d", it.Priority, minPriority, maxPriority)
	}
	if it.At.After(latest) {
		return invalid("Item.At is %v; the latest is %v", it.At, latest)
	}
	if it.ID == "" {
		it.ID = rand.Text()
	}
	if !q.enter() {
		return q.failed("Add", it.ID, ErrClosed)
	}
	defer q.leave()
	p := q.placeFor(it)
	value := q.root + values + it.ID
	done, err := q.write(ctx, etcd.TxnRequest{
		If: []etcd.Compare{etcd.Missing(value)},
		Then: []etcd.Op{
			etcd.PutRequest{Key: value, Value: it.Value},
			etcd.PutRequest{Key: p.key(q.root), Value: state(0)},
		},
	})
	switch {
	case err != nil:
		return q.failed("Add", it.ID, err)
	case done:
		q.counters.added.Add(1)
		return nil
	}
	if err := q.compare(ctx, it); err != nil {
		return q.failed("Add", it.ID, err)
	}
	return nil
}

// usable is nil if the queue can be used with the context.
func (q *Queue) usable(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return fmt.Errorf("queue %q: %w", q.config.Name, ErrClosed)
	}
	return nil
}

// placeFor is where a new item goes. Items that this Queue adds one after the other have
// different times, so that they keep their order.
func (q *Queue) placeFor(it Item) place {
	p := place{id: it.ID, priority: it.Priority}
	now := now()
	if at := it.At.UnixMicro(); !it.At.IsZero() && at > now {
		p.at, p.delayed = at, true
		return p
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = max(q.last+1, now)
	p.at = q.last
	return p
}

// compare is nil if the item that has the ID is the same, and alive, or has just gone.
func (q *Queue) compare(ctx context.Context, it Item) error {
	resp, err := q.client.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{
		etcd.GetRequest{Key: q.root + values + it.ID}, etcd.GetRequest{Key: q.root + dead + it.ID},
	}})
	if err != nil {
		return err
	}
	if _, isDead := resp.Responses[1].Get.First(); isDead {
		return ErrDead
	}
	if kv, there := resp.Responses[0].Get.First(); there && string(kv.Value) != string(it.Value) {
		return ErrExists
	}
	return nil
}

// All takes one item after the other, until ctx ends or Take fails; the error is yielded
// last. Settle each claim with [Claim.Ack] or [Claim.Nack].
func (q *Queue) All(ctx context.Context) iter.Seq2[*Claim, error] {
	return func(yield func(*Claim, error) bool) {
		for {
			cl, err := q.Take(ctx)
			if !yield(cl, err) || err != nil {
				return
			}
		}
	}
}

// Close gives claimed items back, so that other workers can take them at once, and ends
// waiting calls with ErrClosed. The contexts of its claims end. It waits for etcd's answers
// until ctx ends; items that are not given back by then are free when the Coordinator is
// closed or its lease has ended. Further calls do nothing.
//
// etcd: KV/Txn (since 3.0)
func (q *Queue) Close(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	q.mu.Lock()
	closed := q.closed
	q.closed = true
	q.mu.Unlock()
	if closed {
		return nil
	}
	q.view.close()
	for _, cl := range q.view.all() {
		cl.abandon()
	}
	err := q.awaitIdle(ctx)
	q.end(ErrClosed)
	q.routines.Wait()
	if failed := q.closeWriter(ctx); failed != nil && err == nil {
		err = q.failed("Close", "", failed)
	}
	return err
}

// enter notes that there is something for Close to wait for; false when Close no longer
// does.
func (q *Queue) enter() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return false
	}
	q.busy++
	return true
}

func (q *Queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy--; q.busy == 0 && q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}

// awaitIdle waits until nothing is claimed or given back any more, or ctx ends. From then on
// nothing is.
func (q *Queue) awaitIdle(ctx context.Context) error {
	for {
		idle := q.endIdle()
		if idle == nil {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			q.mu.Lock()
			defer q.mu.Unlock()
			q.ended = true
			return q.failed("Close", "", context.Cause(ctx))
		}
	}
}

// endIdle ends an idle queue. It returns nil, or else what is closed when this may be tried
// again.
func (q *Queue) endIdle() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy == 0 {
		q.ended = true
		return nil
	}
	q.idle = make(chan struct{})
	return q.idle
}

// background repeats do until it succeeds, the session ends, and the keys on its lease with
// it, or the queue's life does. In vain, it calls failed, which may be nil, at the end.
func (q *Queue) background(s *concurrency.Session, do func(context.Context) error, failed func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return // the session's end frees the item
	}
	q.busy++
	q.routines.Go((&chore{q, s, do, failed}).run)
}

// chore is what a queue does in the background.
type chore struct {
	q      *Queue
	s      *concurrency.Session
	do     func(context.Context) error
	failed func() // may be nil
}

func (c *chore) run() {
	defer c.q.leave()
	ctx, cancel := c.s.Context(c.q.life)
	defer cancel()
	for failures := 0; c.do(ctx) != nil; failures++ {
		if pause(ctx, failures) {
			continue
		}
		if c.failed != nil {
			c.failed()
		}
		return
	}
}
