package cache

import (
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/backoff"
)

// avoidAfter is after how many flights, one after the other, whose readers have waited in vain
// no further reader waits for a while: the members do not tell how far the watch is. Flights
// that were away at the same time count as one, since one moment of a busy machine holds all
// of them up.
const avoidAfter = 3

// avoidPauses are how long; some proxies never tell.
var avoidPauses = backoff.Backoff{First: 10 * time.Second, Cap: 5 * time.Minute}

// avoidance has readers ask the server without waiting for the cache first.
type avoidance struct {
	failures atomic.Int64 // in a row; after a pause one more is enough for the next
	until    atomic.Int64 // in Unix nanoseconds
	last     atomic.Int64 // the last failure, likewise
}

func (a *avoidance) now() bool {
	until := a.until.Load()
	return until != 0 && time.Now().UnixNano() < until
}

// failed notes that the readers of a flight have waited in vain, which had left at a time.
func (a *avoidance) failed(left time.Time) {
	last := a.last.Load()
	if a.now() || left.UnixNano() < last || !a.last.CompareAndSwap(last, time.Now().UnixNano()) {
		return // they began to wait before
	}
	if n := a.failures.Add(1); n >= avoidAfter {
		a.until.Store(time.Now().Add(avoidPauses.Span(int(n - avoidAfter))).UnixNano())
	}
}

// worked notes that the cache has caught up with the store.
func (a *avoidance) worked() { a.failures.Store(0) }
