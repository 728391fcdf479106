package etcd

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/alarm"
	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

const (
	// watchQuiet is how long a stream may be silent before its member is asked
	// whether it still follows the cluster.
	watchQuiet = 5 * time.Second
	// watchPatience bounds each question to the member.
	watchPatience = 5 * time.Second
	// rejoinAfter is how long a watch whose reader was slow has a stream to itself
	// at least. Each move makes the server look into its history.
	rejoinAfter = time.Minute
)

// watchConn looks after the watch streams of one connection. It asks the member what
// they want to know, one question for all of them: 10,000 idle watches on 100 streams
// cost one read every watchQuiet. It lives as long as the connection has watch
// streams.
//
// It has two goroutines, neither of which runs while there is nothing to do: ask makes
// calls, and may wait for an answer; guard leaves the connection while it is suspect,
// whatever ask waits for.
type watchConn struct {
	hub  *watchHub
	conn balance.Picked

	// known is the progressTrust in the member. Only ask writes it.
	known atomic.Uint32

	streams []*watchStream // guarded by hub.mu
	left    *call.Error    // why they have left; likewise; nil: they have not

	// mu guards the fields below. It is taken last, with any lock of a watch held. A
	// goroutine is started while over is false: then the receiver of some stream
	// runs, so that hub.routines is not zero.
	mu       sync.Mutex
	over     bool               // the last stream has gone
	ctx      context.Context    // of the goroutines, while one runs; ends when over
	cancel   context.CancelFunc // of ctx
	asking   bool               // ask runs
	looks    bool               // ask is to look, once more if it runs
	guarding bool               // guard runs
	tick     time.Time          // when the quiet streams are looked at next
	later    alarm.Alarm        // has ask look, while it does not run
}

func newWatchConn(h *watchHub, conn balance.Picked) *watchConn {
	c := &watchConn{
		hub: h, conn: conn, tick: time.Now().Add(watchQuiet),
	}
	c.later = alarm.Of(&h.routines, c.look)
	return c
}

// connLocked is what looks after the streams of a connection; nil if it has none.
func (h *watchHub) connLocked(conn balance.Picked) *watchConn {
	for _, c := range h.conns {
		if c.conn.Same(conn) {
			return c
		}
	}
	return nil
}

// joinLocked has the stream looked after.
func (h *watchHub) joinLocked(s *watchStream) {
	c := h.connLocked(s.Conn)
	if c == nil {
		c = newWatchConn(h, s.Conn)
		h.conns = append(h.conns, c)
		c.look()
		if c.conn.State() != transport.Ready { // before its first stream
			c.suspect(watchAgain)
		}
	}
	c.streams = append(c.streams, s)
	s.conn = c
	switch { // while the stream was opened
	case c.conn.Removed():
		c.suspect(0)
	case c.left != nil:
		s.end(c.left)
	}
}

func (h *watchHub) leaveLocked(s *watchStream) {
	c := s.conn
	c.streams = slices.DeleteFunc(c.streams, func(other *watchStream) bool { return other == s })
	if len(c.streams) == 0 {
		h.conns = slices.DeleteFunc(h.conns, func(other *watchConn) bool { return other == c })
		c.end()
	}
}

// end ends the goroutines.
func (c *watchConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.later.Stop()
	if c.cancel != nil {
		c.cancel()
	}
}

// leaveRemoved has the watches leave the members that are not in the set any longer.
func (h *watchHub) leaveRemoved() {
	h.mu.Lock()
	conns := slices.Clone(h.conns)
	h.mu.Unlock()
	for _, c := range conns {
		if c.conn.Removed() {
			c.endRemoved()
		}
	}
}

// suspect notes that the connection has turned suspect.
func (h *watchHub) suspect(conn balance.Picked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.connLocked(conn); c != nil {
		c.suspect(0)
	}
}

// suspect has guard see, after a pause, whether to leave the connection.
func (c *watchConn) suspect(pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guarding || c.over {
		return
	}
	c.guarding = true
	ctx := c.contextLocked()
	c.hub.routines.Go(func() { c.guard(ctx, pause) })
}

// look has ask see what the streams want to know.
func (c *watchConn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks = true
	if c.asking || c.over {
		return
	}
	c.asking = true
	c.later.Stop()
	ctx := c.contextLocked()
	c.hub.routines.Go(func() { c.ask(ctx) })
}

// contextLocked is the context of a goroutine that begins.
func (c *watchConn) contextLocked() context.Context {
	if c.ctx == nil {
		// Not a child of hub.ctx, which would keep a map for it: close ends the
		// streams, and their last one the goroutines.
		c.ctx, c.cancel = context.WithCancel(context.Background())
	}
	return c.ctx
}

