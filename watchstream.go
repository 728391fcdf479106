package etcd

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"silly.store/etcd/internal/alarm"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// watchStream is one watch stream to a member, with the watchers on it. It has
// two goroutines: send writes requests in the order of the outbox and ends when there are
// none, receive reads responses and hands them out. Neither makes a call: what a stream
// wants to know of its member, its watchConn asks.
type watchStream struct {
	*call.Stream
	hub    *watchHub
	conn   *watchConn // that looks after it
	kind   streamKind
	opened time.Time

	// proven: it has confirmed a watch and delivered something. Only the receiver uses
	// it.
	proven bool

	mu sync.Mutex // guards the fields below

	ended    bool
	sending  bool        // send runs, or must not
	asking   bool        // progress is asked for until it has been answered
	asked    int         // how often in a row
	looked   time.Time   // when conn was to look last, since it is asked for
	again    alarm.Alarm // has progress asked for once more
	outdated bool        // its token is no longer accepted: it takes no new watchers
	reason   *call.Error // why the client has ended it; nil when the server has
	answers  bool        // the server has answered a creation
	room     int         // for so many watchers
	// unchecked: it has watchers whose history must be checked: those that another
	// stream had before, and those that know of revisions which the member has not.
	unchecked bool
	alone     *Watcher // the only one it may have
	seats     int64    // how many watchers it has had
	// creating are the watchers whose creation the server has not answered, in the
	// order in which it will; nil stands for one that has left. confirmed are the
	// others, by the server's ID.
	creating  []*Watcher
	confirmed map[int64]*Watcher
	released  []*Watcher // that it had when it ended, until the hub has them
	outbox    []watchRequest
	// progressOpen counts requests for progress without an answer; there need
	// never be one.
	progressOpen int
	heard        time.Time // when the last response came
	held         []heldProgress
}

func newWatchStream(h *watchHub, stream *call.Stream, kind streamKind) *watchStream {
	s := &watchStream{
		Stream: stream, hub: h, kind: kind,
		opened:    time.Now(),
		sending:   true, // until it starts
		room:      h.roomNow(),
		confirmed: make(map[int64]*Watcher),
		heard:     time.Now(),
	}
	s.again = alarm.Of(&h.routines, s.askAgain)
	return s
}

// start starts the goroutines.
func (s *watchStream) start() {
	s.hub.routines.Go(s.send)
	s.hub.routines.Go(s.receive)
}

// attach puts w on the stream and queues its creation. It reports false when
// the stream takes no more.
func (s *watchStream) attach(w *Watcher) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.outdated || s.alone != nil || s.sizeLocked() >= s.room || s.seats >= creationsPerStream {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life.phase != phaseWaiting {
		return true // it has ended meanwhile: nothing to do
	}
	switch {
	case w.kindLocked() != s.kind:
		return false
	case s.kind.alone && s.sizeLocked() > 0:
		return false
	case s.kind.alone:
		s.alone = w
	}
	s.seats++
	w.placeLocked(s, s.seats, s.progressOpen)
	create := w.create
	create.WatchID = s.seats // a wish: a proxy numbers watches itself
	create.StartRevision = w.next
	create.Fragment = w.intake == intakeFragments
	s.creating = append(s.creating, w)
	s.unchecked = s.unchecked || w.life.begun
	s.outbox = append(s.outbox, watchRequest{Create: &create})
	if w.asked {
		s.askProgressLocked()
	}
	s.sendLocked()
	return true
}

// sendLocked sees that the outbox is sent. The receiver of a stream that has not ended runs,
// so that hub.routines is not zero.
func (s *watchStream) sendLocked() {
	s.looked = time.Time{} // it may be another watcher that asks
	if s.sending || s.ended {
		return
	}
	s.sending = true
	s.hub.routines.Go(s.send)
}

// sizeLocked is how many watchers it has.
func (s *watchStream) sizeLocked() int {
	n := len(s.confirmed)
	for _, w := range s.creating {
		if w != nil {
			n++
		}
	}
	return n
}

