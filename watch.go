package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
)

// WatchRequest is the argument of [Client.Watch].
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
	// RangeEnd watches the keys from Key up to, but not including, RangeEnd. It must
	// be above Key.
	RangeEnd string

	// Revision is the first revision whose events are delivered. The server replays
	// history as far as it is not compacted, and the watch waits for a revision that
	// does not exist yet; but it ends with ErrHistoryReset if the store turns out to have
	// fewer revisions than this client has seen. 0 means from now: every event after Watch
	// was called.
	Revision int64
	// PrevKV asks for each key's pair before the event. The pair is missing where the
	// history before the event is compacted.
	PrevKV bool
	// NoPut leaves puts out, NoDelete deletions. With both, the watch reports only
	// progress, compaction and errors.
	NoPut, NoDelete bool
	// ProgressNotify asks for a response without events at intervals while nothing happens
	// (the server's --watch-progress-notify-interval, --experimental-… before 3.6, 10
	// minutes unless configured), see [WatchResponse.IsProgress]. The server sends none to
	// a watch that is ahead of the store, as a watch from now is until the next change of
	// any key. The client answers such a watch from a read, at once and then about every
	// minute.
	ProgressNotify bool

	// NotifyResume asks for a response without events each time another stream has taken
	// the watch over, see [WatchResponse.Resumed].
	NotifyResume bool

	// Fragment asks the server to cut responses above 1.5 times its request limit
	// (1.5 MiB unless configured) into pieces from the start. Without it the client asks
	// for pieces only when a watch's responses prove too large to be held whole, because
	// the time that etcd takes for cutting grows with the square of the events in a
	// piece. Set it where history has values of megabytes: etcd replays up to a thousand
	// revisions in a response, and a response above 2 GiB never leaves the server. The
	// watch delivers revisions whole either way.
	Fragment bool

	// OwnStream gives the watch a stream that it shares with no other watch, for as long as
	// it lives. An answer to [Watcher.RequestProgress] then depends on this watch alone, and
	// the client repeats a question that the server drops after milliseconds, not after a
	// second. It costs a stream of the connection and two goroutines, so it is for few
	// watches, such as that of a cache. A watch whose reader is slow makes its own server
	// stream wait.
	OwnStream bool

	// EndWithoutLeader ends the watch with ErrNoLeader when the member that serves it
	// loses its leader and the next member has none either. Without it the watch waits
	// for a leader and misses nothing; [Watcher.State] shows the wait.
	EndWithoutLeader bool

	// BufferBytes is about how many bytes of events the client keeps for a slow reader.
	// Beyond it the client makes the server wait, and loses nothing. One or two
	// responses of the server come on top of it: a few MiB, or more for revisions of
	// many small events. 0 means 4 MiB.
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
	// revision are in one response. To continue after them, in another process for
	// example, start a watch at the last event's ModRevision plus one. Do not start it at
	// Header.Revision, unless IsProgress: events below that may still follow.
	Events []Event
	// Unreliable: the response reports progress, and its member is older than etcd 3.5.13
	// or did not tell its version. Such a member may send events at or below
	// Header.Revision after it.
	Unreliable bool

	// Resumed: the watch has moved to another stream, and later responses come from there.
	// There are no events, and Header is that of the member's confirmation: its Revision
	// is the member's, and says nothing about what has been delivered. Only with
	// WatchRequest.NotifyResume.
	//
	// A member before 3.5.16 may leave out a deletion at exactly the revision of a
	// compaction, and a cluster that was restored from a backup may have reached the
	// watch's revision again. To find out, read the keys again.
	Resumed bool
}

// IsProgress reports whether the response only says that everything up to
// Header.Revision has been delivered; see Unreliable for old servers.
func (r *WatchResponse) IsProgress() bool { return len(r.Events) == 0 && !r.Resumed }

// CompactedError ends a watch whose next revision has been compacted away: the watch
// has lost events. Read the keys again and watch from the revision after that read.
// errors.Is finds ErrCompacted.
type CompactedError struct {
	// Revision is the oldest revision that is left.
	Revision int64
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("revision has been compacted; the oldest that is left is %d", e.Revision)
}

