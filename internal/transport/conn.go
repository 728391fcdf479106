package transport

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/alarm"
)

// conn is one HTTP/2 connection. doc.go says who owns what.
type conn struct {
	nc       net.Conn // what is read and written: the TLS connection if there is one
	socket   net.Conn // below TLS; closing it never waits
	opts     Options
	onFull   func(Limited)  // may be nil, see Target
	address  string         // of errors: where it goes; empty if errors need not name it
	kernel   *nonblockConn  // socket; nil if it is another kind
	plain    bool           // nc is kernel
	spared   bool           // the peer has complained of PINGs, see Target.PingSpacing
	reader   *reader        // owned by the holder of the read side, see lend.go
	writer   func()         // writeAll, so that starting it allocates nothing
	done     chan struct{}  // closed by fail
	routines sync.WaitGroup // goroutines, and alarms that are set

	// pool keeps streams of unary calls that ended in the ordinary way: the
	// reader's last act was the send on notify, and the caller has received it.
	pool sync.Pool

	state atomic.Uint32 // a State, for readers without the lock; written with mu held
	quiet atomic.Bool   // see quiet.go; likewise

	mu sync.Mutex // guards the fields below

	err      *Error // why the connection is over; nil while it lives
	afterEnd []func()
	goAway   *Error // what a GOAWAY with an error code said
	draining bool   // no new streams
	suspect  bool
	answered bool   // a stream has had headers
	napping  bool   // the reader sleeps; hurry wakes it, see nap.go
	nextID   uint32 // of a stream

	streams map[uint32]*stream // open: HEADERS assembled, not ended
	opening streamQueue        // not assembled yet; wait for the writer or for MAX_CONCURRENT_STREAMS
	ready   streamQueue        // open, with output that no stream window holds back

	served   int // streams that have had those of gRPC
	promised int // streams that a GOAWAY has left to be answered, those before included

	peer       peerSettings
	sendWindow int64
	recvWindow int64
	headers    *headerEncoder
	control    []byte // frames that belong to no stream's data, to go first

	hasty   int           // streams that are not Patient
	waiting int           // unary calls with NotifyLate
	hurry   chan struct{} // capacity 1: ends the nap; nil until there was one

	lending lending // the read side

	// writing: a goroutine holds the write side and with it chunk and rest.
	writing   bool
	chunk     []byte // buffer of the write in progress
	rest      []byte // what a write in place left to the writer
	assembled uint64 // bytes of all chunks so far
	handed    uint64 // of those, how many the socket may have been given

	// Liveness, see watchdog.go.
	watch       alarm.Alarm // the tick
	short       alarm.Alarm // the short tick, see quiet.go
	ticking     bool
	heard       bool // bytes arrived since the last tick
	doubt       bool // a call gave up and nothing had come since it began
	asking      bool // the peer was asked for a sign of life, by PING or SETTINGS, and gave none
	traffic     bool // HEADERS or DATA arrived since the last PING
	ticks       int  // so far
	openedTick  int  // the one in which a stream was opened last
	reads       int  // how often bytes have arrived
	silentTicks int
	askedTicks  int       // how many, since it was asked
	pingSent    time.Time // the last PING; zero: none yet
	quietWatch  quietWatch

	pong pong
}

// maxControl bounds the control frames that wait to be written: a peer that
// asks for answers and does not read them is cut off.
const maxControl = 1 << 20