// allLocked are its watchers, in the order in which they came.
func (s *watchStream) allLocked() []*Watcher {
	all := slices.AppendSeq(make([]*Watcher, 0, len(s.confirmed)+len(s.creating)), maps.Values(s.confirmed))
	for _, w := range s.creating {
		if w != nil {
			all = append(all, w)
		}
	}
	return all
}

func (s *watchStream) all() []*Watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allLocked()
}

// toCount are its watchers and, after its end, those that it has had until then. Other
// streams or the hub may have some of them.
func (s *watchStream) toCount() []*Watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(s.allLocked(), s.released...)
}

// forget drops a watcher that has left the stream, and has the server cancel it. The
// last one takes the stream with it.
func (s *watchStream) forget(w *Watcher) {
	s.mu.Lock()
	if i := slices.Index(s.creating, w); i >= 0 {
		s.creating[i] = nil // takeAnswer cancels it
	} else if id, ok := s.idLocked(w); ok {
		delete(s.confirmed, id)
		s.cancelLocked(id)
	}
	last := s.sizeLocked() == 0
	s.ended = s.ended || last
	s.mu.Unlock()
	if last {
		s.Close()
	}
}

func (s *watchStream) idLocked(w *Watcher) (id int64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id = w.life.id
	return id, s.confirmed[id] == w
}

func (s *watchStream) cancelLocked(id int64) {
	s.outbox = append(s.outbox, watchRequest{Cancel: &watchCancelRequest{WatchID: id}})
	s.sendLocked()
}

// isDeserted: it has no watcher.
func (s *watchStream) isDeserted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sizeLocked() == 0
}

// isEnded: the last watcher has left it, so that the client has closed it.
func (s *watchStream) isEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// release takes every watcher off a stream that has ended, in the order in which they
// came, which is the order in which their users wait.
func (s *watchStream) release(reason *call.Error) []*Watcher {
	s.mu.Lock()
	all := s.allLocked()
	s.ended, s.creating, s.confirmed = true, nil, nil
	s.released = slices.Clone(all)
	s.again.Stop()
	s.mu.Unlock()
	all = slices.DeleteFunc(all, func(w *Watcher) bool { return !w.leaveEnded(s, reason) })
	slices.SortFunc(all, func(a, b *Watcher) int { return cmp.Compare(a.life.seat, b.life.seat) })
	return all
}

func (s *watchStream) requestProgress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.askProgressLocked()
		s.sendLocked()
	}
}

// askProgressLocked queues a question for the sender, which it does not wake.
func (s *watchStream) askProgressLocked() {
	s.asking = true
	s.progressOpen++
	s.outbox = append(s.outbox, watchRequest{Progress: &watchProgressRequest{}})
}

// askAgain asks for progress once more if a watcher still waits for an answer. It is what
// the alarm calls.
func (s *watchStream) askAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asking || s.ended {
		return
	}
	s.asked++
	if s.asking = slices.ContainsFunc(s.allLocked(), (*Watcher).wantsProgress); !s.asking {
		s.asked, s.looked = 0, time.Time{}
		return
	}
	s.askProgressLocked()
	if !s.sending {
		s.sending = true
		s.hub.routines.Go(s.send)
	}
}

// watchAgain is how long a stream waits before it asks again what was not answered.
const watchAgain = time.Second

// ownAgain is how long it waits when it has one watch for good: nothing but that watch's
// own lag keeps the server from answering, and its user waits for the answer.
var ownAgain = backoff.Backoff{First: 2 * time.Millisecond, Cap: 50 * time.Millisecond}

// pauseLocked is how long the stream waits for an answer about progress.
func (s *watchStream) pauseLocked() time.Duration {
	if s.alone != nil && s.alone.own {
		return ownAgain.Span(s.asked)
	}
	return watchAgain
}

