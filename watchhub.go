package etcd

// How watches work, for those who change them.
//
// A Watcher is what the user has (watcher.go); its life is a state machine
// (watchlife.go). The hub puts watchers on streams (this file), a watchStream is one
// stream with its sender and receiver (watchstream.go), and a watchConn looks after all
// streams of one connection (watchconn.go). watchprogress.go says whose progress counts,
// watchintake.go how large responses are taken, watch.go from where a watch begins,
// watchstale.go which watches are reported because no member serves them.
//
//   - A watch from now starts at an explicit revision. The server fills the header of its
//     confirmation after it has registered the watcher, so the client learns the revision
//     first, by a read that is shared only with calls that came before it was sent
//     (nowReader).
//   - Creations are matched in order, and the ID is that of the confirmation: a proxy numbers
//     watches itself. A creation that the server refuses has ID -1 in its answer.
//   - A watch resumes at the revision behind the last complete one. The fragments of a
//     revision that it has received are dropped with the stream.
//   - Fragments are asked for only when needed. etcd measures the whole piece again for each
//     event that it adds, so a piece of ten thousand small events takes it seconds. A watch
//     begins without; a response above its stream's limit ends the stream before it is
//     received, and the head of it says which watch it is for and whether its events are
//     large (then fragments are cheap) or small (then it is taken whole, up to 256 MiB). The
//     other watches of the stream just resume. A response above 2 GiB, a thousand revisions
//     of more than 2 MiB each, is not found: etcd fails to send it and says nothing more on
//     that stream.
//   - A confirmation below the highest revision that the client has seen means a store that
//     has lost its history, or a member that is behind. The watchConn's linearizable read
//     tells which, so it is asked before anything is concluded.
//   - A member without a leader opens streams, may even confirm watches, and ends the stream
//     a moment later. So a watch that was interrupted counts as served when a linearizable
//     read has been answered, which its history needs anyway, or when events have come.
//   - Progress responses of servers before 3.5.13 may overtake events, so they move the point
//     of resumption only when the member's version is known to be newer.
//   - An answer to RequestProgress may be older than a watch. How many are out when a watch
//     is created is counted, and so many answers do not count for it. The server drops the
//     question while any watch of the stream is behind, so it is repeated.
//   - The server is silent about progress on a stream with a watch that is ahead of the store,
//     as a watch from now is until the next change. Its watchConn answers from a read.
//   - The first events of a watch may lack their previous values: the server notes PrevKV a
//     moment after it has begun the watch. Such events are not taken, and the watch is created
//     again from them; three times at most, since a compaction loses previous values too.
//   - A watch with OwnStream has a stream to itself for good, as a slow reader's has for a
//     while. Nothing but its own lag keeps the server from answering a question for
//     progress there, so these are repeated after 2 to 50 ms.
//   - The server queues up to 128 responses per stream; beyond that every change on a key that
//     all watch takes its slow path. So a stream has up to 100 watches.
//   - A slow reader's watch gets a stream to itself, which is read only while its buffer has
//     room; flow control then makes the server wait for that stream only. The watch goes back
//     to a shared stream when its reader has kept up for a minute.
//   - A server may allow fewer streams than there are watch streams
//     (--max-concurrent-streams). The rest would wait in the transport for good, and so would
//     the watchConn's read, which is how it finds out: the streams that the server has taken
//     then serve more than their 100 watches.
//   - A goroutine of a stream or its watchConn that has nothing to do ends, and begins again
//     when it has. The code that begins one holds the lock under which the stream, or all
//     streams of the connection, are marked as over: so a receiver runs then,
//     watchHub.routines is not zero, and close waits for the new one too. Pauses are alarms
//     (internal/alarm), which count likewise.
//   - One read per connection proves its quiet streams alive, not one per stream: it finds a
//     member that answers PINGs and has stopped inside. A connection may drain as long as its
//     streams last; then another one to its endpoint takes the read.
//   - The server catches watches up every 100 ms, so one that resumes behind the current
//     revision may be silent that long.

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// watchHub puts watchers on streams: new ones, those whose stream has ended, and
// those that need one to themselves.
//
// Locks are taken in the order hub.mu, watchStream.mu, Watcher.mu. A watcher is
// put on a stream by the hub, and taken off by that stream's receiver or by its
// own end; so once it is off, nothing of the old stream reaches it.
type watchHub struct {
	engine   *call.Engine
	observer *observer
	now      nowReader
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	routines sync.WaitGroup // streams and the opener

	mu      sync.Mutex // guards the fields below
	closed  bool
	streams map[*watchStream]struct{}
	conns   []*watchConn
	waiting []*Watcher // for a stream, in order
	opening bool       // the opener runs
	inHand  []*Watcher // a copy of those that the opener has taken out of waiting
	// interrupted are watches that have left their member and may become stale.
	interrupted map[*Watcher]struct{}
	patrolling  bool // the patrol runs
	room        int  // how many watchers a stream takes
	// failures counts streams, in a row, that could not be opened, or ended soon and
	// had delivered nothing. lastErr is why the last one did, failedAt when, and notBefore when the next one
	// may be opened.
	failures            int
	lastErr             *call.Error
	failedAt, notBefore time.Time
}

