package concurrency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"silly.store/etcd"
)

// Lock is one holding of a [Mutex], an [RWMutex] or a [Semaphore], from the call that
// acquired it to Unlock. It is safe for concurrent use.
type Lock struct {
	p        *place
	requeued int
	epoch    int

	life context.Context
	end  context.CancelCauseFunc

	mu      sync.Mutex // guards the fields below
	phase   holding
	loss    error    // why it was lost, and that it was, also after Unlock
	release *release // set with phaseReleasing
	watch   *time.Timer
	work    context.CancelCauseFunc // ends the context of the function that the lock protects
	// fenced: the token was handed out, or a transaction has an unknown outcome. txns are
	// under way. lingers: the key has gone over to the next holding.
	fenced, lingers bool
	txns            int
}

// holding is where a lock is:
//
//	held -- Unlock --> releasing --> released (at once if the key lingers)
//	  |                                 ^
//	  +---> lost ------- Unlock --------+
type holding uint8

const (
	holdingHeld holding = iota
	// holdingLost: its key is gone, or goes with the lease.
	holdingLost
	// holdingReleasing: release deletes the key.
	holdingReleasing
	holdingReleased
)

// newLock makes the lock of a place that holds; nil when it no longer does.
func newLock(p *place) *Lock {
	if !p.s.alive() {
		return nil
	}
	p.list = nil
	l := &Lock{p: p}
	l.life, l.end = context.WithCancelCause(context.Background())
	l.watch = time.AfterFunc(heldUnwatched, p.m.guard)
	p.q.co.counters.held.Add(1)
	if !p.s.hold(l) || !p.m.hold(p.created, p.seen, l) {
		l.discard()
		return nil
	}
	return l
}

// discard ends what nobody has got, unless the session has done so.
func (l *Lock) discard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == holdingHeld {
		l.phase = holdingReleased
		l.leaveLocked(errRequeue)
	}
}

// Context ends when the lock is lost or unlocked. [context.Cause] is then an error in which
// errors.Is finds ErrLockLost or ErrNotHeld. It ends Config.Grace before the lease can
// expire. When the key is deleted or its lease revoked, the context ends as soon as etcd
// reports that, if the lock has been held for half a second; before that, with the next
// renewal of the lease.
func (l *Lock) Context() context.Context {
	if l.p == nil {
		return ended
	}
	return l.life
}

// ended is the context of a lock that was never acquired.
var ended = func() context.Context {
	ctx, end := context.WithCancelCause(context.Background())
	end(ErrNotHeld)
	return ctx
}()

// Token is a fencing token: each later holder of the name has a larger one. It is the create
// revision of the holder's key. Call it before Unlock: it is 0 once the key lingers
// ([MutexConfig]), since the key may then belong to another holding.
func (l *Lock) Token() int64 {
	if l.p == nil || !l.fence() {
		return 0
	}
	return l.p.created
}

// within returns a child of ctx for the one function that the lock protects. It ends with the
// lock: before any call says that the lock is lost.
func (l *Lock) within(ctx context.Context) (held context.Context, cancel func()) {
	held, end := context.WithCancelCause(context.WithValue(ctx, withinKey{l}, ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.work = end
	if l.life.Err() != nil {
		end(context.Cause(l.life))
	}
	return held, func() { end(nil) }
}

// withinKey is the key of the context that within was called with.
type withinKey struct{ l *Lock }

// outside is ctx, or what it was made from if Unlock itself ends it: a function may unlock
// with its own context.
func (l *Lock) outside(ctx context.Context) (context.Context, context.CancelFunc) {
	outer, ok := ctx.Value(withinKey{l}).(context.Context)
	if !ok {
		return ctx, func() {}
	}
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(outer, deadline)
	}
	return outer, func() {}
}

// lost is why the lock was lost before it was unlocked; nil: it was not, as far as is known.
func (l *Lock) lost() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loss
}

// fence notes that the key stands for this holding alone; false when it does not.
func (l *Lock) fence() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fenced = true
	return !l.lingers
}

