package store

import (
	"context"
	"errors"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// Locks are the locks and elections of one client, on separate leases. It is safe for
// concurrent use, and contenders exclude each other.
type Locks interface {
	// Acquire waits for what is wanted, or tries. A leader proclaims the value.
	// errors.Is finds ErrLocked when a try has found it taken, and ErrUnsupported when
	// the client has no such thing.
	Acquire(ctx context.Context, want history.Want, value string) (Lock, error)
	// Run calls f while it leads, until f returns nil or ctx ends.
	Run(ctx context.Context, name, value string, f func(context.Context, Lock) error) error
	// Observe calls each with who leads, now and after each change, until ctx ends.
	Observe(ctx context.Context, name string, each func(history.Leader)) error
	// Close gives everything up.
	Close(ctx context.Context) error
}

// Lock is something that is held.
type Lock interface {
	// Key and Token are those of the holder's key; zero if the client does not tell.
	Key() string
	Token() int64
	// Context ends when the holding is over for its holder.
	Context() context.Context
	// Lost reports whether the holder knows that it has lost it.
	Lost() bool
	// Write puts a value on the condition that the lock is held. ErrLost: it is not.
	Write(ctx context.Context, key, value string) (Answer, error)
	// Proclaim changes a leader's value.
	Proclaim(ctx context.Context, value string) error
	// Release unlocks, resigns or leaves.
	Release(ctx context.Context) error
}

// What errors.Is finds in the errors of both drivers.
var (
	ErrLocked      = errors.New("it is taken")
	ErrLost        = errors.New("it is lost")
	ErrUnsupported = errors.New("the client has no such thing")
)

// OpenLocks makes the locks of a client whose leases live for ttl.
func OpenLocks(s Store, ttl time.Duration) (Locks, error) { return s.locks(ttl) }