const (
	// watchersPerStream: the server keeps up to 128 responses for a stream; with
	// more watchers than that on one key, each change would overflow it.
	watchersPerStream = 100
	// creationsPerStream is when a stream takes no new watchers: the server
	// never quite forgets a cancelled one.
	creationsPerStream = 10_000
	// watchStable is how long a stream must have lived for its end to be no failure
	// although it has delivered nothing.
	watchStable = time.Second
)

// watchBackoff is how long no stream is opened while that fails.
var watchBackoff = backoff.Backoff{First: 20 * time.Millisecond, Cap: 2 * time.Second}

func newWatchHub(engine *call.Engine, observer *observer) *watchHub {
	h := &watchHub{
		engine: engine, observer: observer, now: nowReader{engine: engine}, room: watchersPerStream,
		streams: make(map[*watchStream]struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// add puts a new watcher on a stream and waits until it is confirmed.
func (h *watchHub) add(ctx context.Context, w *Watcher) error {
	bounded, cancel := h.engine.BoundAll(ctx)
	defer cancel()
	if err := h.place(w); err != nil { //nolint:contextcheck // a stale watch is reported without a context
		return err
	}
	err := w.waitCreated(bounded)
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	h.remove(w, errWatchClosed)
	return h.giveUp(ctx, bounded)
}

// giveUp is the error of a Watch whose time ran out before it was confirmed.
func (h *watchHub) giveUp(ctx, bounded context.Context) error {
	e := call.Abandoned(bounded, rpc.Watch, "")
	if ctx.Err() == nil {
		e.Message, e.Sentinel, e.Cause, e.Transient = context.Cause(bounded).Error(), ErrTimeout, nil, true
	}
	return public(e.After(h.trouble()))
}

// place puts w on a stream with room, or has it wait for one.
func (h *watchHub) place(w *Watcher) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return public(call.Closed(rpc.Watch.Op))
	}
	if len(h.waiting) > 0 || !h.shareLocked(w) {
		h.waitLocked(w)
	}
	return nil
}

// shareLocked puts w on a stream that is there already, if one has room.
func (h *watchHub) shareLocked(w *Watcher) bool {
	for s := range h.streams {
		if s.Conn.State() == transport.Ready && s.attach(w) {
			return true
		}
	}
	return false
}

// waitLocked has w wait, and sees that the opener runs.
func (h *watchHub) waitLocked(w *Watcher) {
	h.waiting = append(h.waiting, w)
	h.interruptedLocked(w)
	if !h.opening {
		h.opening = true
		h.routines.Go(h.open)
	}
}

// open is the opener: it opens streams until no watcher waits for one.
func (h *watchHub) open() {
	var revived <-chan struct{} // nil while members can be reached
	for {
		batch, kind, pause := h.nextBatch()
		if batch == nil {
			return
		}
		if !h.rest(pause, revived) {
			h.endAll(batch)
			return
		}
		if batch = h.share(batch); len(batch) == 0 {
			continue
		}
		up := h.engine.Set.Revived()
		s, err := h.openStream(kind)
		if revived = nil; err != nil && err.Unreachable() {
			revived = up
		}
		if err != nil {
			h.failed(err)
			h.requeue(batch, err)
			continue
		}
		h.start(s, batch)
	}
}

// rest waits before the next stream, no longer than until a member that could not be reached
// is back. It returns false when the hub is closed meanwhile.
func (h *watchHub) rest(pause time.Duration, revived <-chan struct{}) bool {
	if pause <= 0 {
		return true
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-revived:
	case <-h.ctx.Done():
		return false
	}
	return true
}

// nextBatch takes watchers that will share a stream out of those that wait, with the
// stream's kind and how long to pause before opening it. It ends the opener when
// there are none.
func (h *watchHub) nextBatch() ([]*Watcher, streamKind, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inHand = nil
	if len(h.waiting) == 0 || h.closed {
		h.opening = false
		return nil, streamKind{}, 0
	}
	kind := h.waiting[0].kind()
	n := 1
	for !kind.alone && n < len(h.waiting) && n < h.room && h.waiting[n].kind() == kind {
		n++
	}
	batch := h.waiting[:n:n]
	h.waiting = h.waiting[n:]
	if len(h.waiting) == 0 {
		h.waiting = nil
	}
	h.inHand = slices.Clone(batch)
	return batch, kind, time.Until(h.notBefore)
}

// share returns those of a batch for which no stream has room, without those that have ended.
func (h *watchHub) share(batch []*Watcher) []*Watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := batch[:0]
	for _, w := range batch {
		if !w.hasEnded() && !h.shareLocked(w) {
			left = append(left, w)
		}
	}
	h.inHand = slices.Clone(left)
	return left
}

