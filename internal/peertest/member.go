package peertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"silly.store/etcd/internal/transport"
)

// Handler answers a unary call. ctx has the caller's deadline and ends when the
// caller stops waiting. The handler must return then; the connection's Close waits
// for it. req belongs to the handler.
type Handler func(ctx context.Context, req transport.Request) ([]byte, error)

// Member is one member of a cluster. A new one accepts connections, answers each call
// with an empty message, and leaves its streams to [Member.NextStream].
type Member struct {
	// Address is its address for Dial.
	Address string

	streams chan struct{} // capacity 1: signals that waiting has grown

	mu       sync.Mutex // guards the fields below
	dialing  func(ctx context.Context) error
	handlers map[string]Handler // by path; "": every other path
	serve    func(*Stream)
	refusal  error // of new streams
	suspect  bool  // makes each new connection suspect
	conns    []*Conn
	waiting  []*Stream // for NextStream
	calls    []Call
	counts   Counts
	last     time.Time // when the last streams were opened
	burst    int       // how many were opened at that moment
}

// Call is a call that a member has received. The message of its request is a copy.
type Call struct {
	At time.Time
	transport.Request
}

// Counts holds totals and current numbers of a member.
type Counts struct {
	Dials       int // including failed ones
	Conns       int // made
	Calls       int
	Waiting     int // calls that currently wait
	Cancelled   int // calls whose caller gave up
	Streams     int // requested streams, including refused ones
	OpenStreams int // now
	Messages    int // sent by clients on streams, even after the stream had ended
}

// NewMember makes a member that belongs to no cluster yet; see [Cluster.Join].
func NewMember(address string) *Member {
	return &Member{Address: address, streams: make(chan struct{}, 1), handlers: make(map[string]Handler)}
}

// Handle makes h answer the calls of these paths. Without paths h answers every call
// whose path has no handler.
func (m *Member) Handle(h Handler, paths ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(paths) == 0 {
		paths = []string{""}
	}
	for _, p := range paths {
		m.handlers[p] = h
	}
}

// Answer makes r the result of each call whose path has no handler.
func (m *Member) Answer(r Reply) { m.Handle(r.handle) }

// HandleStreams runs serve for each stream from now on, in a goroutine that the
// connection's Close waits for. serve must return when the stream is over.
func (m *Member) HandleStreams(serve func(*Stream)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serve = serve
}

// RefuseStreams makes every Open fail with err; nil: they succeed again.
func (m *Member) RefuseStreams(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusal = err
}

// OnDial makes f decide about each dial, which succeeds if f returns nil. Without f
// every dial succeeds. See [Refuse] and [Ignore].
func (m *Member) OnDial(f func(ctx context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dialing = f
}

// Down makes the member refuse connections, or accept them again. Existing connections
// stay; see Cut.
func (m *Member) Down(down bool) {
	if down {
		m.OnDial(Refuse(m.Address))
		return
	}
	m.OnDial(nil)
}

// Refuse is for OnDial: nothing listens at the address.
func Refuse(address string) func(context.Context) error {
	return func(context.Context) error {
		return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: address + " refuses"}
	}
}

// Ignore is for OnDial: the member accepts and stays silent.
func Ignore(ctx context.Context) error {
	<-ctx.Done()
	return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: context.Cause(ctx)}
}

func (m *Member) dial(ctx context.Context, target transport.Target) (*Conn, error) {
	m.mu.Lock()
	m.counts.Dials++
	dialing := m.dialing
	m.mu.Unlock()
	if dialing != nil {
		if err := dialing(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newConn(m, target)
	if m.suspect {
		c.state = transport.Suspect
	}
	m.conns = append(m.conns, c)
	m.counts.Conns++
	return c, nil
}

// Conns returns all connections so far, including those that have ended.
func (m *Member) Conns() []*Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*Conn(nil), m.conns...)
}

// LastConn returns the newest connection, or nil if there was none.
func (m *Member) LastConn() *Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.conns) == 0 {
		return nil
	}
	return m.conns[len(m.conns)-1]
}

// errCut is the reason of connections that a test cuts.
var errCut = &transport.Error{Code: transport.Unavailable, Message: "the connection was cut"}

// Cut ends every connection to the member. A nil reason means errCut.
func (m *Member) Cut(reason *transport.Error) {
	for _, c := range m.Conns() {
		c.End(reason)
	}
}

// TurnSuspect makes every connection to the member suspect, and each new one until
// Recover.
func (m *Member) TurnSuspect() {
	m.setSuspect(true)
	for _, c := range m.Conns() {
		c.TurnSuspect()
	}
}

// Recover ends the effect of TurnSuspect.
func (m *Member) Recover() {
	m.setSuspect(false)
	for _, c := range m.Conns() {
		c.Recover()
	}
}

func (m *Member) setSuspect(suspect bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.suspect = suspect
}

// Counts returns the totals since ResetCounts and the current numbers.
func (m *Member) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// ResetCounts forgets the calls and resets all totals. Current numbers stay.
func (m *Member) ResetCounts() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = nil
	m.counts = Counts{Waiting: m.counts.Waiting, OpenStreams: m.counts.OpenStreams}
}

// Calls returns the calls since ResetCounts, in order.
func (m *Member) Calls() []Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Call(nil), m.calls...)
}

func (m *Member) count(change func(*Counts)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.counts)
}

func (m *Member) got(req transport.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, Call{time.Now(), req})
	m.counts.Calls++
	m.counts.Waiting++
}

// patience is how long a test waits for an expected event. In a bubble it takes no
// real time.
const patience = time.Hour

// NextStream returns the next stream that a client opens and that HandleStreams
// does not serve. It fails the test if none comes.
func (m *Member) NextStream(t testing.TB) *Stream {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		if s := m.takeStream(); s != nil {
			return s
		}
		select {
		case <-m.streams:
		case <-deadline.C:
			t.Fatalf("no stream was opened to %s", m.Address)
		}
	}
}

func (m *Member) takeStream() *Stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == 0 {
		return nil
	}
	s := m.waiting[0]
	m.waiting = m.waiting[1:]
	if len(m.waiting) > 0 {
		signal(m.streams)
	}
	return s
}

// maxBurst is how many streams may be requested at one moment.
const maxBurst = 5000

// asksForStream records a request for a stream, and returns what to do with it.
func (m *Member) asksForStream() (serve func(*Stream), refusal error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Streams++
	if now := time.Now(); now.Equal(m.last) {
		m.burst++
	} else {
		m.last, m.burst = now, 0
	}
	if m.burst > maxBurst {
		panic("streams are opened in a tight loop, in which a synctest bubble's time stands still")
	}
	return m.serve, m.refusal
}

// leave queues a stream for NextStream.
func (m *Member) leave(s *Stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, s)
	signal(m.streams)
}

// handler returns the handler for calls of a path.
func (m *Member) handler(path string) Handler {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.handlers[path]; h != nil {
		return h
	}
	if h := m.handlers[""]; h != nil {
		return h
	}
	return OK.handle
}

// signal sends on c, which has capacity 1, without blocking.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
