package concurrency

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// Errors that errors.Is finds in what this package returns, in addition to those of
// package etcd. The texts name the lock, never its value.
var (
	// ErrLocked: TryLock found a holder or waiters, or the barrier is held already.
	ErrLocked = errors.New("is locked")
	// ErrLockLost: the lock was lost before it was unlocked: its session ended, or
	// somebody deleted its key. What was done since may have overlapped with another
	// holder's work.
	ErrLockLost = errors.New("the lock was lost")
	// ErrNotHeld: the lock was unlocked before, or was never acquired.
	ErrNotHeld = errors.New("the lock is not held")
	// ErrSessionLost: the session has ended; the text says why.
	ErrSessionLost = errors.New("the session has ended")
	// ErrNotLeader: the leadership was lost or resigned.
	ErrNotLeader = errors.New("is not the leader")
	// ErrConfigMismatch: contenders for this name use a different limit.
	ErrConfigMismatch = errors.New("is configured differently elsewhere")
	// ErrClosed: the Coordinator was closed.
	ErrClosed = errors.New("the coordinator is closed")
)

// LockedError is the error of a TryLock that found the lock taken. errors.Is finds
// ErrLocked.
type LockedError struct {
	// Name is the lock's.
	Name string
	// Holder has the lock. It is zero if the holder left meanwhile.
	Holder Holder
}

func (e *LockedError) Error() string {
	if e.Holder.Key == "" {
		return "concurrency: " + strconv.Quote(e.Name) + " is locked"
	}
	return fmt.Sprintf("concurrency: %q is locked by %q since revision %d", e.Name, e.Holder.Key, e.Holder.Token)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Holder is the holder of a lock.
type Holder struct {
	// Key is the holder's key.
	Key string
	// Token is the key's create revision, see [Lock.Token].
	Token int64
	// Value is the value that the holder has put. It belongs to the caller.
	Value []byte
	// Lease is the lease of the key.
	Lease etcd.LeaseID
}

// lossError is the error of a function, or nil, and that of the loss of its lock, which the
// function may have returned itself.
func lossError(err, loss error) error {
	if err == nil || errors.Is(err, loss) {
		return cmp.Or(err, loss)
	}
	return call.Join(err, loss)
}

// unsettled is err, of a write that a lock guards, without errors that say that nothing was
// applied if it may have been: the context may have ended with the lock.
func unsettled(err error) error {
	if !etcd.MaybeApplied(err) {
		return err
	}
	return call.Unsettled(err, ErrLockLost, ErrNotHeld, ErrNotLeader)
}

var errNilContext = invalid("the context is nil; use context.Background() if there is none")

// invalid is the error of an argument that cannot be meant.
func invalid(format string, args ...any) error {
	return fmt.Errorf("concurrency: "+format+": %w", append(args, etcd.ErrInvalidRequest)...)
}
