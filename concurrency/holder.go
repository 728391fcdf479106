package concurrency

import (
	"context"
	"time"

	"silly.store/etcd"
)

// heldUnwatched is how long a lock is held before its key is watched. Most locks are held
// for a moment, and a watch would cost more than they do.
const heldUnwatched = 500 * time.Millisecond

// hold turns a member that has read the keys at the revision into a holder; l is lost when
// its key is deleted. It returns false if the key is deleted already.
func (m *member) hold(created, revision int64, l *Lock) bool {
	hs := m.hub.of
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if m.gone {
		return false
	}
	m.created, m.held = created, l
	if !m.in && !m.enterLocked(outset{revision: revision}) {
		m.stale = true
	}
	return !m.gone
}

// guard has the key of a member that holds watched from now on. What the watch has brought
// or not brought before it was there, a read of the key tells.
func (m *member) guard() {
	h := m.hub
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if m.pos < 0 || m.gone || m.watching || h.of.closed {
		return
	}
	if h.start == 0 && m.in {
		h.start = m.seen + 1
	}
	m.stale = m.stale || h.start > m.seen+1
	m.watching = true
	h.holders++
	if h.stop != nil {
		signal(h.nudge)
		return
	}
	if h.nudge == nil {
		h.nudge = make(chan struct{}, 1)
	}
	ctx, cancel := context.WithCancel(h.of.co.life)
	h.stop = cancel
	h.of.co.routines.Go(func() { h.serve(ctx) })
}

func (m *member) unwatchLocked() {
	if !m.watching {
		return
	}
	m.watching = false
	if m.hub.holders--; m.hub.holders == 0 {
		m.hub.stop()
		m.hub.stop = nil
	}
}

// serve reads the watch for members that hold, as long as there are any. Another one may have
// begun before it ends, and must get what was to wake it.
func (h *hub) serve(ctx context.Context) {
	defer signal(h.nudge)
	for failures := 0; ctx.Err() == nil; {
		if !h.recheck(ctx) {
			failures++
			pause(ctx, failures)
			continue
		}
		failures = 0
		if h.takeReading() {
			h.read(ctx, nil)
			h.giveReading()
			continue
		}
		select {
		case <-h.nudge:
		case <-ctx.Done():
		}
	}
}

// takeReading has the caller read the watch, unless somebody does.
func (h *hub) takeReading() bool {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if h.reading {
		return false
	}
	h.reading = true
	return true
}

func (h *hub) giveReading() {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	h.passLocked(true)
}

// recheck reads the keys of holders that may have missed a deletion. It returns false when
// one could not be read.
func (h *hub) recheck(ctx context.Context) bool {
	for {
		m := h.staleHolder()
		if m == nil {
			return true
		}
		m.again()
		resp, err := h.of.co.client.Get(ctx, etcd.GetRequest{Key: m.key, KeysOnly: true})
		if err != nil {
			return false
		}
		kv, _ := resp.First()
		m.rechecked(kv.CreateRevision, resp.Header.Revision)
	}
}

func (h *hub) staleHolder() *member {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	for _, m := range h.members {
		if m.watching && m.stale && !m.gone {
			return m
		}
	}
	return nil
}

// rechecked takes what a read at the revision has found of the key.
func (m *member) rechecked(created, revision int64) {
	h := m.hub
	h.of.mu.Lock()
	if h.start == 0 {
		h.start = revision + 1
	}
	m.gone = m.gone || created != m.created || m.enterLocked(outset{revision: revision}) && m.gone
	lost := m.gone
	h.of.mu.Unlock()
	if lost {
		m.held.deleted()
	}
}