func newConn(nc, socket net.Conn, target Target, opts Options) *conn {
	scheme := "http"
	if target.TLS != nil {
		scheme = "https"
	}
	c := &conn{
		nc: nc, socket: socket, opts: opts, onFull: target.OnFull, spared: target.PingSpacing > 0,
		done:       make(chan struct{}),
		streams:    make(map[uint32]*stream),
		nextID:     1,
		peer:       defaultPeerSettings(),
		sendWindow: defaultWindow,
		recvWindow: connWindow,
		headers:    newHeaderEncoder(scheme, target.Authority, opts.UserAgent),
		heard:      true,
		lending:    lending{tick: lendTick},
	}
	if target.Resolved {
		c.address = target.Address
	}
	c.writer = c.writeAll
	c.watch, c.short = alarm.Of(&c.routines, c.onTick), alarm.Of(&c.routines, c.onShortTick)
	c.pong.alarm = alarm.Of(&c.routines, c.onPong)
	c.pool.New = func() any { return newStream() }
	c.kernel, _ = socket.(*nonblockConn)
	c.plain = c.kernel != nil && target.TLS == nil
	return c
}

// start starts the reader; r has read the server's SETTINGS. The returned channel is closed
// once these hold.
func (c *conn) start(r *frameReader) (greeted <-chan struct{}) {
	holds := make(chan struct{})
	c.reader = newReader(c, r)
	c.routines.Go(func() { c.reader.run(holds) })
	return holds
}

func (c *conn) State() State { return State(c.state.Load()) }

// setStateLocked publishes the state after a change of the fields it stands for.
func (c *conn) setStateLocked() {
	state := Ready
	switch {
	case c.err != nil:
		state = Closed
	case c.draining:
		state = Draining
	case c.suspect:
		state = Suspect
	}
	c.state.Store(uint32(state))
}

func (c *conn) Answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered
}

func (c *conn) Served() (requests int, orderly bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.served, c.promised), c.draining && c.goAway == nil
}

func (c *conn) Done() <-chan struct{} { return c.done }

func (c *conn) AfterEnd(f func()) {
	c.mu.Lock()
	over := c.err != nil
	if !over {
		c.afterEnd = append(c.afterEnd, f)
	}
	c.mu.Unlock()
	if over {
		go f()
	}
}

func (c *conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return nil
	}
	return c.err
}

func (c *conn) Drain() {
	c.mu.Lock()
	refused := c.drainLocked(ErrDraining)
	idle := len(c.streams) == 0
	c.mu.Unlock()
	for _, s := range refused {
		s.signal()
	}
	if idle {
		c.fail(&Error{Code: Unavailable, Cause: ErrDraining})
	}
}

func (c *conn) Close() error {
	c.fail(&Error{Code: Canceled, Cause: ErrClosed})
	c.routines.Wait()
	return nil
}

// fail ends the connection and every stream on it. The first reason stays.
func (c *conn) fail(reason *Error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = reason
	c.setStateLocked()
	ended := make([]*stream, 0, len(c.streams))
	for s := c.opening.head; s != nil; s = c.opening.head {
		c.endLocked(s, reason.withOutcome(NotSent))
		ended = append(ended, s)
	}
	for _, s := range c.streams {
		c.endLocked(s, reason.withOutcome(s.outcome()))
		ended = append(ended, s)
	}
	c.watch.Stop()
	c.short.Stop()
	c.pong.alarm.Stop()
	afterEnd := c.afterEnd
	c.afterEnd = nil
	close(c.done)
	c.mu.Unlock()

	for _, f := range afterEnd {
		go f() // its owner waits for it
	}
	for _, s := range ended {
		s.signal()
	}
	// Closing the socket, not the TLS connection: that one would want to write.
	_ = c.socket.Close()
}

// withOutcome is a copy of e for a stream whose outcome is o.
func (e *Error) withOutcome(o Outcome) *Error {
	out := *e
	out.Outcome = o
	return &out
}

// refusalLocked is why the connection does not take req as a new stream; nil when
// it does.
func (c *conn) refusalLocked(req *Request) error {
	switch {
	case c.err != nil:
		return c.err.withOutcome(NotSent)
	case c.draining:
		return &Error{Code: Unavailable, Outcome: NotSent, Cause: ErrDraining}
	case c.peer.maxHeaderListSize > 0:
		if size := c.headers.listSize(req); size > uint64(c.peer.maxHeaderListSize) {
			return &Error{
				Code: ResourceExhausted, Outcome: NotSent, Cause: ErrHeadersTooLarge,
				Message: fmt.Sprintf("headers of %d bytes, of them %d of the auth token; the server takes %d", size, len(req.Token), c.peer.maxHeaderListSize),
			}
		}
	}
	return nil
}

