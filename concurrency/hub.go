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
// It has no goroutine for those who wait: one of them reads the watch for all. It has one
// while locks are held for longer than heldUnwatched, whose keys are watched as well.
//
// A deletion counts for a member only if it is later than the revision at which the member
// has last seen the keys: keys are used again, and the watch may be behind. And a member
// must have seen every deletion after that revision: it joins before it reads or writes, so
// that the hub keeps for it what comes meanwhile.

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

	// reading is of capacity 1. A value in it is the right to read the watch.
	reading chan struct{}
	// nudge is of capacity 1: a holder must be looked at.
	nudge chan struct{}

	// hubs.mu guards the fields below.

	start   int64         // the watch's first revision; 0: there is no watch and none is needed
	at      int64         // the last revision with a deletion that it has brought
	watch   *etcd.Watcher // nil: it is to be opened at start
	members map[*member]struct{}
	index   map[string][]*member // by the keys that they wait for, own keys included
	idle    *time.Timer
	holders int                // members that are watched without waiting
	stop    context.CancelFunc // of the goroutine that reads for holders; nil: there is none
}

// member is a contender in a hub. Its fields are guarded by hubs.mu.
type member struct {
	hub  *hub
	key  string        // its own; its deletion is the end of its place or holding
	in   bool          // it has joined, and is in the index
	wake chan struct{} // capacity 1: something has happened; nil while it does not wait

	// from is where the hub was when the member came. missed are deletions since then that
	// have come before it joined.
	from   int64
	missed []deletion

	seen   int64            // the revision at which it has read the keys
	before map[string]int64 // the weights of the keys that it waits for
	sum    int64            // of these
	budget int64            // what sum may be

	gone  bool  // its own key was deleted
	stale bool  // the watch has ended or moved: it must read the keys again
	err   error // the watch cannot go on

	// Of one that holds.
	created  int64  // its key's create revision
	held     func() // called when its key is deleted
	watching bool   // it counts as one of holders
}

type deletion struct {
	key      string
	revision int64
}

// come makes a member of the hub for the key. Call it before the request whose
// answer it will join with.
func (hs *hubs) come(of hubKey, own string) *member {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.all[of]
	if h == nil {
		h = &hub{
			hubKey: of, of: hs, reading: make(chan struct{}, 1), nudge: make(chan struct{}, 1),
			members: make(map[*member]struct{}), index: make(map[string][]*member),
		}
		if hs.all == nil {
			hs.all = make(map[hubKey]*hub)
		}
		hs.all[of] = h
	}
	if h.idle != nil {
		h.idle.Stop()
		h.idle = nil
	}
	m := &member{hub: h, key: own, from: h.at}
	h.members[m] = struct{}{}
	return m
}

// outset is what a member knows of the keys when it joins.
type outset struct {
	revision int64 // of the answer that says so
	before   map[string]int64
	budget   int64
}

// join has m wait for the deletions of the keys before it. It returns false when the hub
// cannot tell all deletions since the outset; the keys must then be read again.
func (m *member) join(o outset) bool {
	hs := m.hub.of
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := m.hub
	if h.start == 0 {
		h.start = o.revision + 1
	}
	if m.wake == nil {
		m.wake = make(chan struct{}, 1)
	}
	return m.enterLocked(o)
}

// enterLocked puts m into the index.
func (m *member) enterLocked(o outset) bool {
	h := m.hub
	if h.start > o.revision+1 || m.from > o.revision {
		return false
	}
	m.in, m.stale, m.seen, m.before, m.budget = true, false, o.revision, o.before, o.budget
	m.sum = 0
	for key, weight := range m.before {
		m.sum += weight
		h.index[key] = append(h.index[key], m)
	}
	h.index[m.key] = append(h.index[m.key], m)
	missed := m.missed
	m.missed = nil
	for _, d := range missed {
		m.deletedLocked(d)
	}
	return true
}

// again takes m out of the index, before it reads the keys again.
func (m *member) again() {
	hs := m.hub.of
	hs.mu.Lock()
	defer hs.mu.Unlock()
	m.outLocked()
	m.from, m.missed = m.hub.at, nil
}

func (m *member) outLocked() {
	if !m.in {
		return
	}
	m.in = false
	m.hub.dropLocked(m.key, m)
	for key := range m.before {
		m.hub.dropLocked(key, m)
	}
	m.before = nil
}

