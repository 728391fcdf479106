package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// watchStream is one watch stream to a member, with the watchers on it. It has
// two goroutines: send writes requests in the order of the outbox, receive
// reads responses and hands them out.
type watchStream struct {
	hub    *watchHub
	conn   balance.Picked
	sent   sent // what was known of the history when it was opened
	stream transport.Stream
	kind   streamKind
	token  *token          // what it was opened with, and keeps
	ctx    context.Context // ends with the stream
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1: there is something in outbox
	// suspected has capacity 1: the connection has turned suspect.
	suspected chan struct{}

	// confirmed: the server has created a watch on it. Only the receiver writes it.
	confirmed bool
	// progress is what is known of the member's progress responses. Only the
	// receiver uses it.
	progress progressTrust

	mu sync.Mutex // guards the fields below

	ended    bool
	asking   bool               // progress is asked for until it has been answered
	outdated bool               // its token is no longer accepted: it takes no new watchers
	reason   error              // why we have ended it; nil when the server has
	works    bool               // the server has answered a creation
	room     int                // for so many watchers
	resumed  bool               // it has watchers whose history must be checked
	alone    *Watcher           // the only one it may have
	watchers map[int64]*Watcher // by watch id
	lastID   int64              // ids are never reused on a stream
	outbox   []watchRequest
	// creations that the server has not answered. It answers in order; a
	// creation that it refuses has no id in its answer.
	unanswered []int64
	// progressOpen counts requests for progress without an answer; there need
	// never be one.
	progressOpen int
	heard        time.Time // when the last response came
}

func newWatchStream(h *watchHub, conn balance.Picked, token *token, kind streamKind) (*watchStream, error) {
	sent, suspected := h.c.cluster.now(), make(chan struct{}, 1)
	stream, err := conn.Open(h.ctx, transport.Request{
		Path: rpcWatch.path, Token: token.value(), RequireLeader: true, MaxMessage: kind.maxMessage,
		OnSuspect: func() { signal(suspected) },
	})
	if err != nil {
		return nil, callError(&rpcWatch, conn.Endpoint, err)
	}
	s := &watchStream{
		hub: h, conn: conn, sent: sent, stream: stream, kind: kind, token: token, suspected: suspected,
		wake:     make(chan struct{}, 1),
		room:     h.roomNow(),
		watchers: make(map[int64]*Watcher),
		heard:    time.Now(),
	}
	s.ctx, s.cancel = context.WithCancel(h.ctx)
	return s, nil
}

// attach puts w on the stream and queues its creation. It reports false when
// the stream takes no more.
func (s *watchStream) attach(w *Watcher) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.outdated || s.alone != nil || len(s.watchers) >= s.room || s.lastID >= creationsPerStream {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return true // it has ended meanwhile: nothing to do
	}
	switch {
	case w.kindLocked() != s.kind:
		return false
	case w.alone && len(s.watchers) > 0:
		return false
	case w.alone:
		s.alone = w
	}
	s.lastID++
	w.stream, w.id = s, s.lastID
	w.partial = partialRevision{}
	w.place = placement{doubt: s.progressOpen}
	create := w.create
	create.WatchID = w.id
	create.StartRevision = w.next
	create.Fragment = w.intake == intakeFragments
	s.watchers[w.id] = w
	s.resumed = s.resumed || w.created
	s.outbox = append(s.outbox, watchRequest{Create: &create})
	if w.asked {
		s.askProgressLocked()
	}
	signal(s.wake)
	return true
}

// detach forgets a watcher and has the server cancel it. The last one takes the
// stream with it.
func (s *watchStream) detach(id int64) {
	s.mu.Lock()
	delete(s.watchers, id)
	last := len(s.watchers) == 0
	if last {
		s.ended = true
	} else {
		s.outbox = append(s.outbox, watchRequest{Cancel: &watchCancelRequest{WatchID: id}})
		signal(s.wake)
	}
	s.mu.Unlock()
	if last {
		s.stream.Close()
	}
}