// openStream opens a stream to a member.
func (h *watchHub) openStream(kind streamKind) (*watchStream, *call.Error) {
	stream, err := h.engine.Open(h.ctx, call.Request{Method: rpc.Watch}, call.StreamOptions{
		MaxMessage: kind.maxMessage, OnSuspect: h.suspect,
	})
	if err != nil {
		return nil, err
	}
	return newWatchStream(h, stream, kind), nil
}

func (h *watchHub) roomNow() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.room
}

// start puts a batch on a new stream and starts its goroutines. It closes the stream if all
// watchers have ended meanwhile: no other would, since it closes when the last one leaves.
func (h *watchHub) start(s *watchStream, batch []*Watcher) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		s.Close()
		h.endAll(batch)
		return
	}
	h.inHand = nil
	for _, w := range batch {
		if !s.attach(w) {
			h.waitLocked(w)
		}
	}
	if s.isDeserted() {
		h.mu.Unlock()
		s.Close()
		return
	}
	h.streams[s] = struct{}{}
	h.joinLocked(s)
	s.start()
	h.mu.Unlock()
}

// requeue has a batch wait again after err. Those that were never confirmed end when
// there is no hope; a watch that has run goes on trying, unless the user is locked
// out. In an outage nothing else forgets the watches that their users have given up.
func (h *watchHub) requeue(batch []*Watcher, err *call.Error) {
	if err.Hopeless() {
		batch = endHopeless(batch, err, !h.lockedOut(err))
	}
	batch = endLeaderless(batch, err)
	h.mu.Lock()
	closed := h.closed
	h.inHand = nil
	if !closed {
		h.waiting = slices.DeleteFunc(append(batch, h.waiting...), (*Watcher).hasEnded)
	}
	h.mu.Unlock()
	if closed {
		h.endAll(batch)
	}
}

// endHopeless ends those of a batch that no further stream would serve. With keep it
// returns those that a member has served before.
func endHopeless(batch []*Watcher, err *call.Error, keep bool) []*Watcher {
	return slices.DeleteFunc(batch, func(w *Watcher) bool {
		if keep && w.hasBegun() {
			return false
		}
		w.end(err)
		return true
	})
}

// failed notes that a stream could not be opened, ended at once, or has refused a watch.
func (h *watchHub) failed(err *call.Error) {
	h.mu.Lock()
	h.failedLocked(err)
	h.mu.Unlock()
}

func (h *watchHub) failedLocked(err *call.Error) {
	now := time.Now()
	if now.Sub(h.failedAt) > 2*watchBackoff.Cap {
		h.failures = 0
	}
	h.lastErr, h.failedAt, h.notBefore = err, now, now.Add(watchBackoff.Jittered(h.failures))
	if err.Unreachable() { // the dials have their own backoff
		h.notBefore = now.Add(max(watchBackoff.Jittered(0), time.Until(h.engine.Set.NextTry(balance.Watch))))
	}
	h.failures++
}

// trouble is why no stream can be had; nil when the last one that was opened works.
func (h *watchHub) trouble() *call.Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lastErr
}

// worked notes that a stream has delivered something.
func (h *watchHub) worked() {
	h.mu.Lock()
	h.failures, h.lastErr, h.notBefore = 0, nil, time.Time{}
	h.mu.Unlock()
}

// isFailure reports whether the end of the stream has the next one wait. Where the
// connection is lost, the wait for another one will do.
func (s *watchStream) isFailure(confirmed bool) bool {
	lost := s.Conn.State() >= transport.Draining
	return !confirmed || !s.proven && !lost && time.Since(s.opened) < watchStable
}

