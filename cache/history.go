package cache

import (
	"sync"
	"time"
)

const (
	// keptStates, keptBytes and keptFor bound the past that is kept for Exact: states,
	// bytes of pairs that have been replaced since, and time.
	keptStates = 64
	keptBytes  = 8 << 20
	keptFor    = time.Minute
)

// history is the last states, for reads of an exact revision.
type history struct {
	mu   sync.Mutex // guards the field below
	past []pastState
}

// pastState is a state that was the store's from p.since to until.
type pastState struct {
	p     *published
	until int64
}

// add notes that the state before has ended with the revision until, and that now is there.
func (h *history) add(before, now *published, until int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if before.epoch != now.epoch {
		clear(h.past)
		h.past = h.past[:0]
		return
	}
	h.past = append(h.past, pastState{before, until})
	drop := 0
	for drop < len(h.past) {
		oldest := h.past[drop].p
		if len(h.past)-drop <= keptStates && now.replaced-oldest.replaced <= keptBytes && now.at.Sub(oldest.at) <= keptFor {
			break
		}
		drop++
	}
	n := copy(h.past, h.past[drop:])
	clear(h.past[n:])
	h.past = h.past[:n]
}

// at returns the state at a revision of the history epoch, or nil if it is not kept. now is
// what is published.
func (h *history) at(now *published, epoch int, revision int64) *published {
	if now.epoch != epoch {
		return nil
	}
	if now.since <= revision && revision <= now.revision {
		return now
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.past) - 1; i >= 0; i-- {
		if s := h.past[i]; s.p.epoch == epoch && s.p.since <= revision && revision <= s.until {
			return s.p
		}
	}
	return nil
}

func (h *history) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past = nil
}
