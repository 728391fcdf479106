package etcd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

const (
	// watchQuiet is how long a stream may be silent before its member is asked
	// whether it still follows the cluster.
	watchQuiet = 5 * time.Second
	// watchProbe bounds that question.
	watchProbe = 5 * time.Second
	// rejoinAfter is how long a watch whose reader was slow has a stream of its
	// own at least. Each move makes the server look into its history.
	rejoinAfter = time.Minute
)

// watchProber looks after the streams of one connection: 10,000 idle watches on
// 100 streams cost one read every watchQuiet. It lives as long as the connection
// has watch streams.
type watchProber struct {
	hub     *watchHub
	conn    balance.Picked
	ctx     context.Context // ends with the last stream
	cancel  context.CancelFunc
	streams map[*watchStream]struct{} // guarded by hub.mu
}

// joinLocked has the stream looked after.
func (h *watchHub) joinLocked(s *watchStream) {
	p := h.probers[s.conn.Conn]
	if p == nil {
		p = &watchProber{hub: h, conn: s.conn, streams: make(map[*watchStream]struct{})}
		p.ctx, p.cancel = context.WithCancel(h.ctx)
		h.probers[s.conn.Conn] = p
		h.routines.Go(p.run)
	}
	p.streams[s] = struct{}{}
}

func (h *watchHub) leaveLocked(s *watchStream) {
	p := h.probers[s.conn.Conn]
	if p == nil {
		return
	}
	delete(p.streams, s)
	if len(p.streams) == 0 {
		p.cancel()
		delete(h.probers, s.conn.Conn)
	}
}

// run is the prober's goroutine.
func (p *watchProber) run() {
	tick := time.NewTicker(watchQuiet)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return
		}
		p.rejoin()
		switch err := p.probe(); {
		case err == nil:
		case err.Outcome == NotSent:
			p.crowd()
		default:
			p.hub.foundStuck(p.conn.Endpoint)
			for _, s := range p.quiet() {
				s.end(err)
			}
		}
	}
}

// all is the streams of the connection.
func (p *watchProber) all() []*watchStream {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	return slices.Collect(maps.Keys(p.streams))
}

// quiet is those of them on which nothing has come for a while.
func (p *watchProber) quiet() (quiet []*watchStream) {
	for _, s := range p.all() {
		if s.isQuiet() {
			quiet = append(quiet, s)
		}
	}
	return quiet
}

// probe asks the member, if a stream is quiet, whether it still follows the
// cluster, by a linearizable read on the same connection. A member that answers
// PINGs but has come to a stop inside fails it. A member without a leader does
// not: it ends the streams itself when that lasts. A read that could not be sent
// shows that the member takes no more streams on the connection.
func (p *watchProber) probe() *Error {
	for _, s := range p.quiet() {
		w := s.anyWatcher()
		if w == nil {
			continue
		}
		// Any token will do: the member answers for it only when it has read.
		_, err := s.now(w.create.Key, p.hub.c.tokens.peek())
		var e *Error
		if errors.As(err, &e) && (e.sentinel == ErrTimeout || e.sentinel == ErrServerTimeout || e.sentinel == ErrUnavailable) {
			return e
		}
		return nil
	}
	return nil
}

// crowd has the streams that the member has taken serve the watches also of those
// that wait to be taken, its --max-concurrent-streams being what it is.
func (p *watchProber) crowd() {
	var works, waits []*watchStream
	for _, s := range p.all() {
		if s.isTaken() {
			works = append(works, s)
		} else {
			waits = append(waits, s)
		}
	}
	if len(works) == 0 || len(waits) == 0 {
		return
	}
	room := p.hub.widenRoom()
	for _, s := range works {
		s.mu.Lock()
		s.room = room
		s.mu.Unlock()
	}
	for _, s := range waits {
		s.end(&Error{
			Op: rpcWatch.op, Endpoint: s.conn.Endpoint, Code: CodeUnavailable, Outcome: NotSent,
			Message: "the member takes no more streams", sentinel: ErrUnavailable, transient: true,
		})
	}
}

func (s *watchStream) isTaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.works
}

func (h *watchHub) widenRoom() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.room = min(10*h.room, creationsPerStream)
	return h.room
}

// rejoin ends the streams of watches whose reader was slow and is not any more,
// so that they share one again.
func (p *watchProber) rejoin() {
	for _, s := range p.all() {
		if w := s.solitary(); w != nil && s.isQuiet() && w.mayRejoin() {
			s.end(&Error{
				Op: rpcWatch.op, Endpoint: s.conn.Endpoint, Code: CodeUnavailable,
				Message: "the watch goes back to a shared stream", transient: true,
			})
		}
	}
}

func (s *watchStream) isQuiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended && time.Since(s.heard) >= watchQuiet
}

// mayRejoin: the reader has caught up, and the watch has been alone for long.
func (w *Watcher) mayRejoin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alone && len(w.queue) == 0 && time.Since(w.aloneSince) >= rejoinAfter
}

// flee leaves a connection that has turned suspect, if a better one can be had.
// The stream stays where it is while another is looked for.
func (s *watchStream) flee() {
	h := s.hub
	if s.conn.State() != transport.Suspect || !h.c.set.Elsewhere(s.conn, rpcWatch.lane) {
		return
	}
	better, err := h.c.pick(s.ctx, &rpcWatch, h.c.bound(s.ctx, &rpcRange))
	if err != nil || better.Same(s.conn) || better.State() != transport.Ready || s.conn.State() != transport.Suspect {
		return
	}
	s.end(&Error{
		Op: rpcWatch.op, Endpoint: s.conn.Endpoint, Code: CodeUnavailable,
		Message: "the member has gone silent", sentinel: ErrUnavailable, transient: true,
	})
}