// isEnded: the last watcher has left it, so that we have closed it.
func (s *watchStream) isEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// detachAll takes every watcher off a stream that has ended.
func (s *watchStream) detachAll(reason error) []*Watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	orphans := make([]*Watcher, 0, len(s.watchers))
	// In the order in which they were created, which is the order in which
	// their users wait.
	for id := int64(1); id <= s.lastID && len(orphans) < len(s.watchers); id++ {
		w, ok := s.watchers[id]
		if !ok {
			continue
		}
		w.mu.Lock()
		if w.err == nil && w.stream == s {
			w.stream, w.left, w.leftErr = nil, time.Now(), reason
			w.alone = w.alone && w.buffered > w.maxBuffer/2 // it may have caught up
			orphans = append(orphans, w)
		}
		w.mu.Unlock()
	}
	s.watchers = nil
	return orphans
}

func (s *watchStream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watchers)
}

func (s *watchStream) requestProgress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.askProgressLocked()
	}
}

func (s *watchStream) askProgressLocked() {
	s.asking = true
	s.progressOpen++
	s.outbox = append(s.outbox, watchRequest{Progress: &watchProgressRequest{}})
	signal(s.wake)
}

// askAgain asks for progress once more if a watcher still waits for an answer.
func (s *watchStream) askAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asking || s.ended {
		return
	}
	s.asking = false
	for _, w := range s.watchers {
		if w.wantsProgress() {
			s.askProgressLocked()
			return
		}
	}
}

// unfinished: something is to be asked again after a while.
func (s *watchStream) unfinished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asking || s.resumed || s.conn.State() == transport.Suspect
}

// send is the sender.
func (s *watchStream) send() {
	m := newMessage()
	defer m.release()
	for {
		for _, req := range s.takeOutbox() {
			m.bytes = req.appendWire(m.bytes[:0])
			if err := s.stream.Send(s.ctx, m.bytes); err != nil {
				return // the receiver learns it too
			}
		}
		if s.takeResumed() {
			s.checkHistory()
		}
		s.answerAhead()
		var again <-chan time.Time
		if s.unfinished() {
			again = time.After(watchAgain)
		}
		select {
		case <-s.wake:
		case <-again:
			s.askAgain()
			s.flee()
		case <-s.suspected:
			s.flee()
		case <-s.conn.Removed():
			s.end(&Error{
				Op: rpcWatch.op, Endpoint: s.conn.Endpoint, Code: CodeUnavailable,
				Message: "the endpoint was removed from the client", sentinel: ErrUnavailable, transient: true,
			})
			return
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *watchStream) takeOutbox() []watchRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.outbox
	s.outbox = nil
	for i := range out {
		if out[i].Create != nil {
			s.unanswered = append(s.unanswered, out[i].Create.WatchID)
		}
	}
	return out
}

// watchAgain is how long a stream waits before it asks again what was not answered.
const watchAgain = time.Second

func (s *watchStream) takeResumed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	resumed := s.resumed
	s.resumed = false
	return resumed
}

// checkHistory ends the watchers that have seen revisions which the cluster no
// longer has. Such a watcher would wait in silence until the revisions are
// reached again, and then deliver another history.
func (s *watchStream) checkHistory() {
	w := s.anyWatcher()
	if w == nil {
		return
	}
	before := s.seen()
	token, noToken := s.hub.c.tokens.get(s.ctx, &rpcWatchNow)
	if noToken != nil {
		return // the next stream will have to have one
	}
	now, err := s.now(w.create.Key, token)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && (e.transient || e.resend) {
			s.mu.Lock()
			s.resumed = true // asked again
			s.mu.Unlock()
		}
		return
	}
	s.endBeyond(before, now.Revision)
}

// endBeyond ends those of the watchers that have seen more than is left.
func (s *watchStream) endBeyond(seen map[*Watcher]int64, revision int64) {
	for w, seen := range seen {
		if seen > revision {
			s.hub.c.cluster.told()
			s.hub.remove(w, &Error{Op: "Watch", Endpoint: s.conn.Endpoint, Code: CodeOutOfRange, sentinel: ErrHistoryReset})
		}
	}
}

