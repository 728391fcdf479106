package concurrency

import (
	"context"
	"slices"
	"sync"
	"time"

	"silly.store/etcd"
)

// A hub watches deletions below one prefix, or of one key, for all contenders of this
// process. So a hand-off is the holder's deletion and one event, without a read.
//
// It has no goroutine for waiters: one of them reads the watch for all. It has one while
// locks are held for longer than heldUnwatched, since it also watches their keys.
//
// A deletion counts for a member only if it is later than the revision at which the member
// has last seen the keys: keys are reused, and the watch may be behind. And a member must
// see every deletion after that revision: it joins before it reads or writes, so that the
// hub keeps later deletions for it.

// hubs are the hubs of a coordinator.
type hubs struct {
	co *Coordinator

	mu     sync.Mutex // guards the fields below, all hubs and all members
	all    map[hubKey]*hub
	closed bool
}

type hubKey struct {
	key   string
	exact bool // key alone, and not as a prefix
}

type hub struct {
	hubKey
	of *hubs

	// hubs.mu guards the fields below.

	start   int64         // the watch's first revision; 0: there is no watch and none is needed
	at      int64         // the last revision with a deletion that it has brought
	watch   *etcd.Watcher // nil: it is to be opened at start
	reading bool          // one of its members, or the goroutine for holders, reads the watch
	members []*member
	first   [1]*member // room for one, in which members begins
	idle    *time.Timer
	holders int                // members that are watched without waiting
	stop    context.CancelFunc // of the goroutine that reads for holders; nil: there is none
	// nudge is of capacity 1: a holder must be looked at, or nobody reads. nil until there is
	// a holder.
	nudge chan struct{}
}

type deletion struct {
	key      string
	revision int64
}

// come makes a member of the hub for the key, whose wait ends with the session if there is
// one. Call it before the request whose answer it will join with.
func (hs *hubs) come(of hubKey, own string, s *Session) *member {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.all[of]
	if h == nil {
		h = &hub{hubKey: of, of: hs}
		h.members = h.first[:0]
		if hs.all == nil {
			hs.all = make(map[hubKey]*hub)
		}
		hs.all[of] = h
	}
	if h.idle != nil {
		h.idle.Stop()
		h.idle = nil
	}
	m := &member{hub: h, pos: len(h.members), key: own, session: s, from: h.at}
	h.members = append(h.members, m)
	return m
}

// applied takes a response of the watch, whole revisions of it, and then wakes whom it
// concerns.
func (h *hub) applied(resp *etcd.WatchResponse) {
	h.of.mu.Lock()
	var ended []*Lock
	for i := range resp.Events {
		kv := &resp.Events[i].KV
		d := deletion{kv.Key, kv.ModRevision}
		h.at = d.revision
		for _, m := range h.members {
			switch {
			case !m.in:
				m.missed = append(m.missed, d)
			case m.deletedLocked(d):
				ended = append(ended, m.held)
			}
		}
	}
	h.wakeLocked()
	h.of.mu.Unlock()
	for _, l := range ended {
		l.deleted()
	}
}

// wakeLocked wakes the members that do not only wait, and the goroutine for holders.
func (h *hub) wakeLocked() {
	signal(h.nudge)
	for _, m := range h.members {
		if m.wake != nil && m.standingLocked() != standsWaiting {
			signal(m.wake)
		}
	}
}

// passLocked has another read the watch if nobody does. reads: the caller does, and ceases.
func (h *hub) passLocked(reads bool) {
	h.reading = h.reading && !reads
	if h.reading {
		return
	}
	for _, m := range h.members {
		if m.waits && m.wake != nil {
			signal(m.wake)
			return
		}
	}
	signal(h.nudge)
}

// signal wakes who receives from c, if there is a c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// read takes one response of the watch; the caller has the right to. It reports whether it
// has opened the watch. The end of s ends it.
func (h *hub) read(ctx context.Context, s *Session) (opened bool) {
	h.of.mu.Lock()
	w, start := h.watch, h.start
	h.of.mu.Unlock()
	if w == nil {
		return start != 0 && h.open(ctx, s, start)
	}
	resp, err := w.Read(ctx)
	switch {
	case err == nil && resp.Resumed:
		h.resumed()
	case err == nil:
		h.applied(resp)
	case ctx.Err() != nil:
	case etcd.HistoryLost(err):
		h.restart()
	default:
		h.fail(w, err)
	}
	return false
}

