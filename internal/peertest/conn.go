package peertest

import (
	"context"
	"errors"
	"sync"

	"silly.store/etcd/internal/transport"
)

// Conn is a connection to a member.
type Conn struct {
	// Member is the other end.
	Member *Member
	// Target is the dialed target.
	Target transport.Target

	done     chan struct{}
	routines sync.WaitGroup // handlers of calls and streams

	mu       sync.Mutex // guards the fields below
	state    transport.State
	err      *transport.Error // why it has ended
	afterEnd []func()
	answered bool
	quiet    bool
	closes   int
	calls    map[*call]struct{} // that wait
	streams  map[*Stream]struct{}
}

func newConn(m *Member, target transport.Target) *Conn {
	return &Conn{
		Member: m, Target: target, done: make(chan struct{}),
		calls: make(map[*call]struct{}), streams: make(map[*Stream]struct{}),
	}
}

// State returns the connection's state.
func (c *Conn) State() transport.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Answered reports whether the member has answered a request on it.
func (c *Conn) Answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// AfterEnd has f called in its own goroutine when the connection has ended.
func (c *Conn) AfterEnd(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return
	}
	c.afterEnd = append(c.afterEnd, f)
}

// Err returns why the connection has ended.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return nil
	}
	return c.err
}

// Drain stops new calls and streams. The connection ends with the last open one.
func (c *Conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.state = transport.Draining
	}
	c.endIfDrainedLocked()
}

func (c *Conn) endIfDrainedLocked() {
	if c.state == transport.Draining && len(c.calls)+len(c.streams) == 0 {
		c.endLocked(&transport.Error{Code: transport.Unavailable, Cause: transport.ErrDraining})
	}
}

// Close ends the connection and waits for its handlers.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closes++
	c.endLocked(&transport.Error{Code: transport.Canceled, Cause: transport.ErrClosed})
	c.mu.Unlock()
	c.routines.Wait()
	return nil
}

// Closes returns how often Close was called.
func (c *Conn) Closes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closes
}

// End ends the connection and everything on it, as the network or the member would.
// Only the first reason counts; nil means a cut.
func (c *Conn) End(reason *transport.Error) {
	if reason == nil {
		reason = errCut
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(reason)
}

func (c *Conn) endLocked(reason *transport.Error) {
	if c.err != nil {
		return
	}
	c.err, c.state = reason, transport.Closed
	close(c.done)
	for _, f := range c.afterEnd {
		go f()
	}
	for p := range c.calls {
		p.cancel()
	}
	for s := range c.streams {
		s.connEnded(withOutcome(reason, transport.MaybeSent))
		c.leftLocked(s)
	}
}

// TurnSuspect simulates a silence of a second and a half: calls become late, and
// OnSuspect of the open streams is called.
func (c *Conn) TurnSuspect() {
	var calls []func()
	c.mu.Lock()
	if c.state != transport.Ready {
		c.mu.Unlock()
		return
	}
	c.state = transport.Suspect
	for p := range c.calls {
		signal(p.turned)
	}
	for s := range c.streams {
		if s.req.OnSuspect != nil {
			calls = append(calls, s.req.OnSuspect)
		}
	}
	c.mu.Unlock()
	for _, call := range calls {
		call()
	}
}

// Quiet reports whether TurnQuiet was called last, and not Recover.
func (c *Conn) Quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet
}

// TurnQuiet simulates a silence of an eighth of a second: calls become late and are Early.
func (c *Conn) TurnQuiet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet = true
	for p := range c.calls {
		signal(p.quiet)
	}
}

// Recover ends the suspicion, and the quiet.
func (c *Conn) Recover() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet = false
	if c.state == transport.Suspect {
		c.state = transport.Ready
	}
}

// refusalLocked returns why the connection accepts nothing new.
func (c *Conn) refusalLocked() error {
	switch c.state {
	case transport.Closed:
		return withOutcome(c.err, transport.NotSent)
	case transport.Draining:
		return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: transport.ErrDraining}
	}
	return nil
}

// Open starts a stream.
func (c *Conn) Open(ctx context.Context, req transport.Request) (transport.Stream, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx, transport.NotSent)
	}
	serve, refusal := c.Member.asksForStream()
	if refusal != nil {
		return nil, refusal
	}
	s := newStream(c, req)
	c.mu.Lock()
	if err := c.refusalLocked(); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	c.streams[s] = struct{}{}
	c.Member.count(func(n *Counts) { n.OpenStreams++ })
	if serve != nil {
		c.routines.Go(func() { serve(s) })
	}
	c.mu.Unlock()
	if serve == nil {
		c.Member.leave(s)
	}
	return (*clientStream)(s), nil
}

// left removes a stream that has ended from the connection.
func (c *Conn) left(s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leftLocked(s)
	c.endIfDrainedLocked()
}

func (c *Conn) leftLocked(s *Stream) {
	if _, open := c.streams[s]; open {
		delete(c.streams, s)
		c.Member.count(func(n *Counts) { n.OpenStreams-- })
	}
}

func (c *Conn) hasAnswered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = true
}

func withOutcome(e *transport.Error, o transport.Outcome) *transport.Error {
	out := *e
	out.Outcome = o
	return &out
}

func contextError(ctx context.Context, o transport.Outcome) *transport.Error {
	code := transport.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = transport.DeadlineExceeded
	}
	return &transport.Error{Code: code, Outcome: o, Cause: ctx.Err()}
}
