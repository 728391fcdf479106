package balance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/transport"
)

// Lane is what a connection is for. Each lane of a member is a connection of its
// own, so that a large read can starve neither a watch nor a renewal.
type Lane uint8

const (
	// Unary carries calls and lease streams.
	Unary Lane = iota
	// Watch carries watch streams.
	Watch
	// Bulk carries range streams and snapshots.
	Bulk

	lanes
)

// Dialer connects to a member. transport.Dial with its options is the ordinary
// one.
type Dialer func(ctx context.Context, target transport.Target) (transport.Conn, error)

// Config is what a Set is made of.
type Config struct {
	Endpoints []Endpoint
	Dial      Dialer
	// Check, when not nil, looks at each new connection when there are several
	// endpoints. Connecting includes it.
	Check Checker
	// Probe, when not nil, asks whether a member that was set aside serves again.
	// nil takes it for granted.
	Probe Prober
	// DialTimeout bounds one attempt to connect, handshakes included; 0 means 5 s.
	DialTimeout time.Duration
	// Observer may be nil.
	Observer Observer
}

const (
	defaultDialTimeout = 5 * time.Second
	// Reconnecting backs off exponentially with full jitter between these.
	backoffFirst = 20 * time.Millisecond
	backoffCap   = 2 * time.Second
	// shortBackoff is how long a pick waits for a member to become ready to be
	// tried, when there is no other. Beyond it, failing at once is kinder.
	shortBackoff = 100 * time.Millisecond
	// stagger is how long a pick waits for a dial before it starts another one
	// beside it.
	stagger = 150 * time.Millisecond
	// stableAfter is how long a connection must have lived for another one to be
	// made at once. If it ends sooner, and has answered nothing, it counts as a
	// failure to connect; if it has, that was the first.
	stableAfter = time.Second
)

// ErrClosed is the cause of errors after Close.
var ErrClosed = errors.New("client is closed")

// Set is the endpoints of one client. It is safe for concurrent use.
type Set struct {
	dial        Dialer
	check       Checker
	mistrust    atomic.Bool // connections are checked whatever there are of endpoints
	probe       Prober
	dialTimeout time.Duration
	observer    Observer
	epoch       time.Time
	view        atomic.Pointer[view]   // read without a lock, written with mu held
	preferred   atomic.Pointer[member] // as view; nil: none
	ctx         context.Context        // of all dials; ended by Close
	cancel      context.CancelFunc
	routines    sync.WaitGroup // dials, probes, and connections until they are over

	mu      sync.Mutex // guards the fields below, all of every link and health
	closed  bool
	guests  []*member     // see PickNamed
	settled chan struct{} // closed, and made anew, when a dial has ended
}

// New makes a set; it connects to nothing.
func New(c Config) *Set {
	if c.DialTimeout <= 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if c.Observer == nil {
		c.Observer = noObserver{}
	}
	s := &Set{
		dial: c.Dial, check: c.Check, probe: c.Probe, dialTimeout: c.DialTimeout, observer: c.Observer,
		epoch: time.Now(), settled: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.view.Store(newViewLocked(c.Endpoints, nil))
	return s
}

// Picked is a connection chosen for a call.
type Picked struct {
	transport.Conn
	// Endpoint is the member's name, for errors.
	Endpoint string

	member *member
}

// picked is a choice of m, by c.
func (m *member) picked(c transport.Conn) Picked { return Picked{c, m.endpoint.Name, m} }

// Up chooses a random fit member: its connection is up and nothing speaks against
// it. It never waits; [Set.Pick] is for when it finds none.
func (s *Set) Up(lane Lane) (Picked, bool) {
	v := s.view.Load()
	m := v.random()
	if c := m.fit(lane); c != nil {
		return m.picked(c), true
	}
	s.tend(m, lane)
	return v.anyFit(lane, nil)
}

// Pick brings up members, a random one first and the next when that takes long,
// and takes the first that is up and fit. One that is not fit will do when there
// is no other. When every member has refused it fails at once, with an
// *UnreachableError as the cause.
func (s *Set) Pick(ctx context.Context, lane Lane) (Picked, error) {
	for {
		r := race{s: s, lane: lane, view: s.view.Load()}
		p, err := r.run(ctx)
		if err != nil || p.Conn != nil {
			return p, err
		}
		if s.view.Load() != r.view {
			continue // the endpoints were changed meanwhile
		}
		wait := time.Until(s.nextTry(lane))
		if r.dialed || wait > shortBackoff {
			return Picked{}, s.unreachable(lane)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Picked{}, contextError(ctx, s.unreachable(lane))
		}
	}
}

// contextError is the error of a pick that its context has ended while doing
// what says.
func contextError(ctx context.Context, what error) error {
	code := transport.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = transport.DeadlineExceeded
	}
	return &transport.Error{Code: code, Outcome: transport.NotSent, Message: what.Error(), Cause: ctx.Err()}
}

// nextTry is when the first member may be tried again.
func (s *Set) nextTry(lane Lane) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first time.Time
	for i, m := range s.view.Load().members {
		if t := m.links[lane].notBefore; i == 0 || t.Before(first) {
			first = t
		}
	}
	return first
}

