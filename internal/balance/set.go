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

	"silly.store/etcd/internal/backoff"
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
	// Resolve, when not nil, looks up the hosts of endpoints, and Dial is given
	// addresses; nil: Dial is given what the endpoint says.
	Resolve Resolver
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
	// shortBackoff is how long a pick waits for a member to become ready to be
	// tried, when there is no other. Beyond it, failing at once is kinder.
	shortBackoff = 100 * time.Millisecond
	// stagger is how long a pick waits for a dial that it has started before it starts
	// another one beside it, or, if there is none to start, takes a connection that is up
	// and not fit.
	stagger = 150 * time.Millisecond
	// stableAfter is how long a connection must have lived for another one to be
	// made at once. If it ends sooner, and has answered nothing, it counts as a
	// failure to connect; if it has, that was the first.
	stableAfter = time.Second
)

// redial spaces the attempts to connect to a member that fail in a row.
var redial = backoff.Backoff{First: 20 * time.Millisecond, Cap: 2 * time.Second}

// ErrClosed is the cause of errors after Close.
var ErrClosed = errors.New("client is closed")

// Set is the endpoints of one client. It is safe for concurrent use.
type Set struct {
	dial        Dialer
	resolve     Resolver
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
	adHoc   []*member     // see PickNamed
	settled chan struct{} // closed, and replaced, when a dial has ended

	outage outage
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
		dial: c.Dial, resolve: c.Resolve, check: c.Check, probe: c.Probe, dialTimeout: c.DialTimeout, observer: c.Observer,
		epoch: time.Now(), settled: make(chan struct{}),
	}
	s.outage.revived = make(chan struct{})
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
	lane   Lane
}

// picked is a choice of m, by c, which is a connection of that lane.
func (m *member) picked(c transport.Conn, lane Lane) Picked {
	return Picked{c, m.endpoint.Name, m, lane}
}

// Up chooses a random fit member: its connection is up and nothing speaks against
// it. One whose connection is quiet comes after the others. It never waits; [Set.Pick] is for when it finds none.
func (s *Set) Up(lane Lane) (Picked, bool) {
	v := s.view.Load()
	m := v.random()
	c := m.fit(lane)
	if c != nil && !c.Quiet() {
		return m.picked(c, lane), true
	}
	p, ok := v.anyFit(lane, nil)
	if c == nil {
		if !ok && !m.isAside() {
			m = v.dialOrder(lane)[0] // the dial that a pick joins
		}
		s.tend(m, lane)
	}
	return p, ok
}

// Pick is for when [Set.Up] has found none. It takes what is up and fit by now. Otherwise it
// brings up members, a random one first and the next when that takes long, and takes the
// first that is fit. One that is not fit will do when there is no other. When every member
// has refused it fails at once, with an *UnreachableError as the cause.
func (s *Set) Pick(ctx context.Context, lane Lane) (Picked, error) {
	for {
		r := dialRace{s: s, lane: lane, view: s.view.Load()}
		p, err := r.run(ctx)
		if err != nil || p.Conn != nil {
			return p, err
		}
		if s.view.Load() != r.view || r.cameUp() {
			continue // the endpoints were changed meanwhile, or there is reason to try again
		}
		wait := time.Until(s.nextTry(lane))
		if r.dialed || wait > shortBackoff {
			return Picked{}, s.unreachable(lane)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Picked{}, interrupted(ctx, "waiting to connect again", s.failures(s.view.Load().members, lane))
		}
	}
}

// PickOther is [Set.Pick] for a call that waits on p and may be served by another
// connection. It waits for one that is being dialed, and dials, but does not try again.
func (s *Set) PickOther(ctx context.Context, lane Lane, p Picked) (Picked, error) {
	r := dialRace{s: s, lane: lane, view: s.view.Load(), except: p.Conn}
	other, err := r.run(ctx)
	if err == nil && other.Conn == nil {
		err = s.unreachable(lane)
	}
	return other, err
}

// InterruptedError is the cause of the error of a pick that its context has ended.
type InterruptedError struct {
	// Ended is the context's error.
	Ended error
	// Last is the error of a pick that had ended by itself then: why those that
	// could not be reached could not. nil: no connecting has failed yet.
	Last error
}

func (e *InterruptedError) Error() string { return e.Ended.Error() }
func (e *InterruptedError) Unwrap() error { return e.Ended }

// interrupted is the error of a pick that its context has ended while it was doing
// something, after such failures.
func interrupted(ctx context.Context, doing string, failures []EndpointError) error {
	code := transport.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = transport.DeadlineExceeded
	}
	cause := &InterruptedError{Ended: ctx.Err()}
	if len(failures) > 0 {
		cause.Last = unreachable(failures)
	}
	return &transport.Error{Code: code, Outcome: transport.NotSent, Message: doing, Cause: cause}
}

