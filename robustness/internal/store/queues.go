package store

import (
	"context"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// Jobs is one client's end of a work queue. It is safe for concurrent use.
type Jobs interface {
	Add(ctx context.Context, id string) error
	// Take waits for an item.
	Take(ctx context.Context) (Job, error)
	// Close gives everything up.
	Close(ctx context.Context) error
}

// Job is an item that was taken.
type Job interface {
	ID() string
	// Key and Token are those of the claim; zero if the client has none.
	Key() string
	Token() int64
	// Context ends when the claim is over.
	Context() context.Context
	// Done finishes the item and puts the effect under the key. ErrLost: the claim was lost.
	Done(ctx context.Context, key, effect string) error
	// Back gives the item back, for after the delay. ErrUnsupported: the client cannot.
	Back(ctx context.Context, delay time.Duration) error
}

// OpenJobs makes one client's end of a queue. Its claims are on leases that live for ttl.
func OpenJobs(s Store, name string, ttl time.Duration) (Jobs, error) { return s.jobs(name, ttl) }

// Membership is one member of a group.
type Membership interface {
	Leave(ctx context.Context) error
	// Owned counts the partitions that the member owns.
	Owned() int
}

// JoinGroup joins a group of partitions on leases that live for ttl, and calls f for each
// partition that the member owns. ErrUnsupported: the client has no groups.
func JoinGroup(ctx context.Context, s Store, name, member string, partitions int, ttl time.Duration, f func(context.Context, history.Owned)) (Membership, error) {
	return s.join(ctx, name, member, partitions, ttl, f)
}
