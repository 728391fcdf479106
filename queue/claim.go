package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/duration"
)

// Claim is an item that a worker has taken, from [Queue.Take] to [Claim.Ack] or
// [Claim.Nack]. It is safe for concurrent use.
type Claim struct {
	// Item is the item as it was added. Its Value belongs to the caller. At is when the
	// item became free.
	Item Item
	// Attempt counts, from 1, how often the item was given to a worker, crashes
	// included.
	Attempt int

	q       *Queue
	s       *concurrency.Session
	it      item
	token   int64
	created int64 // the create revision of the item's value

	life context.Context
	end  context.CancelCauseFunc
	stop func() // following the session

	mu    sync.Mutex // guards the fields below
	phase phase
	loss  error // with phaseLost
}

// phase is where a claim is:
//
//	held -- Ack, Nack --> settling -- answered --> settled
//	 |  <-- refused --------+  |
//	 |                         +-- unknown --> settled, and given back in the background
//	 +-- lost, Close --> lost
type phase uint8

const (
	phaseHeld phase = iota
	phaseSettling
	phaseSettled
	phaseLost
)

var (
	errDeleted = errors.New("its key was deleted")
	errGone    = errors.New("its key is gone")
	// errDone is the cause of the context of a claim that was settled.
	errDone = fmt.Errorf("queue: %w", ErrSettled)
)

// newClaim makes the claim of an attempt that has succeeded; nil when it is lost already.
func newClaim(a *attempt, token int64, value etcd.KeyValue) *Claim {
	cl := &Claim{
		Item: Item{
			ID: a.it.id, Value: value.Value, Priority: a.it.priority, At: time.UnixMicro(a.it.at),
		},
		Attempt: a.it.attempts + 1,
		q:       a.q, s: a.s, it: *a.it, token: token, created: value.CreateRevision,
	}
	cl.it.attempts++
	cl.life, cl.end = context.WithCancelCause(context.Background())
	cl.mu.Lock() // what follows the session may find it ended at once
	defer cl.mu.Unlock()
	life, cancel := a.s.Context(context.Background())
	stop := context.AfterFunc(life, func() { cl.sessionEnded(cl.s.Err()) })
	cl.stop = func() {
		stop()
		cancel()
	}
	if a.s.Err() != nil || !a.q.view.hold(cl) {
		cl.phase = phaseLost
		cl.stop()
		return nil
	}
	return cl
}

// Token is a fencing token: each later claim of the same item has a larger one.
func (cl *Claim) Token() int64 { return cl.token }

// Key is the key of the claim.
func (cl *Claim) Key() string { return cl.q.root + claimed + cl.it.id }

// Guard is the condition, for any Txn, that the claim still lives. Ack includes it.
func (cl *Claim) Guard() etcd.Compare {
	return etcd.CompareCreateRevision(cl.Key(), etcd.Equal, cl.token)
}

// Context ends when the claim is lost or settled. [context.Cause] is then an error in which
// errors.Is finds ErrClaimLost or ErrSettled. It ends concurrency.Config.Grace before the
// lease can expire, also while Ack or Nack waits for etcd; called with this context, they
// wait no longer than that.
func (cl *Claim) Context() context.Context { return cl.life }

// deleted ends a claim that is held and whose key the view has seen deleted.
func (cl *Claim) deleted() {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.phase == phaseHeld {
		cl.loseLocked(errDeleted)
	}
}

// vanish ends a claim that is held and that the view misses.
func (cl *Claim) vanish() {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.phase == phaseHeld {
		cl.vanishLocked()
	}
}

// vanishLocked gives the claim back too: after a loss of history its key may be there,
// unseen, and would keep the item from others.
func (cl *Claim) vanishLocked() {
	cl.loseLocked(errDeleted)
	cl.giveBack(cl.Attempt)
}