// restLocked ends the context if no goroutine runs.
func (c *watchConn) restLocked() {
	if !c.asking && !c.guarding {
		c.cancel()
		c.ctx, c.cancel = nil, nil
	}
}

// all is the streams of the connection.
func (c *watchConn) all() []*watchStream {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	return slices.Clone(c.streams)
}

// endAll ends every stream; the watches go elsewhere.
func (c *watchConn) endAll(message string) {
	for _, s := range c.all() {
		s.end(s.Broken(message))
	}
}

// leave ends every stream, and those that are being opened: another connection has taken the
// place of this one, of whose member nothing can be asked any more.
func (c *watchConn) leave(reason *call.Error) {
	c.hub.mu.Lock()
	c.left = reason
	c.hub.mu.Unlock()
	for _, s := range c.all() {
		s.end(reason)
	}
}

func (c *watchConn) endRemoved() { c.endAll("the endpoint was removed from the client") }

// guard is the goroutine that leaves the connection. It runs while that is suspect, so that
// it also ends streams that join meanwhile.
func (c *watchConn) guard(ctx context.Context, pause time.Duration) {
	for ; ; pause = watchAgain {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		switch {
		case !c.isSuspect():
			return
		case c.conn.Removed():
			c.endRemoved()
		case c.betterIsUp(ctx):
			c.endAll("the member has gone silent")
		}
	}
}

// isSuspect reports whether guard is to go on.
func (c *watchConn) isSuspect() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn.State() != transport.Ready || c.conn.Removed() {
		return true
	}
	c.guarding = false
	c.restLocked()
	return false
}

// betterIsUp looks for another connection, if one may serve at once, and
// reports whether it is up while this one is still not ready. The streams stay where they
// are meanwhile.
func (c *watchConn) betterIsUp(ctx context.Context) bool {
	engine := c.hub.engine
	if !engine.Set.Elsewhere(c.conn, balance.Watch) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, watchAgain)
	defer cancel()
	better, ok := engine.Set.Up(balance.Watch)
	if !ok {
		better, _ = engine.Set.Pick(ctx, balance.Watch)
	}
	return better.Conn != nil && !better.Same(c.conn) && better.State() == transport.Ready && c.conn.State() != transport.Ready
}

// ask is the goroutine that asks the member. It runs when there is something to be asked,
// and every watchQuiet.
func (c *watchConn) ask(ctx context.Context) {
	for unanswered := false; c.mayLook(unanswered); {
		if c.ticks() {
			c.rejoin()
		}
		c.learnTrust(ctx)
		if q := c.question(); q != nil {
			c.put(ctx, q)
		}
		unanswered = c.trust() == progressUnknown || c.isWanted()
	}
}

// mayLook reports whether ask is to look, once more. If not, ask ends, and look begins it
// again, soon if something is unanswered.
func (c *watchConn) mayLook(unanswered bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looks && !c.over {
		c.looks = false
		return true
	}
	c.asking = false
	c.restLocked()
	if c.over {
		return false
	}
	pause := time.Until(c.tick)
	if unanswered {
		pause = min(pause, watchAgain)
	}
	c.later.Set(pause)
	return false
}

// ticks reports, once, that watchQuiet has passed.
func (c *watchConn) ticks() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Until(c.tick) > 0 {
		return false
	}
	c.tick = time.Now().Add(watchQuiet)
	return true
}

// question is what the streams want to know of the member: one read answers it all.
type question struct {
	key string // of some watch: a user that may watch it may read it
	// quiet are the streams on which nothing has come for a while. A member that
	// answers PINGs but has come to a stop inside fails the read. A member without a
	// leader does not: it ends the streams itself when that lasts.
	quiet []*watchStream
	// unchecked are the streams with watches whose history must be checked, and seen is
	// what each watch had seen then. A watch that has seen more than the cluster has
	// would wait in silence until these revisions are reached again, and then deliver
	// another history. Only the answer to a linearizable read tells such a cluster from a
	// member that is behind the others.
	unchecked []*watchStream
	seen      map[*Watcher]int64
	// ahead are the watches that want progress and are ahead of the store, as a watch
	// from now is until the next change: the server says nothing of progress to such a
	// watch, nor to all watches of its stream. A read that finds nothing for them to
	// deliver says the same.
	ahead []*Watcher
}

// question returns nil when no stream wants to know anything.
func (c *watchConn) question() *question {
	q := &question{seen: make(map[*Watcher]int64)}
	seen := c.hub.engine.Seen()
	for _, s := range c.all() {
		s.addTo(q, seen)
	}
	if len(q.quiet)+len(q.unchecked)+len(q.ahead) == 0 {
		return nil
	}
	return q
}