// seen is, for each watcher, the highest revision of which it knows.
func (s *watchStream) seen() map[*Watcher]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[*Watcher]int64, len(s.watchers))
	for _, w := range s.watchers {
		w.mu.Lock()
		out[w] = w.seen
		w.mu.Unlock()
	}
	return out
}

func (s *watchStream) anyWatcher() *Watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watchers {
		return w
	}
	return nil
}

// end ends the stream from our side; its watchers go elsewhere.
func (s *watchStream) end(reason error) {
	s.mu.Lock()
	if s.reason == nil {
		s.reason = reason
	}
	s.mu.Unlock()
	s.stream.Close()
}

// now reads the current revision from the stream's member, and who that is.
func (s *watchStream) now(key string, token *token) (ResponseHeader, error) {
	m := newMessage()
	defer m.release()
	m.bytes = (&rangeRequest{Key: key, CountOnly: true}).appendWire(m.bytes)
	c, sent := s.hub.c, s.hub.c.cluster.now()
	reply, err := s.conn.Call(s.ctx, transport.Request{
		Path: rpcWatchNow.path, Message: m.bytes, Token: token.value(), RequireLeader: true, Timeout: watchProbe,
	})
	if err != nil {
		e := callError(&rpcWatchNow, s.conn.Endpoint, err)
		e.resend = s.hub.c.tokens.rejected(token, e)
		return ResponseHeader{}, e
	}
	var resp GetResponse
	if err := resp.decodeWire(reply); err != nil {
		return ResponseHeader{}, undecodable(&rpcWatchNow, err)
	}
	if err := c.heard(&rpcWatchNow, s.conn, sent, resp.Header); err != nil {
		return ResponseHeader{}, err
	}
	c.checkHistory(sent, resp.Header.Revision, false)
	return resp.Header, nil
}

// receive is the receiver. When the stream ends it hands its watchers back.
func (s *watchStream) receive() {
	err := s.receiveAll()
	s.cancel()
	s.mu.Lock()
	if s.reason != nil {
		err = s.reason
	}
	s.mu.Unlock()
	s.stream.Close()
	s.hub.resume(s, err)
}

