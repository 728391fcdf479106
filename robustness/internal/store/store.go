// Package store is the interface that both clients implement: the same work in the
// same terms. A driver adds no retry, no deadline and no judgement.
package store

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/robustness/internal/history"
)

// Store is one client of a cluster. It is safe for concurrent use.
type Store interface {
	// Get reads a key; any member may answer a stale read, even one that lags behind.
	Get(ctx context.Context, key string, stale bool) (Answer, error)
	// Put stores a value, on a lease unless that is 0.
	Put(ctx context.Context, key, value string, lease int64) (Answer, error)
	Delete(ctx context.Context, key string) (Answer, error)
	// Swap puts value if the key has the expected one; otherwise it reads the key.
	// An expected "" means that the key must not exist.
	Swap(ctx context.Context, key, expected, value string) (Answer, error)
	// PutMany puts one value under several keys in one transaction.
	PutMany(ctx context.Context, keys []string, value string) (Answer, error)
	DeleteMany(ctx context.Context, prefix string) (Answer, error)
	// Scan reads all keys with a prefix at one revision with the client's means
	// for large reads, and calls each for them in order.
	Scan(ctx context.Context, prefix string, each func(history.Event)) (revision int64, err error)
	// ReadAll reads all keys with a prefix in one call and returns their bytes.
	ReadAll(ctx context.Context, prefix string) (bytes int, err error)
	// Fate is the outcome that the client reports for a write that failed with err.
	Fate(err error) history.Fate
	// Outcome is the same for any failed call, in more detail.
	Outcome(err error) etcd.Outcome

	// Watch returns once the watch is confirmed. ctx bounds only that.
	Watch(ctx context.Context, f history.Filter, revision int64) (Watch, error)
	// Grant grants a lease that is kept alive until it is lost.
	Grant(ctx context.Context, ttl time.Duration) (Lease, error)
	// SetEndpoints replaces the endpoints, Sync adds those that members advertise,
	// or replaces them, as the client does it.
	SetEndpoints(endpoints []string) error
	Sync(ctx context.Context) error
	// Counts returns the client's counters so far, under the history's names.
	Counts() map[string]int64
	Close() error

	locks(ttl time.Duration) (Locks, error)
	exact(ctx context.Context, ttl time.Duration) (Exact, error)
	jobs(name string, ttl time.Duration) (Jobs, error)
	cache(prefix string, maxBytes int64) (Cache, error)
	join(ctx context.Context, name, member string, partitions int, ttl time.Duration, f func(context.Context, history.Owned)) (Membership, error)
}

// Answer is the server's answer.
type Answer struct {
	Revision int64
	Found    string // value; "" means no such key
	Modified int64
	Matched  bool // of Swap; of Delete: there was a key
}

// Watch is one watch. One goroutine may use it at a time.
type Watch interface {
	// Start is the first revision that the client says it will deliver.
	Start() int64
	// Next waits for the next response and leaves its time unset.
	Next(ctx context.Context) (history.Response, error)
	Close()
}

// Lease is a lease that is kept alive.
type Lease interface {
	ID() int64
	TTL() time.Duration
	// Lost is closed when the client reports the lease's loss.
	Lost() <-chan struct{}
	// Deadline is when the client gives the lease up unless it is renewed; zero if
	// the client doesn't report it.
	Deadline() time.Time
	// Err is the reason, if the client reports one.
	Err() error
	Revoke(ctx context.Context) error
}

// CompactedError ends a watch whose next revision is compacted.
type CompactedError struct{ Revision int64 }

func (e *CompactedError) Error() string {
	return fmt.Sprintf("compacted up to %d", e.Revision)
}

// Config is the configuration of a driver.
type Config struct {
	Endpoints []string
	TLS       *tls.Config
	// Username and Password are of a user who may read and write all keys;
	// empty without authentication.
	Username, Password string
	// CoalesceWrites lets writes share requests, if the client can do that.
	CoalesceWrites bool
	// Names keeps one copy of each key and value.
	Names *history.Interner
}

// Open is a driver's constructor.
type Open func(Config) (Store, error)

// Drivers maps names to clients.
var Drivers = map[string]Open{"ours": openOurs, "client/v3": openOfficial}

// Names lists the drivers' names, ours first.
var Names = []string{"ours", "client/v3"}

// padding begins the filler that makes a value large.
const padding = '|'

// Pad pads a unique value to size bytes.
func Pad(value string, size int) string {
	if len(value)+1 >= size {
		return value
	}
	return value + string(padding) + strings.Repeat("x", size-len(value)-1)
}

// text returns a value as histories record it: with the length of the padding in its place.
func text(names *history.Interner, value []byte) string {
	const head = 64
	for i := range min(len(value), head) {
		if value[i] == padding {
			return names.String(fmt.Sprintf("%s%c%d", value[:i], padding, len(value)))
		}
	}
	return names.Bytes(value)
}

// Text returns a value made by Pad as histories record it.
func Text(value string) string {
	id, pad, ok := strings.Cut(value, string(padding))
	if !ok {
		return value
	}
	return fmt.Sprintf("%s%c%d", id, padding, len(id)+1+len(pad))
}
