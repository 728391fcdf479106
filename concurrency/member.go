package concurrency

import (
	"context"
	"slices"
)

// member is a contender in a hub. Its fields are guarded by hubs.mu.
type member struct {
	hub *hub
	pos int    // in hub.members; negative: it has left
	key string // its own; its deletion is the end of its place or holding
	in  bool   // it has joined
	// session is that of the key. Its end ends the wait. nil: it needs none.
	session *Session
	// waits: it is in await. wake is of capacity 1: something has happened; nil until it has
	// waited while another read.
	waits bool
	wake  chan struct{}

	// from is where the hub was when the member came. missed are deletions since then that
	// have come before it joined.
	from   int64
	missed []deletion

	seen   int64     // the revision at which it has read the keys
	before []blocker // the keys that it waits for, from the newest on
	sum    int64     // of their weights
	budget int64     // what sum may be

	gone  bool  // its own key was deleted
	stale bool  // the watch has ended or moved: it must read the keys again
	err   error // the watch cannot go on

	// Of one that holds.
	created  int64 // its key's create revision
	held     *Lock // it ends when the key is deleted
	watching bool  // it counts as one of holders
}

// blocker is a key that a member waits for, with its weight.
type blocker struct {
	key    string
	weight int64
}

// outset is what a member knows of the keys when it joins.
type outset struct {
	revision int64     // of the answer that says so
	before   []blocker // from the newest on
	budget   int64
}

// join has m wait for the deletions of the keys before it. It returns false when the hub
// cannot tell all deletions since the outset; the keys must then be read again.
func (m *member) join(o outset) bool {
	hs := m.hub.of
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if m.hub.start == 0 {
		m.hub.start = o.revision + 1
	}
	return m.enterLocked(o)
}

// enterLocked has m take part in what the watch brings.
func (m *member) enterLocked(o outset) bool {
	if m.hub.start > o.revision+1 || m.from > o.revision {
		return false
	}
	m.in, m.stale, m.seen, m.before, m.budget = true, false, o.revision, o.before, o.budget
	m.sum = 0
	for _, b := range m.before {
		m.sum += b.weight
	}
	missed := m.missed
	m.missed = nil
	for _, d := range missed {
		m.deletedLocked(d)
	}
	return true
}

// again has m wait for nothing, before it reads the keys again.
func (m *member) again() {
	hs := m.hub.of
	hs.mu.Lock()
	defer hs.mu.Unlock()
	m.outLocked()
	m.from, m.missed = m.hub.at, nil
}

func (m *member) outLocked() { m.in, m.before = false, nil }

// standing is where a member is.
type standing uint8

const (
	standsWaiting standing = iota
	standsClear            // nothing is before it any more
	standsGone             // its own key was deleted
	standsStale            // it must read the keys again
	standsFailed           // the watch cannot go on; member.err says why
	standsEnded            // its session has ended
)

func (m *member) standing() standing {
	hs := m.hub.of
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return m.standingLocked()
}

// failure is why its watch cannot go on.
func (m *member) failure() error {
	m.hub.of.mu.Lock()
	defer m.hub.of.mu.Unlock()
	return m.err
}

// standingLocked: the own key's deletion counts before that of others, since both may be of
// one revision.
func (m *member) standingLocked() standing {
	switch {
	case m.err != nil:
		return standsFailed
	case m.session != nil && m.session.life.Err() != nil:
		return standsEnded
	case m.gone:
		return standsGone
	case m.stale:
		return standsStale
	case m.in && m.sum <= m.budget:
		return standsClear
	}
	return standsWaiting
}

// deletedLocked takes note of a deletion, and reports whether it ends a holding.
func (m *member) deletedLocked(d deletion) (lost bool) {
	if d.revision <= m.seen || m.gone {
		return false
	}
	if d.key == m.key {
		m.gone = true
		return m.held != nil
	}
	for i := len(m.before) - 1; i >= 0; i-- { // mostly it is the oldest
		if m.before[i].key == d.key {
			m.sum -= m.before[i].weight
			m.before = slices.Delete(m.before, i, i+1)
			break
		}
	}
	return false
}

// await waits until m does not only wait.
func (m *member) await(ctx context.Context) (standing, error) {
	reads := false
	defer func() { m.rest(reads) }()
	for {
		var st standing
		st, reads = m.turn(reads)
		switch {
		case st != standsWaiting:
			return st, nil
		case ctx.Err() != nil:
			return standsWaiting, context.Cause(ctx)
		case reads:
			if opened := m.hub.read(ctx, m.session); opened && m.standing() == standsWaiting {
				return standsStale, nil // see open
			}
			continue
		}
		select {
		case <-m.wake:
		case <-ctx.Done():
		}
	}
}

// turn has m read the watch if it must wait and nobody else reads. has: it does so already.
func (m *member) turn(has bool) (st standing, reads bool) {
	h := m.hub
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	m.waits = true
	st = m.standingLocked()
	switch {
	case st != standsWaiting || has:
		return st, has
	case !h.reading:
		h.reading = true
		return st, true
	case m.wake == nil:
		m.wake = make(chan struct{}, 1)
	}
	return st, false
}

// rest ends a wait. reads: m reads the watch, and another has to.
func (m *member) rest(reads bool) {
	h := m.hub
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	m.waits = false
	h.passLocked(reads)
}

// leave ends the membership. long: the queue is longer than what a hub is for, so that it
// would wake this process for nothing.
func (m *member) leave(long bool) {
	h := m.hub
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if m.pos < 0 {
		return
	}
	m.outLocked()
	h.removeLocked(m)
	m.unwatchLocked()
	if len(h.members) == 0 {
		h.emptyLocked(long)
	}
}