func (s *watchStream) receiveAll() error {
	for {
		if w := s.solitary(); w != nil {
			w.waitRoom(s.ctx)
		}
		reply, err := s.stream.Recv(s.ctx)
		if err == io.EOF {
			return &Error{Op: "Watch", Endpoint: s.conn.Endpoint, Code: CodeUnavailable, Message: "the server ended the watch stream", transient: true}
		}
		switch {
		case err == nil:
		case s.widen(err):
			return tooLarge(s.conn.Endpoint)
		default:
			return callError(&rpcWatch, s.conn.Endpoint, err)
		}
		var r watchResponse
		if err := r.decodeWire(reply); err != nil {
			return undecodable(&rpcWatch, err)
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
func (s *watchStream) dispatch(r *watchResponse, weight int) error {
	if err := s.hub.c.heard(&rpcWatch, s.conn, s.sent, r.Header); err != nil {
		return err
	}
	s.mu.Lock()
	s.heard = time.Now()
	w := s.watchers[r.WatchID]
	s.mu.Unlock()
	switch {
	case r.Created:
		return s.answered(r)
	case r.WatchID == allWatches && len(r.Events) == 0 && !r.Canceled:
		s.broadcast(r.Header)
	case w == nil: // cancelled by us
	case r.Canceled || r.CompactRevision != 0:
		s.canceled(w, r)
	case len(r.Events) == 0:
		if trust := s.progressTrust(); trust != progressUnknown {
			w.progressed(r.Header, trust == progressKnownGood, false)
		}
	default:
		what, err := w.deliver(r, weight)
		switch {
		case err != nil:
			s.hub.remove(w, err)
		case what == overflowed:
			s.isolate(w)
		case what == incomplete && s.release(w, errIncomplete):
			s.hub.move(w)
		}
	}
	return nil
}

// allWatches is the watch id of responses that are for no watch in particular.
const allWatches = -1

// answered takes the answer to the oldest creation without one.
func (s *watchStream) answered(r *watchResponse) error {
	if !s.confirmed {
		s.confirmed = true
		s.hub.worked()
	}
	s.mu.Lock()
	if len(s.unanswered) == 0 || !r.Canceled && r.WatchID != s.unanswered[0] {
		s.mu.Unlock()
		return &Error{
			Op: "Watch", Endpoint: s.conn.Endpoint, Code: CodeInternal,
			Message: fmt.Sprintf("the server confirms watch %d, which is not the next one", r.WatchID),
		}
	}
	s.works = true
	w := s.watchers[s.unanswered[0]]
	s.unanswered = s.unanswered[1:]
	s.mu.Unlock()
	switch {
	case w == nil: // closed meanwhile; its cancellation follows its creation
	case r.Canceled:
		s.canceled(w, r)
	default:
		if info, resumed := w.confirm(r.Header); resumed {
			info.Endpoint = s.conn.Endpoint
			s.hub.c.observer.watchResumed(info)
		}
	}
	return nil
}

func (s *watchStream) broadcast(h ResponseHeader) {
	s.mu.Lock()
	s.progressOpen = max(s.progressOpen-1, 0)
	all := make([]*Watcher, 0, len(s.watchers))
	for _, w := range s.watchers {
		all = append(all, w)
	}
	s.mu.Unlock()
	trust := s.progressTrust()
	if trust == progressUnknown {
		return
	}
	for _, w := range all {
		w.progressed(h, trust == progressKnownGood, true)
	}
}

// canceled: the server has ended a watch. What may pass is tried again on
// another stream.
func (s *watchStream) canceled(w *Watcher, r *watchResponse) {
	e := &Error{Op: "Watch", Endpoint: s.conn.Endpoint}
	e.Code, e.Message = cancelReason(r.CancelReason)
	if r.CompactRevision != 0 {
		e.Code = CodeOutOfRange
		e.cause = &CompactedError{Revision: r.CompactRevision}
	} else {
		e.classifyAnswer()
	}
	if s.hub.c.tokens.rejected(s.token, e) {
		s.mu.Lock()
		s.outdated = true // those that it has, it keeps
		s.mu.Unlock()
		e.transient = true
	}
	if e.transient {
		s.hub.failed(e)
		if s.release(w, e) {
			s.hub.move(w)
		}
		return
	}
	s.hub.remove(w, e)
}

// cancelReason reads why the server ended a watch. It writes a gRPC status there
// as Go prints one: "rpc error: code = PermissionDenied desc = etcdserver: ...".
func cancelReason(reason string) (Code, string) {
	if reason == "" {
		return CodeUnknown, "the server ended the watch and gave no reason"
	}
	status, ok := strings.CutPrefix(reason, "rpc error: code = ")
	name, text, isStatus := strings.Cut(status, " desc = ")
	if ok && isStatus {
		for code := CodeCanceled; code <= CodeUnauthenticated; code++ {
			if code.String() == name {
				return code, text
			}
		}
	}
	return CodeUnknown, reason
}

// release takes w off the stream, for it to go to another.
func (s *watchStream) release(w *Watcher, reason error) bool {
	w.mu.Lock()
	id, mine := w.id, w.stream == s && w.err == nil
	if mine {
		w.stream, w.left, w.leftErr = nil, time.Now(), reason
	}
	w.mu.Unlock()
	if mine {
		s.detach(id)
	}
	return mine
}

// isolate moves a watcher whose reader is slow to a stream of its own. There
// the server is made to wait, and nobody else with it.
func (s *watchStream) isolate(w *Watcher) {
	w.mu.Lock()
	w.alone, w.aloneSince = true, time.Now()
	w.mu.Unlock()
	if s.release(w, errWatchWaits) {
		s.hub.move(w)
	}
}