// send is the sender.
func (s *watchStream) send() {
	m := newMessage()
	defer m.release()
	for out := s.takeOutbox(); len(out) > 0; out = s.takeOutbox() {
		for _, req := range out {
			m.bytes = req.appendWire(m.bytes[:0])
			if err := s.Send(s.hub.ctx, m.bytes); err != nil {
				return // the receiver learns it too
			}
		}
	}
}

// takeOutbox is what is to be sent. If that is nothing the sender ends.
func (s *watchStream) takeOutbox() []watchRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.outbox
	s.outbox = nil
	if s.unchecked {
		s.conn.look()
	}
	if len(out) == 0 {
		s.sending = false
		s.awaitProgressLocked()
	}
	return out
}

// awaitProgressLocked has progress asked for again if there is no answer soon.
func (s *watchStream) awaitProgressLocked() {
	switch {
	case s.ended:
	case !s.asking:
		s.asked, s.looked = 0, time.Time{}
	default:
		if time.Since(s.looked) >= watchAgain {
			s.conn.look() // a watcher may be ahead of the store
			s.looked = time.Now()
		}
		s.again.Set(s.pauseLocked())
	}
}

// end ends the stream from this side; its watchers go elsewhere.
func (s *watchStream) end(reason *call.Error) {
	s.mu.Lock()
	if s.reason == nil {
		s.reason = reason
	}
	s.mu.Unlock()
	s.Close()
}

// receive is the receiver. When the stream ends it hands its watchers back.
func (s *watchStream) receive() {
	err := s.receiveAll()
	s.mu.Lock()
	if s.reason != nil {
		err = s.reason
	}
	s.mu.Unlock()
	s.Close()
	s.hub.resume(s, err)
}

func (s *watchStream) receiveAll() *call.Error {
	for {
		if w := s.solitary(); w != nil {
			w.waitRoom(s.hub.ctx, s)
		}
		reply, err := s.Recv(s.hub.ctx)
		switch {
		case err == nil:
		case s.widen(err):
			return tooLarge(s.Endpoint())
		default:
			return s.Fail(s.hub.ctx, err)
		}
		var r watchResponse
		if err := r.decodeWire(reply); err != nil {
			return call.Undecodable(rpc.Watch, err)
		}
		if err := s.dispatch(&r, weigh(&r, len(reply))); err != nil {
			return err
		}
	}
}

// weigh is about what a response of so many bytes takes in memory: one of a small
// event takes twice its bytes.
func weigh(r *watchResponse, bytes int) int {
	const response, event = 160, 96
	return bytes + response + event*len(r.Events)
}

func (s *watchStream) solitary() *Watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alone
}

// dispatch hands a response to the watcher that it is for.
func (s *watchStream) dispatch(r *watchResponse, weight int) *call.Error {
	if err := s.Heard(call.Header(r.Header)); err != nil {
		return err
	}
	s.mu.Lock()
	s.heard = time.Now()
	w := s.confirmed[r.WatchID]
	s.mu.Unlock()
	switch {
	case r.Created:
		return s.answered(r)
	case r.WatchID == allWatches && len(r.Events) == 0 && !r.Canceled:
		s.proves()
		s.broadcast(r.Header)
	case w == nil: // cancelled by the client
	case r.Canceled || r.CompactRevision != 0:
		s.canceled(w, r)
	case len(r.Events) == 0:
		s.proves()
		s.progressed([]*Watcher{w}, r.Header)
	default:
		s.proves()
		s.deliver(w, r, weight)
	}
	return nil
}

// allWatches is the watch id of responses that are for no watch in particular.
const allWatches = -1

// proves notes that the stream has delivered something.
func (s *watchStream) proves() {
	if !s.proven {
		s.proven = true
		s.hub.worked()
	}
}

// deliver hands events to w, and w to another stream if it needs one.
func (s *watchStream) deliver(w *Watcher, r *watchResponse, weight int) {
	what, err := w.deliver(s, r, weight)
	switch {
	case err != nil:
		s.hub.remove(w, err)
	case what == resumed:
		s.serves(w)
	case what == overflowed && w.leaveAlone(s), what == incomplete && w.leave(s, errIncomplete):
		s.forget(w)
		s.hub.move(w)
	}
}

