package etcd

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"silly.store/etcd/internal/transport"
)

// watchHub puts watchers on streams: new ones, those whose stream has ended, and
// those that need one of their own.
//
// Locks are taken in the order hub.mu, watchStream.mu, Watcher.mu. A watcher is
// put on a stream by the hub, and taken off by that stream's receiver or by its
// own end; so once it is off, nothing of the old stream reaches it.
type watchHub struct {
	c        *Client
	now      nowReader
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	routines sync.WaitGroup // streams and the opener

	mu      sync.Mutex // guards the fields below
	closed  bool
	streams map[*watchStream]struct{}
	probers map[transport.Conn]*watchProber
	waiting []*Watcher // for a stream, in order
	opening bool       // the opener runs
	room    int        // how many watchers a stream takes
	// failures in a row of streams that ended before they had confirmed
	// anything, and why the last one did.
	failures int
	lastErr  error
	// stuck is a member that answers PINGs but no reads, as found last; it is
	// avoided until stuckUntil if there is another.
	stuck      string
	stuckUntil time.Time
}

const (
	// watchersPerStream: the server keeps up to 128 responses for a stream; with
	// more watchers than that on one key, each change would overflow it.
	watchersPerStream = 100
	// creationsPerStream is when a stream takes no new watchers: the server
	// never quite forgets a cancelled one.
	creationsPerStream = 10_000
	// Opening streams backs off between these while it fails.
	watchBackoffFirst = 20 * time.Millisecond
	watchBackoffCap   = 2 * time.Second
	// stuckFor is how long a stuck member is avoided, and stuckPicks how often
	// another one is asked for, stuckPause apart.
	stuckFor   = 30 * time.Second
	stuckPicks = 20
	stuckPause = 10 * time.Millisecond
)

func newWatchHub(c *Client) *watchHub {
	h := &watchHub{c: c, room: watchersPerStream, now: nowReader{c: c}, streams: make(map[*watchStream]struct{}), probers: make(map[transport.Conn]*watchProber)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// add puts a new watcher on a stream and waits until it is confirmed.
func (h *watchHub) add(ctx context.Context, w *Watcher) error {
	bounded, cancel := h.c.createTimeout(ctx)
	defer cancel()
	if err := h.place(w); err != nil {
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
	h.remove(w, &Error{Op: "Watch", Code: CodeCanceled, sentinel: ErrWatchClosed})
	return h.giveUp(ctx, bounded)
}

// giveUp is the error of a Watch whose time ran out before it was confirmed.
func (h *watchHub) giveUp(ctx, bounded context.Context) error {
	e := &Error{Op: "Watch", Code: codeOfContext(bounded), cause: context.Cause(bounded)}
	if ctx.Err() == nil {
		e.sentinel = ErrTimeout
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lastErr != nil {
		e.Message = e.cause.Error() + "; last error: " + h.lastErr.Error()
	}
	return e
}

// place puts w on a stream with room, or in line for one.
func (h *watchHub) place(w *Watcher) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return clientClosed("Watch")
	}
	if len(h.waiting) > 0 || !h.shareLocked(w) {
		h.waitLocked(w)
	}
	return nil
}

// shareLocked puts w on a stream that is there already, if one has room.
func (h *watchHub) shareLocked(w *Watcher) bool {
	for s := range h.streams {
		if s.conn.State() == transport.Ready && s.attach(w) {
			return true
		}
	}
	return false
}

// waitLocked puts w in line and sees that somebody opens a stream for it.
func (h *watchHub) waitLocked(w *Watcher) {
	h.waiting = append(h.waiting, w)
	if !h.opening {
		h.opening = true
		h.routines.Go(h.open)
	}
}

// open is the opener: it opens streams until no watcher waits for one.
func (h *watchHub) open() {
	for {
		batch, kind, pause := h.nextBatch()
		if batch == nil {
			return
		}
		if pause > 0 && !sleep(h.ctx, pause) {
			h.endAll(batch)
			return
		}
		if batch = h.share(batch); len(batch) == 0 {
			continue
		}
		s, err := h.openStream(kind)
		if err != nil {
			h.failed(err)
			h.requeue(batch, err)
			continue
		}
		h.start(s, batch)
	}
}

// nextBatch takes watchers that will share a stream out of the line, with the
// stream's kind and how long to wait before opening it. It ends the opener when
// there are none.
func (h *watchHub) nextBatch() ([]*Watcher, streamKind, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
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
	if h.failures == 0 {
		return batch, kind, 0
	}
	span := min(watchBackoffFirst<<min(h.failures-1, 10), watchBackoffCap)
	return batch, kind, rand.N(span) + 1
}

// share returns those of a batch for which no stream has room.
func (h *watchHub) share(batch []*Watcher) []*Watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := batch[:0]
	for _, w := range batch {
		if !h.shareLocked(w) {
			left = append(left, w)
		}
	}
	return left
}

// openStream opens a stream to a member.
func (h *watchHub) openStream(kind streamKind) (*watchStream, error) {
	token, noToken := h.c.tokens.get(h.ctx, &rpcWatch)
	if noToken != nil {
		return nil, noToken
	}
	for picks := 1; ; picks++ {
		conn, err := h.c.pick(h.ctx, &rpcWatch, h.c.bound(h.ctx, &rpcRange))
		if err != nil {
			return nil, callError(&rpcWatch, "", err)
		}
		if picks >= stuckPicks || !h.isStuck(conn.Endpoint) || !sleep(h.ctx, stuckPause) {
			return newWatchStream(h, conn, token, kind)
		}
	}
}

func (h *watchHub) roomNow() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.room
}