// connect starts a dial of m, or joins the one under way. It returns nil while
// the member's backoff lasts, or when the connection is there already.
func (s *Set) connect(m *member, lane Lane) (*dial, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connectLocked(m, lane)
}

func (s *Set) connectLocked(m *member, lane Lane) (*dial, error) {
	if s.closed {
		return nil, closedError()
	}
	if m.removed {
		return nil, nil
	}
	l := &m.links[lane]
	for _, over := range l.reapLocked(time.Now()) {
		s.routines.Go(func() { _ = over.Close() })
	}
	if l.dialing != nil {
		return l.dialing, nil
	}
	if l.current() != nil || time.Now().Before(l.notBefore) {
		l.due.Store(int64(l.notBefore.Sub(s.epoch)))
		return nil, nil
	}
	d := &dial{done: make(chan struct{})}
	l.dialing = d
	l.due.Store(notDue)
	target := m.endpoint.Target
	target.PingSpacing = l.pingSpacing
	s.routines.Go(func() {
		began := time.Now()
		conn, err := s.run(m, target, l, d)
		s.observe(m, lane, began, conn, err)
	})
	return d, nil
}

// run makes one dial, settles its link with the result and wakes who waits.
func (s *Set) run(m *member, target transport.Target, l *link, d *dial) (transport.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.dialTimeout, fmt.Errorf("no connection within %v", s.dialTimeout))
	defer cancel()
	conn, id, err := s.reach(ctx, target)

	s.mu.Lock()
	if (s.closed || m.removed) && conn != nil {
		s.mu.Unlock()
		_ = conn.Close()
		s.mu.Lock()
		conn = nil
	}
	if s.closed {
		err = closedError() // not what the end of s.ctx made of it
	}
	l.settleLocked(conn, err)
	if err != nil {
		s.backOffLanesLocked(m, l)
	}
	s.identifyLocked(m, id)
	d.conn = conn
	l.dialing = nil
	l.due.Store(int64(l.notBefore.Sub(s.epoch)))
	close(s.settled)
	s.settled = make(chan struct{})
	s.mu.Unlock()
	close(d.done)
	return conn, err
}

// backOffLanesLocked has the other lanes of a member wait as l does, if they could
// not connect either: one of them is enough to find that it is back.
func (s *Set) backOffLanesLocked(m *member, l *link) {
	for i := range m.links {
		other := &m.links[i]
		if other == l || other.failures == 0 || other.dialing != nil || other.current() != nil {
			continue
		}
		if other.notBefore.Before(l.notBefore) {
			other.notBefore = l.notBefore
			other.due.Store(int64(l.notBefore.Sub(s.epoch)))
		}
	}
}

// observe tells the observer what a dial has come to, and stays with a
// connection until it is over.
func (s *Set) observe(m *member, lane Lane, began time.Time, conn transport.Conn, err error) {
	up := time.Now()
	c := Connected{Endpoint: m.endpoint.Name, Lane: lane, Took: up.Sub(began), Err: err}
	if conn == nil {
		if s.ctx.Err() != nil || err == nil {
			return // nobody wants it any longer
		}
		s.mu.Lock()
		c.Failures = m.links[lane].failures
		s.mu.Unlock()
		s.observer.Connected(c)
		return
	}
	s.observer.Connected(c)
	<-conn.Done()
	cause := conn.Err()
	s.observer.Disconnected(Disconnected{
		Endpoint: m.endpoint.Name, Lane: lane, Lived: time.Since(up), Err: cause, Ordinary: ordinary(cause),
	})
}

// Close closes every connection and waits for dials to end.
func (s *Set) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	var conns []transport.Conn
	for _, m := range slices.Concat(s.view.Load().members, s.guests) {
		conns = append(conns, m.takeAllLocked()...)
	}
	s.mu.Unlock()
	s.cancel()
	for _, c := range conns {
		_ = c.Close()
	}
	s.routines.Wait()
}

func closedError() error {
	return &transport.Error{Code: transport.Canceled, Outcome: transport.NotSent, Cause: ErrClosed}
}

// UnreachableError says why no member could be reached.
type UnreachableError struct {
	Failures []EndpointError
}

// EndpointError is the last error of one endpoint.
type EndpointError struct {
	Endpoint string
	Err      error
}

func (e *UnreachableError) Error() string {
	var b strings.Builder
	if len(e.Failures) > 1 {
		b.WriteString("no endpoint can be reached: ")
	}
	for i, f := range e.Failures {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Endpoint + ": " + f.Err.Error())
	}
	return b.String()
}

func (e *UnreachableError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// unreachable is the error of a pick that found nothing.
func (s *Set) unreachable(lane Lane) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return closedError()
	}
	e := &UnreachableError{}
	for _, m := range s.view.Load().members {
		err := m.links[lane].lastErr
		if err == nil {
			err = errors.New("not tried")
		}
		e.Failures = append(e.Failures, EndpointError{m.endpoint.Name, err})
	}
	return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: e}
}