func (h *hub) dropLocked(key string, m *member) {
	list := h.index[key]
	for i, other := range list {
		if other == m {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(h.index, key)
		return
	}
	h.index[key] = list
}

// standing is where a member is.
type standing uint8

const (
	standsWaiting standing = iota
	standsClear            // nothing is before it any more
	standsGone             // its own key was deleted
	standsStale            // it must read the keys again
	standsFailed           // the watch cannot go on; member.err says why
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
	if d.revision <= m.seen {
		return false
	}
	if d.key == m.key {
		m.gone = true
		m.hub.dropLocked(d.key, m)
		return m.held != nil
	}
	if weight, waits := m.before[d.key]; waits {
		m.sum -= weight
		delete(m.before, d.key)
		m.hub.dropLocked(d.key, m)
	}
	return false
}

// applied takes a response of the watch, whole revisions of it, and then wakes whom it
// concerns.
func (h *hub) applied(resp *etcd.WatchResponse) {
	h.of.mu.Lock()
	var ended []func()
	for i := range resp.Events {
		kv := &resp.Events[i].KV
		d := deletion{kv.Key, kv.ModRevision}
		h.at = d.revision
		for _, m := range slices.Clone(h.index[d.key]) {
			if m.deletedLocked(d) {
				ended = append(ended, m.held)
			}
		}
		for m := range h.members {
			if !m.in {
				m.missed = append(m.missed, d)
			}
		}
	}
	h.wakeLocked()
	h.of.mu.Unlock()
	for _, f := range ended {
		f()
	}
}

// wakeLocked wakes the members that do not only wait, and the goroutine for holders.
func (h *hub) wakeLocked() {
	signal(h.nudge)
	for m := range h.members {
		if m.wake != nil && m.standingLocked() != standsWaiting {
			signal(m.wake)
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// await waits until m does not only wait.
func (m *member) await(ctx context.Context) (standing, error) {
	h := m.hub
	for {
		if st := m.standing(); st != standsWaiting {
			return st, nil
		}
		select {
		case <-m.wake:
		case <-ctx.Done():
			return standsWaiting, context.Cause(ctx)
		case h.reading <- struct{}{}:
			opened := h.read(ctx)
			<-h.reading
			if opened && m.standing() == standsWaiting {
				return standsStale, nil // see open
			}
		}
	}
}

// read takes one response of the watch; the caller has the right to. It reports whether it
// has opened the watch.
func (h *hub) read(ctx context.Context) (opened bool) {
	h.of.mu.Lock()
	w, start := h.watch, h.start
	h.of.mu.Unlock()
	if w == nil {
		return start != 0 && h.open(ctx, start)
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
		h.fail(err)
	}
	return false
}

// hubBuffer is how many bytes of events an idle hub keeps: deletions have no values.
const hubBuffer = 64 << 10

// open makes the watch. On a busy store it begins behind, and etcd looks after such watches
// only every 100 ms. The waiter that has opened the watch reads the keys once more, to see a
// release of that time.
func (h *hub) open(ctx context.Context, start int64) bool {
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
		h.fail(err)
	}
	return false
}

// resumed has all read the keys again, because another stream has taken the watch over: a
// member before 3.5.16 may leave out a deletion at the revision of a compaction.
func (h *hub) resumed() {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	for m := range h.members {
		m.stale = m.stale || m.in
	}
	h.wakeLocked()
}

// restart ends a watch that has lost events: all must read the keys again.
func (h *hub) restart() {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	h.endLocked()
	for m := range h.members {
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

// fail ends the waits of all members, because the watch is refused.
func (h *hub) fail(err error) {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	h.endLocked()
	for m := range h.members {
		if m.in && m.held == nil {
			m.err = err
		}
		m.unwatchLocked()
	}
	h.wakeLocked()
}

// hubIdle is how long a hub stays open without members.
const hubIdle = 30 * time.Second

// leave ends the membership. long: the queue is longer than what a hub is for, so that it
// would wake this process for nothing.
func (m *member) leave(long bool) {
	h := m.hub
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if _, there := h.members[m]; !there {
		return
	}
	m.outLocked()
	delete(h.members, m)
	m.unwatchLocked()
	switch {
	case len(h.members) > 0:
	case long || h.exact || h.watch == nil:
		h.closeLocked()
	default:
		h.idle = time.AfterFunc(hubIdle, h.closeIdle)
	}
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