// resume takes the watchers of a stream that has ended and has them wait for another.
// What resets the backoff is a stream that has lived or delivered, and never a
// confirmation alone: a proxy that confirms and ends at once would be asked in a loop.
func (h *watchHub) resume(s *watchStream, err *call.Error) {
	deserted := s.isEnded()
	confirmed := s.isTaken()
	orphans := s.release(err)
	if !confirmed {
		orphans = endLeaderless(orphans, err)
	}
	if err.Hopeless() {
		// A learner may get a vote, or other endpoints come. Nothing else changes.
		orphans = endHopeless(orphans, err, err.Sentinel == ErrNotSupportedForLearner)
	}
	h.mu.Lock()
	delete(h.streams, s)
	h.leaveLocked(s)
	if !deserted && s.isFailure(confirmed) && s.opened.After(h.failedAt) {
		h.failedLocked(err) // streams that end together are one failure
	}
	closed := h.closed
	if !closed {
		for _, w := range orphans {
			h.waitLocked(w)
		}
	}
	h.mu.Unlock()
	if closed {
		h.endAll(orphans)
	}
}

// endLeaderless ends those of a batch that are not to wait for a leader, when a
// stream has had none from the beginning, and returns the others.
func endLeaderless(batch []*Watcher, err *call.Error) []*Watcher {
	if err.Sentinel != ErrNoLeader {
		return batch
	}
	return slices.DeleteFunc(batch, func(w *Watcher) bool {
		if w.endLeaderless {
			w.end(err)
		}
		return w.endLeaderless
	})
}

// lockedOut: the server does not accept the user's name and password, and the
// client will have no others.
func (h *watchHub) lockedOut(err *call.Error) bool {
	return err.BlamesUser() && !h.engine.CredentialsMayChange()
}

// historyReset ends the watches that have seen revisions beyond the one to
// which the cluster has fallen back. One that is between two streams ends when it
// has the next.
func (h *watchHub) historyReset(revision int64) {
	h.mu.Lock()
	streams := slices.Collect(maps.Keys(h.streams))
	h.mu.Unlock()
	for _, s := range streams {
		h.endBeyond(s.seen(), s.Endpoint(), revision)
	}
}

// seen is, for each watcher, the highest revision of which it knows.
func (s *watchStream) seen() map[*Watcher]int64 {
	seen := make(map[*Watcher]int64)
	for _, w := range s.all() {
		w.mu.Lock()
		seen[w] = w.seen
		w.mu.Unlock()
	}
	return seen
}

// endBeyond ends those of the watchers that have seen more than is left, of which a
// member has learned.
func (h *watchHub) endBeyond(seen map[*Watcher]int64, endpoint string, revision int64) {
	for w, seen := range seen {
		if seen > revision {
			h.engine.HistoryReported()
			h.remove(w, &call.Error{Op: rpc.Watch.Op, Endpoint: endpoint, Code: transport.OutOfRange, Sentinel: ErrHistoryReset})
		}
	}
}

// move has a watcher wait that has left its stream.
func (h *watchHub) move(w *Watcher) {
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.waitLocked(w)
	}
	h.mu.Unlock()
	if closed {
		h.endAll([]*Watcher{w})
	}
}

// remove ends a watch with err, if it has not ended, and has the server cancel it.
func (h *watchHub) remove(w *Watcher, err *call.Error) {
	if stream, first := w.end(err); first && stream != nil {
		stream.forget(w)
	}
}

func (h *watchHub) endAll(watchers []*Watcher) {
	for _, w := range watchers {
		w.end(call.Closed(rpc.Watch.Op))
	}
}

// count is how many watches live, on how many streams, and how many of them no member
// serves.
func (h *watchHub) count() (watches, streams, unserved int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[*Watcher]struct{}) // one that moves may be in two places
	add := func(watchers []*Watcher) {
		for _, w := range watchers {
			all[w] = struct{}{}
		}
	}
	add(h.waiting)
	add(h.inHand)
	for s := range h.streams {
		add(s.toCount())
	}
	for w := range all {
		switch w.phaseNow() {
		case phaseEnded:
		case phaseServed:
			watches++
		default:
			watches, unserved = watches+1, unserved+1
		}
	}
	return watches, len(h.streams), unserved
}

// close ends every watch with ErrClosed and waits for the goroutines.
func (h *watchHub) close() {
	h.mu.Lock()
	h.closed = true
	waiting := h.waiting
	h.waiting = nil
	streams := slices.Collect(maps.Keys(h.streams))
	h.mu.Unlock()
	h.cancel()
	h.endAll(waiting)
	for _, s := range streams {
		s.Close() // its receiver hands the watchers to resume
	}
	h.routines.Wait()
}
