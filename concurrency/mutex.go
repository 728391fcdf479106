package concurrency

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// MutexConfig configures a [Mutex]. The zero value is valid.
type MutexConfig struct {
	// Value is put with the holder's key, for people and for [Mutex.Holder]. It is
	// copied.
	Value []byte
	// Linger is how long the key stays after Unlock. A Lock or TryLock of this Coordinator
	// with the same name and value then takes the mutex without a request. It is for jobs
	// that take the same lock again and again, and costs a watch for each name in use.
	//
	// The key is deleted as soon as another contender asks for the mutex, which therefore
	// waits for one more round trip, and in any case ten times Linger after it was put.
	// Until then [Mutex.Holder] reports it. It does not linger when [Lock.Token] or
	// [Lock.Guard] was called or a [Lock.Txn] has an unknown outcome, since they cannot tell
	// one holding of a key from the next, nor while the watch is interrupted. At most
	// Config.TTL; 0 means that Unlock deletes the key.
	Linger time.Duration
}

// Mutex is a lock with one holder at a time across all processes. It is not re-entrant:
// goroutines of one process exclude each other as well. It is safe for concurrent use.
//
// Contenders get the mutex in the order in which they asked.
type Mutex struct {
	q queue
}

// Mutex returns the mutex of a name. It does no I/O.
//
// Keys: <name>/<lease in hexadecimal>, and <name>/<lease>.<n> for further contenders of
// the session.
func (co *Coordinator) Mutex(name string, config MutexConfig) *Mutex {
	m := &Mutex{plainQueue(co, name, config.Value)}
	m.q.linger = config.Linger
	return m
}

// plainQueue is a queue in which everybody waits for all before.
func plainQueue(co *Coordinator, name string, value []byte) queue {
	root := name + "/"
	return queue{co: co, name: name, root: root, prefix: root, kinds: []string{root}, value: slices.Clone(value)}
}

// Lock waits until it holds the mutex. ctx bounds the wait, not the holding. When ctx
// ends first, Lock returns at once and gives up its place in the queue.
//
// While it waits, Lock survives passing failures: lost members, compactions, and the loss
// of its session or key, after which it queues again at the end ([Lock.Requeued]).
//
// Errors: ctx's, ErrClosed, etcd.ErrInvalidRequest for an empty name, and those of
// [etcd.Client.Grant] and [etcd.Client.Txn] of the first attempt to queue.
//
// etcd: KV/Txn (since 3.0), Watch/Watch, Lease/LeaseGrant
func (m *Mutex) Lock(ctx context.Context) (*Lock, error) { return m.q.acquire(ctx, false) }

// TryLock is Lock if nobody holds the mutex or waits for it. Otherwise it returns a
// *[LockedError] and has written nothing.
//
// etcd: KV/Txn (since 3.3)
func (m *Mutex) TryLock(ctx context.Context) (*Lock, error) { return m.q.acquire(ctx, true) }

// Do calls f while it holds the mutex. The context of f ends with ctx and when the lock is
// lost. Do waits for f before it unlocks; f may unlock itself. The result joins f's error and
// ErrLockLost if the lock was lost. When ctx has ended, the release goes on without Do. A
// panic of f unlocks and reaches Do's caller.
func (m *Mutex) Do(ctx context.Context, f func(ctx context.Context, l *Lock) error) error {
	if f == nil {
		return invalid("%q: the function is nil", m.q.name)
	}
	l, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	return l.do(ctx, f)
}

func (l *Lock) do(ctx context.Context, f func(ctx context.Context, l *Lock) error) (err error) {
	held, cancel := l.within(ctx)
	defer cancel()
	defer func() {
		if unlocked := l.Unlock(ctx); errors.Is(unlocked, ErrLockLost) {
			err = lossError(err, unlocked)
		}
	}()
	return f(held, l)
}

// Holder returns the holder of the mutex, and false if there is none.
//
// etcd: KV/Range (since 3.0)
func (m *Mutex) Holder(ctx context.Context) (Holder, bool, error) {
	if err := m.q.check(ctx); err != nil {
		return Holder{}, false, err
	}
	h, _, err := m.q.findHolder(ctx)
	if err != nil {
		return Holder{}, false, fmt.Errorf("concurrency: Holder of %q: %w", m.q.name, err)
	}
	if h == nil {
		return Holder{}, false, nil
	}
	return *h, true, nil
}