// serves notes that the stream's member serves w.
func (s *watchStream) serves(w *Watcher) {
	if info, resumed := w.serve(s); resumed {
		s.hub.observer.watchResumed(info)
	}
}

// answered takes the answer to the oldest creation without one.
func (s *watchStream) answered(r *watchResponse) *call.Error {
	w, c, err := s.takeAnswer(r)
	switch {
	case err != nil:
		return err
	case w == nil:
		return nil
	case r.Canceled:
		s.canceled(w, r)
		return nil
	}
	if c.resumed {
		s.hub.observer.watchResumed(c.info)
	}
	switch {
	case w.knowsMore():
		s.checkHistory()
	case w.wantsNews(s.hub.engine.Seen()):
		s.conn.look() // it is ahead of the store
	}
	return nil
}

// takeAnswer gives the answer to the watcher that waits for it, which it returns; nil if
// that has left. The watch is confirmed with mu held: if it ends, it does so before, and
// the server is told here, or after, and forget finds it under the server's ID.
func (s *watchStream) takeAnswer(r *watchResponse) (w *Watcher, c confirmation, err *call.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.creating) == 0 {
		return nil, c, s.Broken("the server confirms a watch that it was not asked for")
	}
	w = s.creating[0]
	s.creating = s.creating[1:]
	s.answers = true
	if r.Canceled {
		return w, c, nil
	}
	if w != nil {
		c = w.confirm(s, r.WatchID, r.Header)
	}
	if !c.made { // it has left meanwhile
		s.cancelLocked(r.WatchID)
		return nil, c, nil
	}
	s.confirmed[r.WatchID] = w
	return w, c, nil
}

// checkHistory has the history of its watchers checked.
func (s *watchStream) checkHistory() {
	s.mu.Lock()
	s.unchecked = true
	s.mu.Unlock()
	s.conn.look()
}

// broadcast takes a progress response for all watches of the stream that it covers.
func (s *watchStream) broadcast(h ResponseHeader) {
	s.mu.Lock()
	s.progressOpen = max(s.progressOpen-1, 0)
	all := s.allLocked()
	s.mu.Unlock()
	s.progressed(slices.DeleteFunc(all, func(w *Watcher) bool { return !w.covers(s, h.Revision) }), h)
}

// canceled: the server has ended a watch. What may pass is tried again on
// another stream.
func (s *watchStream) canceled(w *Watcher, r *watchResponse) {
	e := s.cancelError(r)
	if !e.Transient {
		s.hub.remove(w, e)
		return
	}
	s.hub.failed(e)
	if w.leave(s, e) {
		s.forget(w)
		s.hub.move(w)
	}
}

// cancelError is why the server has ended a watch. A stream whose token is to blame
// takes no new watchers; those that it has, it keeps.
func (s *watchStream) cancelError(r *watchResponse) *call.Error {
	if r.CompactRevision != 0 {
		return &call.Error{
			Op: rpc.Watch.Op, Endpoint: s.Endpoint(), Code: transport.OutOfRange,
			Cause: &CompactedError{Revision: r.CompactRevision},
		}
	}
	code, text := cancelReason(r.CancelReason)
	e, renew := s.Refused(code, text)
	if renew {
		s.mu.Lock()
		s.outdated = true
		s.mu.Unlock()
	}
	return e
}

// cancelReason reads why the server ended a watch. It writes a gRPC status there
// as Go prints one: "rpc error: code = PermissionDenied desc = etcdserver: ...".
func cancelReason(reason string) (transport.Code, string) {
	if reason == "" {
		return transport.Unknown, "the server ended the watch and gave no reason"
	}
	status, ok := strings.CutPrefix(reason, "rpc error: code = ")
	name, text, isStatus := strings.Cut(status, " desc = ")
	if ok && isStatus {
		for code := transport.Canceled; code <= transport.Unauthenticated; code++ {
			if code.String() == name {
				return code, text
			}
		}
	}
	return transport.Unknown, reason
}