// sessionEnded loses a claim that is held, and ends the context of one that is being settled:
// what becomes of that, the answer says.
func (cl *Claim) sessionEnded(cause error) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	switch cl.phase {
	case phaseHeld:
		cl.loseLocked(cause)
	case phaseSettling:
		cl.end(cl.lossFor(cause))
	case phaseSettled, phaseLost:
	}
}

func (cl *Claim) lossFor(cause error) error {
	return cl.q.failed("claim", cl.it.id, fmt.Errorf("%w: %w", ErrClaimLost, cause))
}

func (cl *Claim) loseLocked(cause error) {
	cl.phase = phaseLost
	cl.loss = cl.lossFor(cause)
	cl.overLocked(cl.loss)
	cl.q.counters.lost.Add(1)
}

// overLocked ends everything that goes on while a claim is held.
func (cl *Claim) overLocked(cause error) {
	cl.end(cause)
	cl.stop()
	cl.q.view.letGo(cl)
}

// abandon gives the claim back, because the queue is closed.
func (cl *Claim) abandon() {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.phase == phaseHeld {
		cl.abandonLocked()
	}
}

func (cl *Claim) abandonLocked() {
	cl.loseLocked(ErrClosed)
	cl.giveBack(cl.Attempt)
}

// giveBack frees the item in the background. From that on nothing of this claim can be
// applied.
func (cl *Claim) giveBack(attempts int) {
	cl.q.background(cl.s, func(ctx context.Context) error {
		return cl.q.giveBack(ctx, &cl.it, cl.token, attempts)
	}, nil)
}

// begin is nil when the claim can be settled by the caller, who then calls finish.
func (cl *Claim) begin(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	switch cl.phase {
	case phaseHeld:
		cl.phase = phaseSettling
		return nil
	case phaseLost:
		return cl.loss
	case phaseSettling, phaseSettled:
	}
	return cl.q.failed("claim", cl.it.id, ErrSettled)
}

// finish takes the outcome of what settles the claim, and returns the method's error.
func (cl *Claim) finish(method string, done bool, err error) error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	switch {
	case err != nil && etcd.MaybeApplied(err):
		cl.phase = phaseSettled
		cl.overLocked(errDone)
		cl.giveBack(cl.Attempt)
		err = call.Unsettled(err, ErrClaimLost, ErrSettled)
	case err != nil:
		cl.phase = phaseHeld
		cl.catchUpLocked()
	case !done:
		cl.loseLocked(errGone)
		return cl.loss
	default:
		cl.phase = phaseSettled
		cl.overLocked(errDone)
		return nil
	}
	return cl.q.failed(method, cl.it.id, err)
}

// catchUpLocked takes what a claim was not told while it was being settled, if it is held
// again.
func (cl *Claim) catchUpLocked() {
	lost := cl.s.Err()
	switch {
	case lost != nil:
		cl.loseLocked(lost)
	case cl.q.view.misses(cl):
		cl.vanishLocked()
	case cl.q.view.isClosed():
		cl.abandonLocked()
	}
}

// guards are the conditions of all that settles the claim: it lives, and the item is the one
// that was claimed.
func (cl *Claim) guards() []etcd.Compare {
	return []etcd.Compare{
		cl.Guard(),
		etcd.CompareCreateRevision(cl.q.root+values+cl.it.id, etcd.Equal, cl.created),
	}
}