// Epoch is the number of holdings that the key has had before this one, see
// MutexConfig.Linger.
func (l *Lock) Epoch() int { return l.epoch }

// Key is the key of the holding.
func (l *Lock) Key() string {
	if l.p == nil {
		return ""
	}
	return l.p.key
}

// Guard is the condition, for any Txn, that the lock is still held. [Lock.Txn] uses it. Call
// it before Unlock, like [Lock.Token].
func (l *Lock) Guard() etcd.Compare {
	if l.p == nil || !l.fence() {
		return etcd.Compare{} // which a Txn refuses
	}
	return l.p.guard()
}

// Requeued is how often the call that acquired the lock lost its place and queued again
// because its session or key was lost.
func (l *Lock) Requeued() int { return l.requeued }

// deleted is called when the hub has seen the key's deletion.
func (l *Lock) deleted() { l.lose(errors.New("its key was deleted")) }

// lose ends the holding because of err, and returns the error that says so.
func (l *Lock) lose(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != holdingHeld {
		return l.refusalLocked()
	}
	l.loseLocked(err)
	return l.loss
}

func (l *Lock) loseLocked(err error) {
	l.phase = holdingLost
	l.loss = fmt.Errorf("concurrency: %q: %w: %w", l.p.q.name, ErrLockLost, err)
	l.leaveLocked(l.loss)
	if l.p.q.linger > 0 {
		l.p.q.co.lingers.keep(l.p, false)
	}
	l.p.gone()
	if errors.Is(err, ErrClosed) {
		return
	}
	l.p.q.co.counters.locksLost.Add(1)
	l.p.q.co.warn(l.p.q.co.life, "lock lost", "name", l.p.q.name, "key", l.p.key, "error", err)
}

// leaveLocked ends everything that goes on while the lock is held.
func (l *Lock) leaveLocked(cause error) {
	if l.work != nil {
		l.work(cause)
	}
	l.end(cause)
	l.watch.Stop()
	l.p.s.letGo(l)
	l.p.m.leave(false)
	l.p.q.co.counters.held.Add(-1)
}

// refusalLocked is why a lock cannot be used that is no longer held.
func (l *Lock) refusalLocked() error {
	if l.phase == holdingLost {
		return l.loss
	}
	return l.notHeld()
}

// errUnlocked is the cause of the context of a lock that was unlocked.
var errUnlocked = fmt.Errorf("concurrency: %w: it was unlocked", ErrNotHeld)

func (l *Lock) notHeld() error {
	return fmt.Errorf("concurrency: %q: %w: it was unlocked before", l.p.q.name, ErrNotHeld)
}

// check ends the lock if its session has ended by the clock, also where the timer that would
// say so is late. The caller does not hold l.mu: the session ends its locks.
func (l *Lock) check() {
	if l.p.s.alive() {
		return
	}
	err := l.p.s.Err()
	if err == nil { // another goroutine is about to end it
		err = ErrSessionLost
	}
	_ = l.lose(err) // the lock keeps it
}

// use is nil while the lock is held by what is known here.
func (l *Lock) use() error {
	if l.p == nil {
		return fmt.Errorf("concurrency: %w: it was never acquired", ErrNotHeld)
	}
	l.check()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == holdingHeld {
		return nil
	}
	return l.refusalLocked()
}

// Txn applies a transaction if the lock is still held, whatever this process believes.
// The response is that of req. A req without If writes unconditionally while the lock
// is held.
//
// Errors: ErrLockLost when the lock was lost, ErrNotHeld after Unlock, and those of
// [etcd.Client.Txn]. Nothing was applied with the first two. It may have been applied if
// [etcd.MaybeApplied] says so; errors.Is then finds neither of the first two, even if ctx
// has ended with the lock.
//
// etcd: KV/Txn (since 3.3)
func (l *Lock) Txn(ctx context.Context, req etcd.TxnRequest) (resp *etcd.TxnResponse, err error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if err := l.use(); err != nil {
		return nil, err
	}
	if err := l.begin(); err != nil {
		return nil, err
	}
	defer l.ended(&err)
	resp, err = l.p.q.co.client.Txn(ctx, etcd.TxnRequest{If: []etcd.Compare{l.p.guard()}, Then: []etcd.Op{req}})
	switch {
	case err != nil:
		return nil, fmt.Errorf("concurrency: %q: %w", l.p.q.name, unsettled(err))
	case !resp.Succeeded:
		return nil, l.lose(errors.New("its key is gone"))
	}
	inner := resp.Responses[0].Txn
	inner.Header = resp.Header
	return inner, nil
}

