package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// WatchRequest is what [Client.Watch] watches.
//
// Key alone watches one key. At most one of Prefix, FromKey and RangeEnd widens
// that to a range.
type WatchRequest struct {
	// Key is required unless Prefix or FromKey is set; empty with one of these
	// means all keys.
	Key string
	// Prefix watches all keys that begin with Key.
	Prefix bool
	// FromKey watches all keys that are not less than Key.
	FromKey bool
	// RangeEnd watches the keys from Key up to, but not including, RangeEnd.
	RangeEnd string

	// Revision is the first revision whose events are delivered. History is
	// replayed as far as it is not compacted; a revision that does not exist
	// yet is waited for. 0 means from now: everything that happens after Watch
	// was called.
	Revision int64
	// PrevKV asks for each key's pair before the event. It is missing where the
	// history before the event is compacted.
	PrevKV bool
	// NoPut leaves puts out, NoDelete deletions. With both only progress,
	// compaction and errors are reported.
	NoPut, NoDelete bool
	// ProgressNotify asks for a response without events now and then (the
	// server's --watch-progress-notify-interval, --experimental-… before 3.6, 10
	// minutes unless configured) while nothing happens, see [WatchResponse.IsProgress].
	// The server sends none before the store has come to the watch's first revision:
	// to a watch from now, none before the next change of any key.
	ProgressNotify bool

	// Fragment asks the server to cut responses above its request limit (1.5 MiB
	// and a half) into pieces from the first on. Without it that is done only for
	// a watch whose responses prove too large to be held whole, because the time
	// that etcd takes for it grows with the square of the events in a piece. Set
	// it where history has values of megabytes: etcd replays up to a thousand
	// revisions in a response, and one above 2 GiB never leaves the server.
	// Revisions are delivered whole either way.
	Fragment bool

	// EndWithoutLeader ends the watch with ErrNoLeader when the member that it is
	// on loses its leader and the next one has none either. Without it the watch
	// waits for a leader, and misses nothing: [Watcher.State] shows that it does.
	EndWithoutLeader bool

	// BufferBytes is about how many bytes of events are kept for a reader that
	// falls behind. Beyond it the server is made to wait, and nothing is lost.
	// One or two responses of the server come on top of it: a few MiB, or more
	// for revisions of many small events. 0 means 4 MiB.
	BufferBytes int
}

// WatchResponse is what [Watcher.Read] returns: the events of one or more
// revisions, complete and in order. It belongs to the caller; its events share
// the memory of one message, see [KeyValue].
type WatchResponse struct {
	// Header is of the member that sent the events. Its Revision is at least
	// that of the last event.
	Header ResponseHeader
	// Events are in the order in which they happened. All events of one
	// revision are in one response. A watch that is to go on behind them, in
	// another process say, starts from the ModRevision of the last and one. Not
	// from Header.Revision, unless IsProgress: more may follow below that.
	Events []Event
}

// IsProgress reports whether the response only says that everything up to
// Header.Revision has been delivered.
func (r *WatchResponse) IsProgress() bool { return len(r.Events) == 0 }

// CompactedError ends a watch whose next revision has been compacted away:
// events are lost to it. Read the keys anew and watch from behind the revision
// of that read. errors.Is finds ErrCompacted.
type CompactedError struct {
	// Revision is the oldest revision that is left.
	Revision int64
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("revision has been compacted; the oldest that is left is %d", e.Revision)
}

// Is makes errors.Is(err, ErrCompacted) true.
func (e *CompactedError) Is(target error) bool { return target == ErrCompacted }

// HistoryLost reports whether err has ended a watch because events are lost to it:
// their revisions are compacted (ErrCompacted), the cluster was restored from a
// backup (ErrHistoryReset), or a revision was too large to be kept
// (ErrRevisionTooLarge). A copy of the keys is then made good by reading them all
// anew and watching from behind the revision of that read; a watch from where this
// one has ended would end again, or miss changes. It is false for nil and for every
// other error.
func HistoryLost(err error) bool {
	return errors.Is(err, ErrCompacted) || errors.Is(err, ErrHistoryReset) || errors.Is(err, ErrRevisionTooLarge)
}

const defaultWatchBuffer = 4 << 20

func (r *WatchRequest) wire() (watchCreateRequest, error) {
	w := watchCreateRequest{
		StartRevision: r.Revision, PrevKV: r.PrevKV,
		ProgressNotify: true, // it moves the point from which a watch resumes
	}
	var err error
	if w.Key, w.RangeEnd, err = interval(r.Key, r.Prefix, r.FromKey, r.RangeEnd); err != nil {
		return w, err
	}
	if r.NoPut {
		w.Filters = append(w.Filters, watchNoPut)
	}
	if r.NoDelete {
		w.Filters = append(w.Filters, watchNoDelete)
	}
	switch {
	case r.Revision < 0:
		return w, fmt.Errorf("Revision is negative: %d", r.Revision)
	case r.BufferBytes < 0:
		return w, fmt.Errorf("BufferBytes is negative: %d", r.BufferBytes)
	}
	return w, nil
}

