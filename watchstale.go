package etcd

import (
	"cmp"
	"time"

	"silly.store/etcd/internal/call"
)

const (
	// staleAfter is how long no member has served a watch when Hooks.WatchStale is called.
	// A watch whose member falls silent is on another one after two seconds, and an
	// election takes two or three.
	staleAfter = 10 * time.Second
	// patrolPause is how often the watches without a member are looked at.
	patrolPause = time.Second
)

// interruptedLocked notes that a watch has left its member, and sees that the patrol runs.
func (h *watchHub) interruptedLocked(w *Watcher) {
	if !h.observer.wantsStale() || !w.hasBegun() {
		return
	}
	if h.interrupted == nil {
		h.interrupted = make(map[*Watcher]struct{})
	}
	h.interrupted[w] = struct{}{}
	if !h.patrolling {
		h.patrolling = true
		h.routines.Go(h.patrol)
	}
}

// patrol is the goroutine that reports stale watches. It runs while there are watches that
// were interrupted and not reported.
func (h *watchHub) patrol() {
	tick := time.NewTicker(patrolPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return
		}
		stale, infos, over := h.takeStale()
		h.observer.watchesStale(infos)
		for _, w := range stale {
			w.told()
		}
		if over {
			return
		}
	}
}

// takeStale returns the watches that have become stale. over ends the patrol: no other one
// may become so.
func (h *watchHub) takeStale() (stale []*Watcher, infos []WatchStaleInfo, over bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.interrupted {
		info, verdict := w.judgeStale(h.lastErr)
		if verdict == becameStale {
			stale, infos = append(stale, w), append(infos, info)
		}
		if verdict != mayBecomeStale {
			delete(h.interrupted, w)
		}
	}
	h.patrolling = len(h.interrupted) > 0
	return stale, infos, !h.patrolling
}

// staleReport is the report of a stale watch that the patrol is making, without a lock. The
// watch may be served again, or end, before the user has heard that it was stale. What it
// tells of that comes later, or the user would take it for stale for good. Watcher.mu guards
// it.
type staleReport struct{ later []func() }

// defers reports whether tell is called after the report. r may be nil.
func (r *staleReport) defers(tell func()) bool {
	if r != nil {
		r.later = append(r.later, tell)
	}
	return r != nil
}

// staleness is what the patrol finds a watch to be.
type staleness uint8

const (
	// notStale: a member serves it, it has ended, or it was reported.
	notStale staleness = iota
	// mayBecomeStale: no member serves it, but that is not long ago.
	mayBecomeStale
	// becameStale: it is to be reported.
	becameStale
)

// judgeStale decides what to do about a watch that was interrupted. trouble is why it has
// no stream.
func (w *Watcher) judgeStale(trouble *call.Error) (WatchStaleInfo, staleness) {
	w.mu.Lock()
	defer w.mu.Unlock()
	interrupted := time.Since(w.life.left)
	switch {
	case w.life.phase == phaseServed, w.life.phase == phaseEnded, w.life.reported:
		return WatchStaleInfo{}, notStale
	case interrupted < staleAfter, w.life.report != nil: // the report of the last time goes on
		return WatchStaleInfo{}, mayBecomeStale
	}
	w.reportLocked()
	return WatchStaleInfo{
		Key: w.create.Key, Revision: w.next, Interrupted: interrupted, Err: public(w.unservedLocked(trouble)),
	}, becameStale
}

// unservedLocked is why no member serves the watch.
func (w *Watcher) unservedLocked(trouble *call.Error) *call.Error {
	return cmp.Or(trouble, w.life.leftErr, errWatchWaits)
}