// begin counts a transaction, if the lock is still held.
func (l *Lock) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != holdingHeld {
		return l.refusalLocked()
	}
	l.txns++
	return nil
}

// ended takes it off the count.
func (l *Lock) ended(err *error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.txns--
	l.fenced = l.fenced || etcd.MaybeApplied(*err)
}

// Unlock releases the lock. Context ends before anything is sent. When ctx ends first, the
// Coordinator goes on until the key is deleted or the lease has ended; another call of
// Unlock waits for that.
//
// Errors: ErrLockLost when the lock was lost before Unlock, or may have been, because the server
// has ended its lease meanwhile: the last part of the work was not protected. ErrNotHeld when it was unlocked before. Any other error means only that
// the release goes on without this call.
//
// etcd: KV/Txn (since 3.0)
func (l *Lock) Unlock(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	if l.p == nil {
		return l.use()
	}
	ctx, cancel := l.outside(ctx)
	defer cancel()
	l.check()
	l.mu.Lock()
	phase, job := l.phase, l.release
	switch phase {
	case holdingHeld:
		l.leaveLocked(errUnlocked)
		if l.lingersLocked() {
			l.mu.Unlock()
			return nil
		}
		job = &release{name: l.p.q.name, done: make(chan struct{}), do: l.releaseOnce}
		l.phase, l.release = holdingReleasing, job
	case holdingLost:
		l.phase = holdingReleased
	case holdingReleasing, holdingReleased:
	}
	loss := l.loss
	l.mu.Unlock()
	switch phase {
	case holdingHeld:
		return l.unlock(ctx, job)
	case holdingLost:
		return loss
	case holdingReleasing:
		return l.released(ctx, job)
	case holdingReleased:
	}
	return l.notHeld()
}

// lingersLocked hands the key over to the next holding, if it may linger.
func (l *Lock) lingersLocked() bool {
	if l.p.q.linger == 0 || !l.p.q.co.lingers.keep(l.p, !l.fenced && l.txns == 0) {
		return false
	}
	l.phase, l.lingers = holdingReleased, true
	return true
}

// unlock makes the first attempt in the caller's goroutine, unless ctx has ended before.
func (l *Lock) unlock(ctx context.Context, job *release) error {
	err := context.Cause(ctx)
	if err == nil {
		var done bool
		if done, err = job.do(ctx); done {
			job.over(err)
			return l.released(ctx, job)
		}
	}
	l.p.q.co.releaser.add(job)
	if ctx.Err() != nil {
		return l.p.q.failed(ctx, err)
	}
	return l.released(ctx, job)
}

func (l *Lock) releaseOnce(ctx context.Context) (bool, error) {
	held, done, err := l.p.release(ctx)
	if done && !held {
		err = fmt.Errorf("%w: its key is gone", ErrLockLost)
		l.p.q.co.counters.locksLost.Add(1)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.loss = l.p.q.named(err)
	}
	return done, err
}

// released waits for the release. Its result is for one call; the next one reports that the
// lock is not held.
func (l *Lock) released(ctx context.Context, job *release) error {
	if !job.wait(ctx) {
		return l.p.q.failed(ctx, context.Cause(ctx))
	}
	l.mu.Lock()
	first := l.phase == holdingReleasing
	l.phase = holdingReleased
	l.mu.Unlock()
	switch {
	case !first:
		return l.notHeld()
	case job.err != nil:
		return l.p.q.named(job.err)
	}
	return nil
}

// gone frees the slot of a place whose key was deleted by somebody else, unless the session
// has ended with it.
func (p *place) gone() {
	if p.s.Err() == nil {
		p.drop(errRequeue)
	}
}