// hubBuffer is how many bytes of events an idle hub keeps: deletions have no values.
const hubBuffer = 64 << 10

// open makes the watch. On a busy store it begins behind, and etcd looks after such watches
// only every 100 ms. The waiter that has opened the watch reads the keys once more, to see a
// release of that time.
func (h *hub) open(ctx context.Context, s *Session, start int64) bool {
	if s != nil {
		var cancel context.CancelFunc
		ctx, cancel = joined(ctx, s.life)
		defer cancel()
	}
	w, err := h.of.co.client.Watch(ctx, etcd.WatchRequest{
		Key: h.key, Prefix: !h.exact, NoPut: true, Revision: start, BufferBytes: hubBuffer, NotifyResume: true,
	})
	switch {
	case err == nil:
		h.of.mu.Lock()
		defer h.of.mu.Unlock()
		if h.start != start { // the last member has left meanwhile
			_ = w.Close() // it is always nil
			return false
		}
		h.watch = w
		return true
	case ctx.Err() != nil:
	case etcd.Temporary(err):
		pause(ctx, 3)
	default:
		h.fail(nil, err)
	}
	return false
}

// resumed has all read the keys again, because another stream has taken the watch over: a
// member before 3.5.16 may leave out a deletion at the revision of a compaction.
func (h *hub) resumed() {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	for _, m := range h.members {
		m.stale = m.stale || m.in
	}
	h.wakeLocked()
}

// restart ends a watch that has lost events: all must read the keys again.
func (h *hub) restart() {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	h.restartLocked()
}

func (h *hub) restartLocked() {
	h.endLocked()
	for _, m := range h.members {
		m.stale = m.stale || m.in
		m.outLocked()
		m.from, m.missed = 0, nil
	}
	h.wakeLocked()
}

// endLocked ends the watch; the next that joins has another one opened.
func (h *hub) endLocked() {
	if h.watch != nil {
		_ = h.watch.Close() // it is always nil
	}
	h.watch, h.start, h.at = nil, 0, 0
}

// fail ends the waits of all members, because the watch w (nil: that which was to be opened)
// is refused.
func (h *hub) fail(w *etcd.Watcher, err error) {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if h.watch != w {
		return // it was ended here
	}
	h.endLocked()
	for _, m := range h.members {
		if m.in && m.held == nil {
			m.err = err
		}
		m.unwatchLocked()
	}
	h.wakeLocked()
}

// hubIdle is how long a hub stays open without members.
const hubIdle = 30 * time.Second

// emptyLocked closes a hub without members, now or later. long: see leave.
func (h *hub) emptyLocked(long bool) {
	if long || h.exact || h.watch == nil || h.of.closed {
		h.closeLocked()
		return
	}
	h.idle = time.AfterFunc(hubIdle, h.closeIdle)
}

// removeLocked takes m off the list of members.
func (h *hub) removeLocked(m *member) {
	last := len(h.members) - 1
	moved := h.members[last]
	h.members[m.pos], moved.pos = moved, m.pos
	h.members[last] = nil
	h.members = h.members[:last]
	m.pos = -1
}

func (h *hub) closeIdle() {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if len(h.members) == 0 {
		h.closeLocked()
	}
}

func (h *hub) closeLocked() {
	if h.idle != nil {
		h.idle.Stop()
		h.idle = nil
	}
	h.endLocked()
	if h.of.all[h.hubKey] == h {
		delete(h.of.all, h.hubKey)
	}
}

// close ends the hubs without members, with the coordinator.
func (hs *hubs) close() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.closed = true
	for _, h := range hs.all {
		if len(h.members) == 0 {
			h.closeLocked()
		}
	}
}

// ended ends the waits on a session that has ended. Only the end of the watch wakes the
// waiter that reads it; then the others read their keys again.
func (hs *hubs) ended(s *Session) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.all {
		if !slices.ContainsFunc(h.members, func(m *member) bool { return m.waits && m.session == s }) {
			continue
		}
		if h.reading {
			h.restartLocked()
		}
		h.wakeLocked()
	}
}
