package cache

import (
	"fmt"
	"sync/atomic"
	"time"
)

// State is the state of a cache.
type State uint8

const (
	// StateLoading: the range has not been read yet.
	StateLoading State = iota
	// StateLive: a member serves the watch.
	StateLive
	// StateStale: no member serves the watch, or the server refuses it. Local reads go on
	// with the last state.
	StateStale
	// StateClosed: the cache or its client was closed.
	StateClosed
	// StateEnded: the range is larger than Config.MaxBytes. The cache no longer holds
	// anything.
	StateEnded
)

var stateNames = [...]string{"loading", "live", "stale", "closed", "ended"}

// String returns "loading", "live", "stale", "closed" or "ended", or "State(7)" for a value that is
// none of the constants.
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", uint8(s))
	}
	return stateNames[s]
}

// Stats counts the work of a cache since it was made, and shows its present state.
type Stats struct {
	State State
	// Err is the reason why the cache is not live; nil while it is live, after its Close, and
	// as long as nothing has gone wrong.
	Err error
	// Since is when the cache ceased to be live; zero while it is live, and before it
	// first was.
	Since time.Time

	// Revision is that of local reads, of the history Epoch. Both are 0 before the range has
	// been read.
	Revision int64
	Epoch    int
	// Keys is the number of keys.
	Keys int
	// Bytes is their size as counted for Config.MaxBytes.
	Bytes int64
	// RetainedBytes is an upper bound of the replaced pairs that are kept for subscribers
	// that are behind. Snapshots that the program holds are not included.
	RetainedBytes int64
	// FreshAt is the latest time at which the cache is known to have been current; zero:
	// none. Only calls that are Linearizable or Within prove that.
	FreshAt time.Time

	// Published counts the states that readers have seen, Resyncs those that were read again
	// because history was lost.
	Published, Resyncs int64
	// Flights counts the requests for the store's revision, which readers share, Fallbacks
	// the Gets that went to the server because the cache was not ready, could not prove in
	// time how fresh it is, or does not keep an Exact revision.
	Flights, Fallbacks int64
	// ValueReads counts the Gets that went to the server for values that the cache does not
	// keep.
	ValueReads int64
}

type counts struct {
	published, resyncs, flights, fallbacks, values atomic.Int64
}

// Stats returns a snapshot, for metrics and for people. It does not wait.
func (ca *Cache) Stats() Stats {
	p := ca.current.Load()
	s := Stats{
		Revision: p.revision, Epoch: p.epoch, Keys: p.pairs.Len(), Bytes: p.bytes,
		ValueReads: ca.counts.values.Load(), RetainedBytes: ca.lagging.retained(p),
		Published: ca.counts.published.Load(), Resyncs: ca.counts.resyncs.Load(),
		Flights: ca.counts.flights.Load(), Fallbacks: ca.counts.fallbacks.Load(),
	}
	if known := ca.proof.Load(); known != nil && known.epoch == p.epoch {
		s.FreshAt = known.left
	}
	ca.mu.Lock()
	s.Err, s.Since = ca.trouble, ca.since
	ca.mu.Unlock()
	if s.Err == nil && !p.ready() {
		s.Err = ca.follower.Trouble()
	}
	watch, watched := ca.follower.WatchState()
	switch {
	case isEnd(p.ended):
		s.State, s.Err = StateEnded, p.ended
	case p.ended != nil:
		s.State, s.Err = StateClosed, nil
	case ca.stopped.Load():
		s.State = StateClosed
	case !p.ready():
		s.State = StateLoading
	case s.Err != nil:
		s.State = StateStale
	case watched && watch.Err == nil:
		s.State, s.Since = StateLive, time.Time{}
	case watched:
		s.State, s.Err, s.Since = StateStale, watch.Err, watch.Since
	default:
		s.State, s.Err, s.Since = StateStale, ca.follower.Trouble(), p.at
	}
	return s
}