// addTo adds what the stream wants to know. store is the highest revision that any answer
// has shown.
func (s *watchStream) addTo(q *question, store int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.allLocked()
	if s.ended || len(all) == 0 {
		return
	}
	q.key = all[0].create.key()
	if time.Since(s.heard) >= watchQuiet {
		q.quiet = append(q.quiet, s)
	}
	check := s.unchecked
	if check {
		s.unchecked = false
		q.unchecked = append(q.unchecked, s)
	}
	for _, w := range all {
		w.mu.Lock()
		if check {
			q.seen[w] = w.seen
		}
		if w.wantsNewsLocked(store) {
			q.ahead = append(q.ahead, w)
		}
		w.mu.Unlock()
	}
}

// put asks the member, and hands out the answer.
func (c *watchConn) put(ctx context.Context, q *question) {
	h, err := c.hub.engine.AskRevision(ctx, c.conn, q.key, watchPatience)
	if err != nil {
		c.notAnswered(ctx, q, err)
		return
	}
	c.hub.endBeyond(q.seen, c.conn.Endpoint, h.Revision)
	q.follows() //nolint:contextcheck // a watch that is resumed is reported without a context
	if h.Revision < c.hub.engine.Seen() {
		return // the member lags: what it has is no news to a watch that is ahead of it
	}
	for _, w := range q.ahead {
		w.nothingUpTo(ResponseHeader(h))
	}
}

// follows notes that the member follows the cluster: it serves the watches that were to be
// checked.
func (q *question) follows() {
	for _, s := range q.unchecked {
		for _, w := range s.all() {
			if _, asked := q.seen[w]; asked {
				s.serves(w)
			}
		}
	}
}

// notAnswered takes the failure of a question. A read that could not be sent shows
// that the member takes no more streams on the connection, unless that drains.
func (c *watchConn) notAnswered(ctx context.Context, q *question, err *call.Error) {
	if err.Final() {
		q.follows() //nolint:contextcheck // a refusal is an answer too; and as above
	} else {
		for _, s := range q.unchecked {
			s.mu.Lock()
			s.unchecked = true // asked again
			s.mu.Unlock()
		}
	}
	if !err.Silent() || len(q.quiet) == 0 || ctx.Err() != nil {
		return
	}
	switch {
	case err.Outcome != call.OutcomeNotSent:
	case c.conn.State() < transport.Draining:
		c.crowd()
		return
	case !c.betterIsUp(ctx): // its endpoint cannot be reached for now
		return
	}
	c.hub.engine.Set.SetAside(c.conn)
	if compared := c.hub.engine.Set.Doubt(c.conn); compared != nil {
		select { // the next stream is to go to the better connection
		case <-compared:
		case <-ctx.Done():
		}
		if c.conn.Replaced() {
			c.leave(err)
			return
		}
	}
	for _, s := range q.quiet {
		if s.isQuiet() {
			s.end(err)
		}
	}
}

// isWanted: a stream wants to know something that was not answered.
func (c *watchConn) isWanted() bool {
	return slices.ContainsFunc(c.all(), func(s *watchStream) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.unchecked && !s.ended
	})
}

// crowd has the streams that the member has taken serve the watches also of those
// that wait to be taken, because of its --max-concurrent-streams.
func (c *watchConn) crowd() {
	var taken, untaken []*watchStream
	for _, s := range c.all() {
		if s.isTaken() {
			taken = append(taken, s)
		} else {
			untaken = append(untaken, s)
		}
	}
	if len(taken) == 0 || len(untaken) == 0 {
		return
	}
	room := c.hub.widenRoom()
	for _, s := range taken {
		s.mu.Lock()
		s.room = room
		s.mu.Unlock()
	}
	for _, s := range untaken {
		refused := s.Broken("the member takes no more streams")
		refused.Outcome = call.OutcomeNotSent
		s.end(refused)
	}
}

func (s *watchStream) isTaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers
}

func (h *watchHub) widenRoom() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.room = min(10*h.room, creationsPerStream)
	return h.room
}

// rejoin ends the streams of watches whose reader was slow and has caught up, so that
// they share one again.
func (c *watchConn) rejoin() {
	for _, s := range c.all() {
		if w := s.solitary(); w != nil && s.isQuiet() && w.mayRejoin() {
			s.end(&call.Error{
				Op: rpc.Watch.Op, Endpoint: s.Endpoint(), Code: transport.Unavailable,
				Message: "the watch goes back to a shared stream", Transient: true,
			})
		}
	}
}

func (s *watchStream) isQuiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended && time.Since(s.heard) >= watchQuiet
}

// mayRejoin: the reader has caught up, and the watch has been isolated for long.
func (w *Watcher) mayRejoin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life.isolated && len(w.queue) == 0 && time.Since(w.life.isolatedSince) >= rejoinAfter
}
