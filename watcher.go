package etcd

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"
)

// Watcher is one watch, made by [Client.Watch]. Read it from one goroutine at a
// time; Close and the other methods may be called from any.
type Watcher struct {
	hub    *watchHub
	create watchCreateRequest // StartRevision is that of the first creation
	// progress: the user asked for progress responses.
	progress  bool
	maxBuffer int
	// endLeaderless: the user asked for the end when there is no leader.
	endLeaderless bool

	mu sync.Mutex // guards the fields below

	stream  *watchStream // nil while it waits for one
	id      int64        // on stream
	next    int64        // the next revision to be delivered; where it resumes
	seen    int64        // the highest revision that it knows to have existed; 0: none
	created bool         // confirmed at least once
	header  ResponseHeader
	left    time.Time // when it was taken off the stream before this one
	leftErr error     // why
	place   placement // on stream
	intake  intake    // how it takes large responses
	// alone: its reader is slow, so it has a stream of its own.
	alone      bool
	aloneSince time.Time
	asked      bool // for progress, by RequestProgress

	queue    []watchItem // complete responses
	buffered int         // their bytes
	partial  partialRevision
	// incomplete counts streams in a row that sent events without their previous
	// values.
	incomplete uint8

	err    error         // the terminal error; nil while the watch lives
	notify chan struct{} // capacity 1: something changed; nil until somebody waits
	room   chan struct{} // capacity 1: the reader made room; nil until a stream waits
}

// watchItem is a response with what it weighs.
type watchItem struct {
	resp  *WatchResponse
	bytes int
}

// newWatcher makes a watcher; seen is the revision behind which it starts from
// now, 0 when the user gave the revision.
func newWatcher(hub *watchHub, req *WatchRequest, create watchCreateRequest, seen int64) *Watcher {
	w := &Watcher{
		hub: hub, create: create, progress: req.ProgressNotify,
		maxBuffer: req.BufferBytes, endLeaderless: req.EndWithoutLeader, next: create.StartRevision, seen: seen, left: time.Now(),
	}
	if w.maxBuffer == 0 {
		w.maxBuffer = defaultWatchBuffer
	}
	if req.Fragment {
		w.intake = intakeFragments
	}
	return w
}

// Revision is the first revision whose events are delivered: the one that was
// asked for, or the first after Watch was called.
func (w *Watcher) Revision() int64 { return w.create.StartRevision }

// Header is of the answer by which a member first confirmed the watch. Its Revision
// is the store's at that time; events from [Watcher.Revision] on are delivered,
// whatever it is. It is zero for a watch that was confirmed by none, because its
// revision is compacted.
func (w *Watcher) Header() ResponseHeader {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.header
}

// Read waits for the next response. An error of ctx leaves the watch as it is.
// Any other error ends it: it comes after everything that was delivered before,
// and every later Read returns it again.
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
			resp := w.popLocked()
			w.mu.Unlock()
			return resp, nil
		}
		if w.err != nil {
			defer w.mu.Unlock()
			return nil, w.err
		}
		notify := w.notifyLocked()
		w.mu.Unlock()
		select {
		case <-notify:
		case <-ctx.Done():
			return nil, &Error{Op: "Watch", Code: codeOfContext(ctx), cause: ctx.Err()}
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

// Close ends the watch and a Read that waits. What has been delivered can still
// be read; after it Read returns ErrWatchClosed. Close does not block, and may
// be called again; its error is always nil.
func (w *Watcher) Close() error {
	w.hub.remove(w, &Error{Op: "Watch", Code: CodeCanceled, sentinel: ErrWatchClosed})
	return nil
}

// RequestProgress asks the server to confirm how far the watch is. The answer
// is a response without events, see [WatchResponse.IsProgress]. It may be a while
// in coming: the server is silent while any watch that shares the stream is
// behind or waits for a future revision. The question is asked again every second,
// also of other members, until it has been answered; further calls meanwhile are
// answered with it. A watch that is ahead of the store, as one from now is until the
// next change, is answered from a read.
//
// etcd: Watch/Watch (since 3.4; reliable since 3.5.13)
func (w *Watcher) RequestProgress() {
	w.mu.Lock()
	w.asked = true
	stream := w.stream
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

// wakeLocked wakes who waits for the watcher. It never blocks.
func (w *Watcher) wakeLocked() { signal(w.notify) }

// signal sends on a channel of capacity 1 that may be nil. It never blocks.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w *Watcher) popLocked() *WatchResponse {
	item := w.queue[0]
	w.queue[0] = watchItem{}
	w.queue = w.queue[1:]
	if len(w.queue) == 0 {
		w.queue = nil // an idle watch holds no buffer
	}
	w.buffered -= item.bytes
	if w.buffered <= w.maxBuffer/2 {
		signal(w.room)
	}
	return item.resp
}

// end ends the watch with err; the first end counts. It reports whether this
// was the first, and the stream that the watcher was on.
func (w *Watcher) end(err error) (stream *watchStream, id int64, first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, 0, false
	}
	w.err = err
	w.partial = partialRevision{}
	stream, id = w.stream, w.id
	if stream != nil {
		w.stream, w.left = nil, time.Now()
	}
	w.wakeLocked()
	signal(w.room)
	return stream, id, true
}

