package etcd

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Watcher is one watch, made by [Client.Watch]. Read it from one goroutine at a
// time; Close and the other methods may be called from any.
type Watcher struct {
	hub    *watchHub
	create watchCreateRequest // StartRevision is that of the first creation
	// progress: the user asked for progress responses.
	progress bool
	// own: the user asked for its own stream.
	own bool
	// resumes: the user asked for a response when another stream takes it over.
	resumes   bool
	maxBuffer int
	// endLeaderless: the user asked for the end when there is no leader.
	endLeaderless bool

	mu sync.Mutex // guards the fields below

	life   life
	next   int64  // the next revision to be delivered; where it resumes
	seen   int64  // the highest revision that it knows to have existed; 0: none
	heard  int64  // the highest revision of a response that is queued or was read
	intake intake // how it takes large responses
	asked  bool   // for progress, by RequestProgress
	// newsDue is when the client may say that nothing was missed, if the server does not.
	newsDue time.Time

	queue    []watchItem // complete responses
	buffered int         // their bytes
	partial  partialRevision
	// incomplete counts streams in a row that sent events without their previous
	// values.
	incomplete uint8

	notify chan struct{} // capacity 1: something changed; nil until a goroutine waits
	room   chan struct{} // capacity 1: the reader made room; nil until a stream waits
}

// watchItem is a response with what it weighs.
type watchItem struct {
	resp  *WatchResponse
	bytes int
	came  time.Time
}

// newWatcher makes a watcher; seen is the highest revision that the client knows to have
// existed: a store that has fewer has another history.
func newWatcher(hub *watchHub, req *WatchRequest, create watchCreateRequest, seen int64) *Watcher {
	w := &Watcher{
		hub: hub, create: create, progress: req.ProgressNotify, resumes: req.NotifyResume, own: req.OwnStream,
		maxBuffer: req.BufferBytes, endLeaderless: req.EndWithoutLeader, next: create.StartRevision, seen: seen,
		life: life{left: time.Now()},
	}
	if w.maxBuffer == 0 {
		w.maxBuffer = defaultWatchBuffer
	}
	if req.Fragment {
		w.intake = intakeFragments
	}
	return w
}

// Revision is the first revision whose events are delivered: that of the request, or the
// first one after Watch was called.
func (w *Watcher) Revision() int64 { return w.create.StartRevision }

// Header is that of the answer by which a member first confirmed the watch. Its Revision
// is the store's at that time and says nothing of the events that follow: these begin at
// [Watcher.Revision]. Header is zero for a watch that no member has confirmed, because its
// revision is compacted.
func (w *Watcher) Header() ResponseHeader {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life.header
}

// Read waits for the next response. An error of ctx leaves the watch as it is. Any other
// error is the end of the watch: Read returns it after everything that was delivered
// before, and every later Read returns it again.
//
// Errors: ErrWatchClosed after Close, ErrClosed after the client's Close,
// *[CompactedError], ErrPermissionDenied, ErrHistoryReset, ErrRevisionTooLarge,
// and ErrNoLeader if that was asked for.
func (w *Watcher) Read(ctx context.Context) (*WatchResponse, error) {
	if ctx == nil {
		return nil, invalid("Watch", errNilContext)
	}
	for {
		w.mu.Lock()
		if len(w.queue) > 0 {
			item := w.popLocked()
			w.mu.Unlock()
			stripEvents(item.resp.Events, w.create.space)
			w.delivered(&item)
			return item.resp, nil
		}
		if w.life.err != nil {
			defer w.mu.Unlock()
			return nil, w.life.err
		}
		notify := w.notifyLocked()
		w.mu.Unlock()
		select {
		case <-notify:
		case <-ctx.Done():
			return nil, public(call.ContextEnded(ctx, rpc.Watch, ""))
		}
	}
}