// foundStuck notes that a member answers no reads.
func (h *watchHub) foundStuck(endpoint string) {
	h.mu.Lock()
	h.stuck, h.stuckUntil = endpoint, time.Now().Add(stuckFor)
	h.mu.Unlock()
}

func (h *watchHub) isStuck(endpoint string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stuck == endpoint && time.Now().Before(h.stuckUntil)
}

// start puts a batch on a new stream and starts its goroutines.
func (h *watchHub) start(s *watchStream, batch []*Watcher) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		s.stream.Close()
		h.endAll(batch)
		return
	}
	h.streams[s] = struct{}{}
	h.joinLocked(s)
	for _, w := range batch {
		if !s.attach(w) {
			h.waitLocked(w)
		}
	}
	h.routines.Go(s.send)
	h.routines.Go(s.receive)
	h.mu.Unlock()
}

// requeue puts a batch back in line after err. Those that were never confirmed
// are told when there is no hope; a watch that has run goes on trying, unless the
// user is locked out.
func (h *watchHub) requeue(batch []*Watcher, err error) {
	if hopeless(err) {
		kept := batch[:0]
		for _, w := range batch {
			if w.isCreated() && !h.lockedOut(err) {
				kept = append(kept, w)
			} else {
				w.end(err)
			}
		}
		batch = kept
	}
	batch = endLeaderless(batch, err)
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.waiting = append(batch, h.waiting...)
	}
	h.mu.Unlock()
	if closed {
		h.endAll(batch)
	}
}

// failed notes that a stream could not be opened, or ended at once.
func (h *watchHub) failed(err error) {
	h.mu.Lock()
	h.failures++
	h.lastErr = err
	h.mu.Unlock()
}

// worked notes that a stream has confirmed a watch.
func (h *watchHub) worked() {
	h.mu.Lock()
	h.failures, h.lastErr = 0, nil
	h.mu.Unlock()
}

// resume takes the watchers of a stream that has ended and puts them in line.
func (h *watchHub) resume(s *watchStream, err error) {
	deserted := s.isEnded()
	orphans := s.detachAll(err)
	if !s.confirmed {
		orphans = endLeaderless(orphans, err)
	}
	h.mu.Lock()
	delete(h.streams, s)
	h.leaveLocked(s)
	if !s.confirmed && !deserted {
		h.failures++
		h.lastErr = err
	}
	closed := h.closed
	if !closed && !hopeless(err) {
		for _, w := range orphans {
			h.waitLocked(w)
		}
		orphans = nil
	}
	h.mu.Unlock()
	switch {
	case closed:
		h.endAll(orphans)
	default:
		for _, w := range orphans {
			w.end(err)
		}
	}
}

// endLeaderless ends those of a batch that are not to wait for a leader, when a
// stream has had none from the beginning, and returns the others.
func endLeaderless(batch []*Watcher, err error) []*Watcher {
	if !errors.Is(err, ErrNoLeader) {
		return batch
	}
	return slices.DeleteFunc(batch, func(w *Watcher) bool {
		if w.endLeaderless {
			w.end(err)
		}
		return w.endLeaderless
	})
}

// hopeless: another stream would end in the same way.
func hopeless(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case CodeUnimplemented, CodePermissionDenied, CodeUnauthenticated, CodeInvalidArgument:
		return true
	}
	return e.sentinel == ErrResponseTooLarge || e.sentinel == ErrBadEndpoint
}

// lockedOut: the server does not accept the user's name and password, and the
// client will have no others.
func (h *watchHub) lockedOut(err error) bool {
	return !h.c.tokens.mayChange() && (errors.Is(err, ErrAuthFailed) || errors.Is(err, ErrUnauthenticated) || errors.Is(err, ErrInvalidAuthToken))
}

// historyReset ends the watches that have seen revisions beyond the one to
// which the cluster has fallen back. One that is between two streams ends when it
// has the next.
func (h *watchHub) historyReset(revision int64) {
	h.mu.Lock()
	streams := slices.Collect(maps.Keys(h.streams))
	h.mu.Unlock()
	for _, s := range streams {
		s.endBeyond(s.seen(), revision)
	}
}

// move puts one watcher that has been taken off its stream in line.
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

// remove ends a watch with err, if it has not ended, and tells the server.
func (h *watchHub) remove(w *Watcher, err error) {
	stream, id, first := w.end(err)
	if first && stream != nil {
		stream.detach(id)
	}
}

func (h *watchHub) endAll(watchers []*Watcher) {
	for _, w := range watchers {
		w.end(clientClosed("Watch"))
	}
}

// count is how many watches live, on how many streams, and how many of them wait
// for one.
func (h *watchHub) count() (watches, streams, waiting int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	watches = len(h.waiting)
	for s := range h.streams {
		watches += s.count()
	}
	return watches, len(h.streams), len(h.waiting)
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
		s.stream.Close() // its receiver hands the watchers to resume
	}
	h.routines.Wait()
}
