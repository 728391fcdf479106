package etcd

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// progressTrust is what is known of a member's progress responses. Those of
// servers before 3.5.13 may come before events that they claim to follow; a
// watch that resumed behind them would lose these events.
type progressTrust uint32

const (
	progressUnknown progressTrust = iota
	progressKnownGood
	progressKnownBad
)

// trustPatience bounds the question for the version, behind which others wait.
const trustPatience = 2 * time.Second

// trust says whether a progress response of the member moves the point from which a
// watch resumes.
func (c *watchConn) trust() progressTrust { return progressTrust(c.known.Load()) }

// learnTrust asks the member for its version, once in the life of the connection.
// While the version cannot be learned, as from a member that is shutting down, trust
// stays unknown.
func (c *watchConn) learnTrust(ctx context.Context) {
	if c.trust() != progressUnknown {
		return
	}
	status, err := c.hub.engine.AskStatus(ctx, c.conn, trustPatience)
	switch {
	case err == nil && progressReliable(status.Version):
		c.known.Store(uint32(progressKnownGood))
	case err == nil, err.Final():
		c.known.Store(uint32(progressKnownBad))
	default:
		return
	}
	for _, s := range c.all() {
		s.releaseHeld()
	}
}

// heldProgress is a progress response that came before it was known whether it can be
// trusted, with the watches for which it counts.
type heldProgress struct {
	watchers []*Watcher
	header   ResponseHeader
}

// maxHeld is how many are kept; then the oldest is dropped, which only costs a later
// resumption some events that it skips.
const maxHeld = 16

// hold keeps progress until the member's version is known, and reports false when it is
// known by now. Until then nobody learns of it: a reader could see next that a revision
// before it is compacted.
func (s *watchStream) hold(watchers []*Watcher, h ResponseHeader) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.trust() != progressUnknown {
		return false
	}
	if len(s.held) == maxHeld {
		s.held = slices.Delete(s.held, 0, 1)
	}
	s.held = append(s.held, heldProgress{watchers, h})
	return true
}

func (s *watchStream) releaseHeld() {
	s.mu.Lock()
	held := s.held
	s.held = nil
	s.mu.Unlock()
	for _, p := range held {
		s.progressed(p.watchers, p.header)
	}
}

// progressed hands a response without events to the watches for which it counts.
func (s *watchStream) progressed(watchers []*Watcher, h ResponseHeader) {
	trust := s.conn.trust()
	if trust == progressUnknown {
		if s.hold(watchers, h) {
			return
		}
		trust = s.conn.trust()
	}
	for _, w := range watchers {
		w.progressed(s, h, trust == progressKnownGood)
	}
}

// progressPause is how long a watch with ProgressNotify that is ahead of the store goes
// without a response before the client tells it that it has missed nothing.
const progressPause = time.Minute

// wantsNewsLocked reports whether the watch waits to hear that it has missed nothing up to
// the revision of the store, which it is ahead of.
func (w *Watcher) wantsNewsLocked(store int64) bool {
	switch {
	case w.next <= store:
		return false // the server says it
	case w.asked:
		return true
	}
	return w.progress && w.isConfirmedLocked() && !time.Now().Before(w.newsDue)
}

func (w *Watcher) wantsNews(store int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wantsNewsLocked(store)
}

// nothingUpTo takes the revision of the store for a watch that is ahead of it: below
// next there is nothing left to be delivered.
func (w *Watcher) nothingUpTo(h ResponseHeader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life.phase == phaseEnded || !w.wantsNewsLocked(h.Revision) {
		return
	}
	w.seen = max(w.seen, h.Revision)
	w.pushProgressLocked(h, false) // there is nothing that could follow
}

// progressReliable: 3.5.13 and newer, and all of 3.6.
func progressReliable(version string) bool {
	version, _, _ = strings.Cut(version, "-")
	parts := strings.Split(version, ".")
	if len(parts) != 3 {
		return false
	}
	var n [3]int
	for i, part := range parts {
		var err error
		if n[i], err = strconv.Atoi(part); err != nil {
			return false
		}
	}
	switch {
	case n[0] != 3:
		return n[0] > 3
	case n[1] != 5:
		return n[1] > 5
	}
	return n[2] >= 13
}
