// Package store is the seam at which the two clients are exchanged: the same
// work, told in the same words. A driver adds no retry, no deadline and no
// judgement of its own.
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
	// Get reads a key; stale reads may be answered by a member that is behind.
	Get(ctx context.Context, key string, stale bool) (Answer, error)
	// Put stores a value, on a lease unless that is 0.
	Put(ctx context.Context, key, value string, lease int64) (Answer, error)
	Delete(ctx context.Context, key string) (Answer, error)
	// Swap puts value if the key has the expected one, and else reads the key.
	// An expected "" means that there must be no key.
	Swap(ctx context.Context, key, expected, value string) (Answer, error)
	// PutMany puts one value to several keys in one transaction.
	PutMany(ctx context.Context, keys []string, value string) (Answer, error)
	DeleteMany(ctx context.Context, prefix string) (Answer, error)
	// Scan reads all keys with a prefix at one revision, the way that the client
	// has for many of them. each gets them in order.
	Scan(ctx context.Context, prefix string, each func(history.Event)) (revision int64, err error)
	// ReadAll reads all keys with a prefix in one call and returns their bytes.
	ReadAll(ctx context.Context, prefix string) (bytes int, err error)
	// Fate is what the client says of a write that failed with err.
	Fate(err error) history.Fate
	// Outcome is the same of any failed call, and in more detail.
	Outcome(err error) etcd.Outcome

	// Watch returns when the watch is confirmed. ctx bounds only that.
	Watch(ctx context.Context, f history.Filter, revision int64) (Watch, error)
	// Grant makes a lease that is kept alive until it is lost.
	Grant(ctx context.Context, ttl time.Duration) (Lease, error)
	// SetEndpoints replaces the endpoints, Sync adds those that members advertise,
	// or replaces them, as the client does it.
	SetEndpoints(endpoints []string) error
	Sync(ctx context.Context) error
	// Counts are what the client has counted so far, by the names of the history.
	Counts() map[string]int64
	Close() error
}

// Answer is what the server answered.
type Answer struct {
	Revision int64
	Found    string // value; "" means no such key
	Modified int64
	Matched  bool // of Swap; of Delete: there was a key
}

// Watch is one watch. One goroutine may use it at a time.
type Watch interface {
	// Start is the first revision that is delivered, as the client says.
	Start() int64
	// Next waits for the next response. Its time is not set.
	Next(ctx context.Context) (history.Response, error)
	Close()
}

// Lease is a lease that is kept alive.
type Lease interface {
	ID() int64
	TTL() time.Duration
	// Lost is closed when the client reports that the lease is over.
	Lost() <-chan struct{}
	// Deadline is when the client gives the lease up unless it is renewed; zero if
	// it doesn't say.
	Deadline() time.Time
	// Err is why, if the client says.
	Err() error
	Revoke(ctx context.Context) error
}

// CompactedError ends a watch whose revision is compacted.
type CompactedError struct{ Revision int64 }

func (e *CompactedError) Error() string {
	return fmt.Sprintf("compacted up to %d", e.Revision)
}

// Config is what a driver is made of.
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

// Drivers are the clients by name.
var Drivers = map[string]Open{"ours": openOurs, "client/v3": openOfficial}

// Names are the drivers' names, ours first.
var Names = []string{"ours", "client/v3"}

// padding begins what makes a value large and says nothing.
const padding = '|'

// Pad makes a unique value as large as size.
func Pad(value string, size int) string {
	if len(value)+1 >= size {
		return value
	}
	return value + string(padding) + strings.Repeat("x", size-len(value)-1)
}

// text is a value as histories have it: its padding is replaced by its length.
func text(names *history.Interner, value []byte) string {
	const head = 64
	for i := range min(len(value), head) {
		if value[i] == padding {
			return names.String(fmt.Sprintf("%s%c%d", value[:i], padding, len(value)))
		}
	}
	return names.Bytes(value)
}

// Text is a value that was made by Pad, as histories have it.
func Text(value string) string {
	id, pad, ok := strings.Cut(value, string(padding))
	if !ok {
		return value
	}
	return fmt.Sprintf("%s%c%d", id, padding, len(id)+1+len(pad))
}