// All reads until the watch ends or ctx does, and yields that error last. After
// a break the watch is still there: Close it, or go on reading.
func (w *Watcher) All(ctx context.Context) iter.Seq2[*WatchResponse, error] {
	return func(yield func(*WatchResponse, error) bool) {
		for {
			resp, err := w.Read(ctx)
			if !yield(resp, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the watch and a Read that waits. Read still returns what was delivered
// before, and then ErrWatchClosed. Close does not block, and may be called again; its
// error is always nil.
func (w *Watcher) Close() error {
	w.hub.remove(w, errWatchClosed)
	return nil
}

// RequestProgress asks the server to confirm how far the watch is. The answer is a
// response without events, see [WatchResponse.IsProgress]. It may take a while: the server
// is silent while any watch on the same stream is behind or waits for a future revision.
// The client asks again every second, other members too, until it has an answer, which
// serves all calls until then. For a watch that is ahead of the store, as a watch from now
// is until the next change, the client answers from a read.
//
// etcd: Watch/Watch (since 3.4; reliable since 3.5.13)
func (w *Watcher) RequestProgress() {
	w.mu.Lock()
	w.asked = true
	stream := w.life.stream
	w.mu.Unlock()
	if stream != nil {
		stream.requestProgress()
	}
}

func (w *Watcher) wantsProgress() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

func (w *Watcher) notifyLocked() chan struct{} {
	if w.notify == nil {
		w.notify = make(chan struct{}, 1)
	}
	return w.notify
}

// wakeLocked wakes the goroutine that waits for the watcher. It never blocks.
func (w *Watcher) wakeLocked() { call.Signal(w.notify) }

func (w *Watcher) popLocked() watchItem {
	item := w.queue[0]
	w.queue[0] = watchItem{}
	w.queue = w.queue[1:]
	if len(w.queue) == 0 {
		w.queue = nil // an idle watch holds no buffer
	}
	w.buffered -= item.bytes
	if w.buffered <= w.maxBuffer/2 {
		call.Signal(w.room)
	}
	return item
}

// delivered tells the hook of a response that its reader has now.
func (w *Watcher) delivered(item *watchItem) {
	hook, n := w.hub.observer.hooks.WatchDelivered, len(item.resp.Events)
	if hook == nil || n == 0 {
		return
	}
	hook(WatchDeliverInfo{
		Key: w.create.Key, Events: n, Bytes: item.bytes, Lag: time.Since(item.came),
		Behind: max(item.resp.Header.Revision-item.resp.Events[n-1].KV.ModRevision, 0),
	})
}

// waitCreated waits until the watch is confirmed, has ended or ctx does.
func (w *Watcher) waitCreated(ctx context.Context) error {
	for {
		w.mu.Lock()
		if w.life.begun || w.life.err != nil && errors.Is(w.life.err, ErrCompacted) {
			w.wakeLocked() // a response may be there already
			w.mu.Unlock()
			return nil // Read reports the compaction
		}
		if w.life.err != nil {
			defer w.mu.Unlock()
			return w.life.err
		}
		notify := w.notifyLocked()
		w.mu.Unlock()
		select {
		case <-notify:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *Watcher) hasBegun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life.begun
}

func (w *Watcher) hasEnded() bool { return w.phaseNow() == phaseEnded }

func (w *Watcher) phaseNow() phase {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life.phase
}

// deliver takes a response with events off the stream.
func (w *Watcher) deliver(s *watchStream, r *watchResponse, weight int) (delivery, *call.Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.onStreamLocked(s) {
		return taken, nil
	}
	if !w.isAloneLocked() && w.buffered+weight > w.maxBuffer && len(w.queue) > 0 {
		// The buffered events stay; the others come again from next on.
		w.partial = partialRevision{}
		return overflowed, nil
	}
	events := fromRevision(r.Events, w.next)
	events, weight = w.partial.add(events, weight, r.Fragment)
	if w.partial.bytes > maxRevisionBytes {
		return taken, &call.Error{Op: rpc.Watch.Op, Code: transport.ResourceExhausted, Sentinel: ErrRevisionTooLarge}
	}
	if len(events) == 0 {
		return taken, nil
	}
	if !w.prevComeLocked(events) {
		w.partial = partialRevision{}
		return incomplete, nil
	}
	last := events[len(events)-1].KV.ModRevision
	w.seen, w.next, w.heard = max(w.seen, last), last+1, last
	w.pushLocked(&WatchResponse{Header: r.Header, Events: events}, weight)
	if w.life.phase == phaseConfirmed {
		return resumed, nil
	}
	return taken, nil
}

// delivery is what has become of events that came off the stream.
type delivery uint8

const (
	taken delivery = iota
	// resumed: they were taken, and are the first since the watch was interrupted.
	resumed
	// overflowed: the reader is too far behind for a stream that others share.
	overflowed
	// incomplete: previous values are missing that the watch has asked for.
	incomplete
)

// maxIncomplete is how often in a row events may be incomplete until they are
// taken as they are: a previous value is also missing once it is compacted.
const maxIncomplete = 3

// prevComeLocked reports whether events have the previous values that the watch
// asks for. The server notes that wish a moment after it has begun the watch, and
// sends what happens between the two without; so this is in doubt until the first
// previous value has come on a stream.
func (w *Watcher) prevComeLocked(events []Event) bool {
	if !w.create.PrevKV || w.life.place.prevCame {
		return true
	}
	for i := range events {
		ev := &events[i]
		switch {
		case ev.PrevKV != nil:
			w.prevCameLocked()
			w.incomplete = 0
			return true
		case ev.Type == EventPut && ev.KV.Version == 1: // there was none
		case w.incomplete < maxIncomplete:
			w.incomplete++
			return false
		}
	}
	return true
}

func (w *Watcher) pushLocked(resp *WatchResponse, weight int) {
	now := time.Now()
	w.queue = append(w.queue, watchItem{resp, weight, now})
	w.buffered += weight
	w.newsDue = now.Add(progressPause)
	w.wakeLocked()
}

// pushProgressLocked queues a response that says that nothing was missed up to a revision,
// unless the reader knows of a later one: a member that lags says what it knows.
func (w *Watcher) pushProgressLocked(h ResponseHeader, unreliable bool) {
	if h.Revision < w.heard {
		return
	}
	w.asked, w.heard = false, h.Revision
	w.pushQuietLocked(&WatchResponse{Header: h, Unreliable: unreliable})
}

// pushQuietLocked queues a response without events. It takes the place of one of its kind
// that waits as the last, so that a reader who does not read costs no more memory.
func (w *Watcher) pushQuietLocked(resp *WatchResponse) {
	const weight = 64
	if n := len(w.queue); n > 0 {
		last := w.queue[n-1].resp
		if len(last.Events) == 0 && last.Resumed == resp.Resumed {
			if resp.Resumed || resp.Header.Revision >= last.Header.Revision {
				last.Header, last.Unreliable = resp.Header, resp.Unreliable
			}
			w.newsDue = time.Now().Add(progressPause)
			return
		}
	}
	w.pushLocked(resp, weight)
}

// progressed takes a response without events: everything up to its revision has
// been delivered. trusted: the server keeps that promise.
func (w *Watcher) progressed(s *watchStream, h ResponseHeader, trusted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.onStreamLocked(s) || h.Revision < w.next-1 {
		return
	}
	w.seen = max(w.seen, h.Revision)
	if trusted {
		w.next = h.Revision + 1
	}
	if w.progress || w.asked {
		w.pushProgressLocked(h, !trusted)
	}
}

// waitRoom blocks s, which serves w alone, while the buffer is full. A stream that w has left
// does not wait: it would take the signal that is for the next one.
func (w *Watcher) waitRoom(ctx context.Context, s *watchStream) {
	for {
		w.mu.Lock()
		if !w.onStreamLocked(s) || w.buffered <= w.maxBuffer/2 || len(w.queue) == 0 {
			w.mu.Unlock()
			return
		}
		if w.room == nil {
			w.room = make(chan struct{}, 1)
		}
		room := w.room
		w.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return
		}
	}
}

// fromRevision drops the events below a revision. The server sends none, but a
// watch must not go back even if a server does.
func fromRevision(events []Event, revision int64) []Event {
	for len(events) > 0 && events[0].KV.ModRevision < revision {
		events = events[1:]
	}
	return events
}

// maxRevisionBytes is the most that is kept of one revision before it is complete.
const maxRevisionBytes = 256 << 20

// partialRevision is the beginning of a revision whose end is yet to come: the
// server cuts large responses into fragments anywhere between two events.
type partialRevision struct {
	events []Event
	bytes  int
}

// add takes the events of a response of weight bytes and returns those that are
// of complete revisions, with their weight. fragment: more of the last revision
// may follow.
func (p *partialRevision) add(events []Event, weight int, fragment bool) ([]Event, int) {
	if len(p.events) > 0 {
		events = append(p.events, events...)
		weight += p.bytes
		*p = partialRevision{}
	}
	if !fragment || len(events) == 0 {
		return events, weight
	}
	last := events[len(events)-1].KV.ModRevision
	cut := len(events)
	for cut > 0 && events[cut-1].KV.ModRevision == last {
		cut--
	}
	whole := int(int64(weight) * int64(cut) / int64(len(events)))
	// The tail keeps its capacity: a deletion of a million keys is one revision
	// in many fragments, and is gathered by appending.
	p.events, p.bytes = events[cut:], weight-whole
	return events[:cut:cut], whole
}

// WatchState is the state of a watch, see [Watcher.State].
type WatchState struct {
	// Endpoint is the member that serves the watch; empty while none does. A member that
	// has confirmed the watch again serves it once it has answered a linearizable read or
	// sent events: one without a leader does neither.
	Endpoint string
	// Err is nil while a member serves the watch. While none does, it is why the last
	// member no longer does, or why no other one can; after the watch has ended, it is the
	// last error of Read.
	Err error
	// Since is when the last member ceased to serve the watch; zero while one does. It
	// stays while members confirm the watch without serving it.
	Since time.Time
	// NextRevision is the first revision whose events have not arrived.
	NextRevision int64
	// BufferedBytes is the size of the responses that wait for Read.
	BufferedBytes int
	// SlowReader: the reader fell so far behind that the watch has a stream to itself,
	// on which the client makes the server wait.
	SlowReader bool
}

// State returns the state of the watch: which member serves it, or since when and why
// none does. While all members are down, a watch tries again until it is closed; State
// shows that. It does not wait. See also [Hooks.WatchStale], [Hooks.WatchResumed] and
// [Client.Stats].
func (w *Watcher) State() WatchState {
	trouble := w.hub.trouble()
	w.mu.Lock()
	defer w.mu.Unlock()
	state := WatchState{NextRevision: w.next, BufferedBytes: w.buffered, SlowReader: w.life.isolated}
	switch w.life.phase {
	case phaseEnded:
		state.Err, state.Since = w.life.err, w.life.left
	case phaseServed:
		state.Endpoint = w.life.stream.Endpoint()
	default:
		state.Err, state.Since = public(w.unservedLocked(trouble)), w.life.left
	}
	return state
}

// errIncomplete is the state of a watch that begins again because the server has left
// something out.
var errIncomplete = &call.Error{Op: rpc.Watch.Op, Code: transport.Unavailable, Message: "the server sent events without their previous values", Transient: true}

// errWatchWaits is the state of a watch before anything has gone wrong.
var errWatchWaits = &call.Error{Op: rpc.Watch.Op, Code: transport.Unavailable, Message: "not confirmed by a member yet", Transient: true}

// errWatchClosed is how a watch ends that its user closes.
var errWatchClosed = &call.Error{Op: rpc.Watch.Op, Code: transport.Canceled, Sentinel: ErrWatchClosed}