// waitCreated waits until the watch is confirmed, has ended or ctx does.
func (w *Watcher) waitCreated(ctx context.Context) error {
	for {
		w.mu.Lock()
		if w.created || w.err != nil && errors.Is(w.err, ErrCompacted) {
			w.wakeLocked() // a response may be there already
			w.mu.Unlock()
			return nil // Read tells of the compaction
		}
		if w.err != nil {
			defer w.mu.Unlock()
			return w.err
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

func (w *Watcher) isCreated() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.created
}

// placement is what is known of a watch on one stream.
type placement struct {
	// confirmed: the server has created it, and was at revision then.
	confirmed bool
	revision  int64
	// doubt is how many progress responses that are for all watches of the stream
	// may still come that were made before this one was created, and do not know
	// of it.
	doubt int
	// prevCame: the server has sent a previous value, so it knows that it should.
	prevCame bool
}

// covers reports whether a progress response for all watches of the stream, at
// the given revision, counts for this one. The server holds events back until
// their watch is confirmed, but not progress; and progress does not wait for
// confirmations either. A progress response that is older than the watch is of
// no higher revision than its confirmation; and the server answers in order.
func (p *placement) covers(revision int64) bool {
	if p.confirmed && revision > p.revision {
		p.doubt = 0
	}
	if p.doubt > 0 {
		p.doubt--
		return false
	}
	return p.confirmed
}

// confirm notes that the server has created the watch.
// It reports what a watch has missed that was confirmed before, on another
// stream.
func (w *Watcher) confirm(h ResponseHeader) (info WatchResumeInfo, resumed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.place.confirmed, w.place.revision = true, h.Revision
	w.seen = max(w.seen, h.Revision)
	if !w.created {
		w.created, w.header = true, h
		w.wakeLocked()
		return WatchResumeInfo{}, false
	}
	return WatchResumeInfo{
		Key: w.create.Key, Revision: w.next,
		Behind: max(h.Revision-w.next+1, 0), Interrupted: time.Since(w.left),
	}, true
}

// deliver takes a response with events off the stream.
func (w *Watcher) deliver(r *watchResponse, weight int) (delivery, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return taken, nil
	}
	if !w.alone && w.buffered+weight > w.maxBuffer && len(w.queue) > 0 {
		// What is buffered stays; the rest comes again from next on.
		w.partial = partialRevision{}
		return overflowed, nil
	}
	events := fromRevision(r.Events, w.next)
	events, weight = w.partial.add(events, weight, r.Fragment)
	if w.partial.bytes > maxRevisionBytes {
		return taken, &Error{Op: "Watch", Code: CodeResourceExhausted, sentinel: ErrRevisionTooLarge}
	}
	if len(events) == 0 {
		return taken, nil
	}
	if !w.prevComeLocked(events) {
		w.partial = partialRevision{}
		return incomplete, nil
	}
	w.seen = events[len(events)-1].KV.ModRevision
	w.next = w.seen + 1
	w.pushLocked(&WatchResponse{Header: r.Header, Events: events}, weight)
	return taken, nil
}

// delivery is what has become of events that came off the stream.
type delivery uint8

const (
	taken delivery = iota
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
	if !w.create.PrevKV || w.place.prevCame {
		return true
	}
	for i := range events {
		ev := &events[i]
		switch {
		case ev.PrevKV != nil:
			w.place.prevCame, w.incomplete = true, 0
			return true
		case ev.Type == Put && ev.KV.Version == 1: // there was none
		case w.incomplete < maxIncomplete:
			w.incomplete++
			return false
		}
	}
	return true
}

func (w *Watcher) pushLocked(resp *WatchResponse, weight int) {
	w.queue = append(w.queue, watchItem{resp, weight})
	w.buffered += weight
	w.wakeLocked()
}

// progressed takes a response without events: everything up to its revision has
// been delivered. trusted: the server keeps that promise. all: it is for all
// watches of the stream.
func (w *Watcher) progressed(h ResponseHeader, trusted, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || h.Revision < w.next-1 || all && !w.place.covers(h.Revision) {
		return
	}
	w.seen = max(w.seen, h.Revision)
	if trusted {
		w.next = h.Revision + 1
	}
	if w.progress || w.asked {
		w.asked = false
		w.pushLocked(&WatchResponse{Header: h}, 64)
	}
}

// waitRoom blocks a stream that serves w alone while the buffer is full.
func (w *Watcher) waitRoom(ctx context.Context) {
	for {
		w.mu.Lock()
		if w.err != nil || w.buffered <= w.maxBuffer/2 || len(w.queue) == 0 {
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