// Is makes errors.Is(err, ErrCompacted) true.
func (e *CompactedError) Is(target error) bool { return target == ErrCompacted }

// HistoryLost reports whether err has ended a watch because the watch has lost events:
// their revisions are compacted (ErrCompacted), the cluster was restored from a
// backup (ErrHistoryReset), or a revision was too large to be kept
// (ErrRevisionTooLarge). To repair a copy of the keys, read all keys again and watch from
// the revision after that read. A watch from the revision at which this one ended would
// end again, or miss changes. HistoryLost is false for nil and for every other error.
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
	if w.Key, w.RangeEnd, err = filledInterval(r.Key, r.Prefix, r.FromKey, r.RangeEnd); err != nil {
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
// silent, the watch moves to another member and continues after the last event.
//
// ctx bounds only the call of Watch; [Watcher.Close] ends the watch. When ctx has no
// deadline, Config.Timeout bounds the wait for the server.
//
// Errors: ErrInvalidRequest, ErrPermissionDenied and those of every call (see
// [Error]). A revision that is compacted is reported by Read, as *[CompactedError].
//
// To maintain a copy of the keys, read them first and watch from the revision after that
// read. When the watch ends and [HistoryLost] is true, do both again.
//
// etcd: Watch/Watch (since 3.0; Fragment 3.4), KV/Range for the revision
func (c *Client) Watch(ctx context.Context, req WatchRequest) (*Watcher, error) {
	if ctx == nil {
		return nil, invalid(rpc.Watch.Op, errNilContext)
	}
	wire, err := req.wire()
	if err != nil {
		return nil, invalid(rpc.Watch.Op, within("WatchRequest", err))
	}
	wire.enter(&c.space)
	ctx, begun := c.observer.begin(ctx, CallInfo{Op: rpc.Watch.Op, Key: wire.Key, Operations: 1})
	w, err := c.watch(ctx, &req, wire)
	begun.end(err, nil)
	return w, err
}

func (c *Client) watch(ctx context.Context, req *WatchRequest, wire watchCreateRequest) (*Watcher, error) {
	var seen int64
	var err error
	if wire.StartRevision != 0 {
		seen = c.engine.SeenBefore(wire.StartRevision)
	} else {
		if seen, err = c.watches.now.read(ctx, wire.key()); err != nil {
			return nil, err
		}
		wire.StartRevision = seen + 1
	}
	w := newWatcher(c.watches, req, wire, seen)
	if err := c.watches.add(ctx, w); err != nil {
		return nil, err
	}
	return w, nil
}

// nowReader learns the current revision for watches that start from now. The
// server could tell it only after it has registered the watch, too late to know
// which events came before. Concurrent callers share a read, but never one that
// was sent before they asked: it might miss what they know to have happened.
type nowReader struct {
	engine *call.Engine

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
		r.readFor(ctx, flight, key)
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
		return 0, public(call.ContextEnded(ctx, rpc.Watch, ""))
	}
}

// readNext makes the read that follows before, for all callers that have joined flight.
func (r *nowReader) readNext(ctx context.Context, before, flight *nowRead, key string) (int64, error) {
	select {
	case <-before.done:
	case <-ctx.Done(): // the others that have joined learn it from the read's failure
	}
	r.mu.Lock()
	r.next = nil
	r.sent = flight
	r.mu.Unlock()
	r.readFor(ctx, flight, key)
	return r.result(ctx, flight, key, true)
}

// readFor makes the read; flight is r.sent.
func (r *nowReader) readFor(ctx context.Context, flight *nowRead, key string) {
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
	h, err := r.engine.Revision(ctx, key)
	if err != nil {
		return 0, public(err)
	}
	return h.Revision, nil
}

// result is flight's result. A failure counts only for the caller that made the read: its
// context or key may be to blame, so the others read again.
func (r *nowReader) result(ctx context.Context, flight *nowRead, key string, mine bool) (int64, error) {
	if flight.err != nil && !mine {
		return r.own(ctx, key)
	}
	return flight.revision, flight.err
}