// Watch reports what happens to a key or a range of keys. It returns once the
// server has confirmed the watch; from then on every event from
// [Watcher.Revision] on is delivered exactly once and in order, until the watch
// is closed or ends with one error. When a connection is lost or a member goes
// silent the watch moves to another and goes on behind the last event.
//
// ctx bounds Watch only, not the watch: end that with [Watcher.Close].
// Config.Timeout bounds the waiting for the server when ctx has no deadline.
//
// Errors: ErrInvalidRequest, ErrPermissionDenied and those of every call. A
// revision that is compacted is reported by Read, as *[CompactedError].
//
// Who keeps a copy of the keys reads them first and watches from behind the
// revision of that read, and does both anew when the watch ends and [HistoryLost]
// says so.
//
// etcd: Watch/Watch (since 3.0; Fragment 3.4), KV/Range for the revision
func (c *Client) Watch(ctx context.Context, req WatchRequest) (*Watcher, error) {
	if ctx == nil {
		return nil, invalid(rpcWatch.op, errNilContext)
	}
	wire, err := req.wire()
	if err != nil {
		return nil, invalid(rpcWatch.op, within("WatchRequest", err))
	}
	var now int64
	if wire.StartRevision == 0 {
		if now, err = c.watches.now.read(ctx, wire.Key); err != nil {
			return nil, err
		}
		wire.StartRevision = now + 1
	}
	w := newWatcher(c.watches, &req, wire, now)
	if err := c.watches.add(ctx, w); err != nil {
		return nil, err
	}
	return w, nil
}

// createTimeout bounds the wait for a watch to be confirmed when ctx does not.
func (c *Client) createTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || c.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, c.timeout*time.Duration(c.retries+1), ErrTimeout)
}

// nowReader learns the current revision for watches that start from now. The
// server could tell it only after it has registered the watch, too late to know
// which events came before. Concurrent callers share a read, but never one that
// was sent before they asked: it might miss what they know to have happened.
type nowReader struct {
	c *Client

	mu   sync.Mutex // guards the fields below
	sent *nowRead   // on its way
	next *nowRead   // to be sent when that one is back; may still be joined
}

type nowRead struct {
	done     chan struct{}
	revision int64
	err      error
}

// read returns a revision that is current at some time after the call.
func (r *nowReader) read(ctx context.Context, key string) (int64, error) {
	r.mu.Lock()
	var flight *nowRead
	switch {
	case r.sent == nil:
		flight = &nowRead{done: make(chan struct{})}
		r.sent = flight
		r.mu.Unlock()
		r.fly(ctx, flight, key)
		return r.result(ctx, flight, key, true)
	case r.next == nil:
		flight = &nowRead{done: make(chan struct{})}
		r.next = flight
		before := r.sent
		r.mu.Unlock()
		return r.readNext(ctx, before, flight, key)
	}
	flight = r.next
	r.mu.Unlock()
	select {
	case <-flight.done:
		return r.result(ctx, flight, key, false)
	case <-ctx.Done():
		return 0, &Error{Op: rpcWatch.op, Code: codeOfContext(ctx), Outcome: NotSent, cause: ctx.Err()}
	}
}

// readNext makes the read that follows before, for all who have joined flight.
func (r *nowReader) readNext(ctx context.Context, before, flight *nowRead, key string) (int64, error) {
	select {
	case <-before.done:
	case <-ctx.Done(): // the others who have joined learn it from the read's failure
	}
	r.mu.Lock()
	r.next = nil
	r.sent = flight
	r.mu.Unlock()
	r.fly(ctx, flight, key)
	return r.result(ctx, flight, key, true)
}

// fly makes the read; flight is r.sent.
func (r *nowReader) fly(ctx context.Context, flight *nowRead, key string) {
	flight.revision, flight.err = r.own(ctx, key)
	r.mu.Lock()
	if r.sent == flight {
		r.sent = nil
	}
	r.mu.Unlock()
	close(flight.done)
}

// own reads the revision for this caller alone: a point read of the watch's own
// key, so that it asks for no permission that the watch does not need.
func (r *nowReader) own(ctx context.Context, key string) (int64, error) {
	var resp GetResponse
	err := r.c.do(ctx, &rpcWatchNow, &rangeRequest{Key: key, CountOnly: true}, nil, &resp)
	return resp.Header.Revision, err
}

// result is flight's result. A failure counts only for the one who made the
// read: it may be due to that one's context or key, so the others read again.
func (r *nowReader) result(ctx context.Context, flight *nowRead, key string, mine bool) (int64, error) {
	if flight.err != nil && !mine {
		return r.own(ctx, key)
	}
	return flight.revision, flight.err
}