// Ack removes the item and applies the operations in one transaction, exactly once: the
// operations are applied if and only if this claim has acknowledged the item, and no other
// claim of it ever has. Operations may be nested transactions. etcd's limit of 128 operations
// (--max-txn-ops) leaves room for 123. They must not put or delete keys of the queue.
//
// Errors: ErrClaimLost, ErrSettled, etcd.ErrTooManyOps, etcd.ErrInvalidRequest for an operation
// on a key of the queue, and those of [etcd.Client.Txn]. Nothing was applied with
// the first two, and with others that are not [etcd.MaybeApplied]: the claim goes on then,
// and Ack or Nack may be called again. Where the error is MaybeApplied, the claim is over:
// the item is either acknowledged, operations included, or free again, and errors.Is finds
// neither of the first two.
//
// etcd: KV/Txn (since 3.3)
func (cl *Claim) Ack(ctx context.Context, ops ...etcd.Op) error {
	if err := cl.q.foreign(ops); err != nil {
		return err
	}
	if err := cl.begin(ctx); err != nil {
		return err
	}
	if !cl.q.enter() {
		return cl.finish("Ack", false, ErrClosed)
	}
	defer cl.q.leave()
	then := append([]etcd.Op{
		etcd.DeleteRequest{Key: cl.Key()},
		etcd.DeleteRequest{Key: cl.it.key},
		etcd.DeleteRequest{Key: cl.q.root + values + cl.it.id},
	}, ops...)
	done, err := cl.q.write(ctx, etcd.TxnRequest{If: cl.guards(), Then: then})
	if errors.Is(err, etcd.ErrTooManyOps) {
		err = fmt.Errorf("%d operations: etcd's limit (--max-txn-ops, 128 by default) leaves 123 to the caller of Ack: %w",
			len(ops), err)
	}
	if err == nil && done {
		cl.q.counters.acked.Add(1)
	}
	return cl.finish("Ack", done, err)
}

// Nack gives the item back: it is free after the delay, or, without a delay, at once and
// in its old place. After Config.MaxAttempts attempts it goes to the dead letters.
//
// Nack repeats a request of unknown outcome until ctx ends. Errors: those of Ack.
//
// etcd: KV/Txn (since 3.0)
func (cl *Claim) Nack(ctx context.Context, delay time.Duration) error {
	if delay < 0 {
		return invalid("the delay is %v; it must not be negative", delay)
	}
	if delay < time.Microsecond { // the unit of a queue's clock: below it only a forgotten unit is meant
		if err := duration.Check("the delay", delay); err != nil {
			return invalid("%v", err)
		}
	}
	if err := cl.begin(ctx); err != nil {
		return err
	}
	if !cl.q.enter() {
		return cl.finish("Nack", false, ErrClosed)
	}
	defer cl.q.leave()
	req := etcd.TxnRequest{If: cl.guards(), Then: cl.back(delay)}
	var unknown error // of the last copy of unknown outcome
	for failures := 0; ; failures++ {
		resp, err := cl.q.client.Txn(call.WithSafeCopies(ctx, failures), req)
		if err == nil {
			done := resp.Succeeded || unknown != nil // an earlier copy, or it was lost: it is free either way
			if done {
				cl.q.counters.nacked.Add(1)
			}
			return cl.finish("Nack", done, nil)
		}
		if etcd.MaybeApplied(err) {
			unknown = err
		}
		if !retriable(err) || !pause(ctx, failures) {
			return cl.finish("Nack", false, call.Join(unknown, err))
		}
	}
}

// back is what puts the item where it is to be after a Nack.
func (cl *Claim) back(delay time.Duration) []etcd.Op {
	ops := []etcd.Op{etcd.DeleteRequest{Key: cl.Key()}}
	if limit := cl.q.config.MaxAttempts; limit > 0 && cl.Attempt >= limit {
		return append(ops, cl.q.burial(&cl.it)...)
	}
	if delay == 0 {
		return append(ops, etcd.PutRequest{Key: cl.it.key, Value: state(cl.Attempt)})
	}
	p := cl.it.place
	p.delayed, p.at = true, now()+delay.Microseconds()
	key := p.key(cl.q.root)
	if key == cl.it.key {
		return append(ops, etcd.PutRequest{Key: key, Value: state(cl.Attempt)})
	}
	return append(ops, etcd.DeleteRequest{Key: cl.it.key}, etcd.PutRequest{Key: key, Value: state(cl.Attempt)})
}