// failures are the last errors of those members that could not be reached.
func (s *Set) failures(members []*member, lane Lane) (list []EndpointError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range members {
		if err := m.links[lane].lastErr; err != nil {
			list = append(list, EndpointError{m.endpoint.Name, err})
		}
	}
	return list
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
// the member's backoff lasts, or when the connection is there already. One of which
// beside, if it is not nil, is true does not count as that: the new one replaces it.
func (s *Set) connect(m *member, lane Lane, beside func(*connBox) bool) (*dial, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connectLocked(m, lane, beside)
}

func (s *Set) connectLocked(m *member, lane Lane, beside func(*connBox) bool) (*dial, error) {
	if s.closed {
		return nil, closedError()
	}
	if m.removed.Load() {
		return nil, nil
	}
	l := &m.links[lane]
	now := time.Now()
	for _, over := range m.reapLocked(l, now) {
		s.routines.Go(func() { _ = over.Close() })
	}
	if l.dialing != nil {
		return l.dialing, nil
	}
	box := l.conn.Load()
	if box != nil && (beside == nil || !beside(box)) || now.Before(l.notBefore) {
		l.due.Store(int64(l.notBefore.Sub(s.epoch)))
		return nil, nil
	}
	why := purposeOf(box)
	if why != forFirst {
		m.recordLocked(box.address, func(a *addressRecord) { a.lost = now })
	}
	d := &dial{done: make(chan struct{})}
	l.dialing = d
	l.due.Store(notDue)
	target := m.endpoint.Target
	target.PingSpacing = l.pingSpacing
	target.OnFull = func(c transport.Limited) { s.makeRoom(m, lane, c) }
	s.routines.Go(func() {
		r := s.run(m, target, l, d, why)
		s.observe(m, lane, now, r)
	})
	return d, nil
}

// run makes one dial, settles its link with the result and wakes the callers that wait.
func (s *Set) run(m *member, target transport.Target, l *link, d *dial, why purpose) reached {
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.dialTimeout, fmt.Errorf("no connection within %v", s.dialTimeout))
	defer cancel()
	r := s.reach(ctx, m, target, why)
	if why == forMute {
		r.err = nil // which says nothing of the connection that there is
	}

	s.mu.Lock()
	var unwanted transport.Conn
	switch box := l.conn.Load(); {
	case r.conn == nil:
	case s.closed || m.removed.Load():
		unwanted, r.conn = r.conn, nil
	case !box.wanted(r.conn):
		unwanted, r.conn = r.conn, nil
		l.backOffLocked(time.Now())
	}
	if s.closed {
		r.err = closedError() // not what the end of s.ctx made of it
	}
	outage := s.inOutageLocked()
	if old := m.settleLocked(l, r); old != nil {
		s.routines.Go(func() { s.drain(old) })
	}
	if r.err != nil {
		s.backOffLanesLocked(m, l)
	}
	s.identifyLocked(m, r.id)
	d.conn = l.current()
	l.dialing = nil
	l.due.Store(int64(l.notBefore.Sub(s.epoch)))
	if r.conn != nil {
		s.cameUpLocked(m, outage)
	}
	close(s.settled)
	s.settled = make(chan struct{})
	s.mu.Unlock()
	if unwanted != nil {
		_ = unwanted.Close()
	}
	close(d.done)
	return r
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

// observe reports the result of a dial to the observer, and later the end of the
// connection.
func (s *Set) observe(m *member, lane Lane, began time.Time, r reached) {
	up := time.Now()
	c := Connected{Endpoint: m.endpoint.Name, Address: r.address, Lane: lane, Took: up.Sub(began), Err: r.err}
	if r.conn == nil {
		if s.ctx.Err() != nil || r.err == nil {
			return // no caller wants it any longer
		}
		s.mu.Lock()
		c.Failures = m.links[lane].failures
		s.mu.Unlock()
		s.observer.Connected(c)
		return
	}
	s.observer.Connected(c)
	s.routines.Add(1)                  // the dial's goroutine, which this is, counts until then
	conn, address := r.conn, r.address // the rest of r is not kept
	conn.AfterEnd(func() {
		defer s.routines.Done()
		cause := conn.Err()
		s.observeEnd(m, Disconnected{
			Endpoint: m.endpoint.Name, Address: address, Lane: lane, Lived: time.Since(up), Err: cause, Ordinary: ordinary(cause),
		})
	})
}

// observeEnd reports the end of a connection.
func (s *Set) observeEnd(m *member, d Disconnected) {
	if !d.Ordinary {
		s.record(m, d.Address, func(a *addressRecord) { a.lost = time.Now() })
	}
	s.observer.Disconnected(d)
}

// Close closes every connection and waits for dials to end. So does a second call during the
// first.
func (s *Set) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.routines.Wait()
		return
	}
	s.closed = true
	var conns []transport.Conn
	for _, m := range slices.Concat(s.view.Load().members, s.adHoc) {
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
	var failures []EndpointError
	for _, m := range s.view.Load().members {
		err := m.links[lane].lastErr
		if err == nil {
			err = errors.New("not tried")
		}
		failures = append(failures, EndpointError{m.endpoint.Name, err})
	}
	return unreachable(failures)
}

func unreachable(failures []EndpointError) error {
	return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: &UnreachableError{failures}}
}