// enqueueLocked queues a new stream and sees that the peer is watched.
func (c *conn) enqueueLocked(s *stream) {
	c.opening.push(s)
	c.enteredLocked(s)
	s.readsBefore, s.ticksBefore = c.reads, c.ticks
	c.watchLocked()
}

// queueOutputLocked queues an open stream for the writer.
func (c *conn) queueOutputLocked(s *stream) {
	switch {
	case s.id == 0 || s.done || s.queue != nil || !s.hasOutput():
	case s.unsent() == 0:
		c.ready.pushFront(s) // END_STREAM needs no window: not behind those that wait for one
	default:
		c.ready.push(s)
	}
}

// endLocked takes s out of the connection. err is nil when its status was OK.
// Whoever calls it must signal s after unlocking.
func (c *conn) endLocked(s *stream, err *Error) {
	s.dequeue()
	if s.id != 0 {
		delete(c.streams, s.id)
	}
	if c.draining && c.err == nil && len(c.streams) == 0 {
		c.watch.Set(0) // the watchdog ends the connection
	}
	if err != nil {
		err.Address = c.address
	}
	s.done, s.err = true, err
	c.leftLocked(s)
	s.head, s.body, s.tail, s.in = nil, nil, nil, nil
	s.req.Message, s.req.Tail = nil, nil
	s.signalRoom()
}

// abandonLocked ends s from our side, telling the server if it knows of s.
func (c *conn) abandonLocked(s *stream, err *Error) {
	if s.id != 0 {
		c.control = appendRSTStream(c.control, s.id, codeCancel)
	}
	c.endLocked(s, err)
}

// drainLocked stops new streams. Those in line are returned to be signalled.
func (c *conn) drainLocked(cause error) (ended []*stream) {
	c.draining = true
	c.setStateLocked()
	return c.refuseLocked(func() *Error { return &Error{Code: Unavailable, Outcome: NotSent, Cause: cause} })
}

// refuseLocked ends the streams in line, which were never assembled, each with an error
// that says that it was not sent. It returns them to be signalled.
func (c *conn) refuseLocked(reason func() *Error) (ended []*stream) {
	for s := c.opening.head; s != nil; s = c.opening.head {
		c.endLocked(s, reason())
		ended = append(ended, s)
	}
	return ended
}

// creditStreamLocked grants the server more window on s: a
// window's worth of unread messages, and when all have been read the rest of the
// one that is under way, so that a message larger than the window can complete.
func (c *conn) creditStreamLocked(s *stream) {
	window := int64(c.opts.StreamWindow)
	want, rest := window-int64(s.unread), int64(0)
	if s.unread == 0 && s.inNeed > len(s.in) {
		rest = int64(s.inNeed - len(s.in))
		want = max(want, rest)
	}
	missing := want - s.recvWindow
	starving := s.recvWindow < rest && s.recvWindow < window/2
	if missing > 0 && (missing >= window/2 || starving) {
		c.control = appendWindowUpdate(c.control, s.id, int(missing))
		s.recvWindow = want
	}
}

// creditConnLocked gives the connection window back on receipt.
func (c *conn) creditConnLocked(n int) error {
	c.recvWindow -= int64(n)
	if c.recvWindow < 0 {
		return protocolError(codeFlowControlError, "server overran the connection window")
	}
	if c.recvWindow < connWindow/2 {
		c.control = appendWindowUpdate(c.control, 0, int(connWindow-c.recvWindow))
		c.recvWindow = connWindow
	}
	return nil
}
