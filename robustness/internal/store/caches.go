package store

import (
	"context"

	"silly.store/etcd/robustness/internal/history"
)

// Cache is one client's cache of the keys with a prefix. It is safe for concurrent use.
type Cache interface {
	// Peek reads a key without waiting; found is nil if there is none. known is false if the
	// cache does not know.
	Peek(key string) (found *history.Event, known bool)
	Get(ctx context.Context, key string, f history.Fresh) (CacheAnswer, error)
	// All reads all keys at one revision.
	All(ctx context.Context, f history.Fresh) (CacheAnswer, error)
	// Revision is that of local reads; 0 before there are any.
	Revision() int64
	Stats() CacheStats
	Subscribe(prefix string) Subscription
	Close() error
}

// CacheAnswer is what a cache answers.
type CacheAnswer struct {
	Revision   int64
	FromServer bool
	Pairs      []history.Event
}

// CacheStats is what a cache says of its memory.
type CacheStats struct {
	Bytes, Retained int64
	// Ended: it was too large.
	Ended bool
}

// Subscription delivers the changes of a cache, to one goroutine at a time.
type Subscription interface {
	// Next waits for the next update, and leaves its time unset.
	Next(ctx context.Context) (history.CacheUpdate, error)
}

// OpenCache makes a cache of the keys with a prefix. maxBytes bounds it; 0: the client does.
// ErrUnsupported: the client has no cache.
func OpenCache(s Store, prefix string, maxBytes int64) (Cache, error) {
	return s.cache(prefix, maxBytes)
}
