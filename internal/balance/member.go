package balance

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/transport"
)

// member is one endpoint with its connections.
type member struct {
	endpoint Endpoint
	links    [lanes]link
	health   health
	gone     chan struct{} // closed when the member is removed from the set

	// The fields below are guarded by Set.mu.

	removed  bool
	identity Identity
}

func newMember(e Endpoint) *member { return &member{endpoint: e, gone: make(chan struct{})} }

// link is one lane of a member: at most one connection that takes new calls,
// and those before it that still have streams.
type link struct {
	// conn is read without a lock and written with Set.mu held.
	conn atomic.Pointer[connBox]
	// due is when the next dial may start, on Set.now's clock. It is notBefore for
	// those who have no lock.
	due atomic.Int64

	// The fields below are guarded by Set.mu.

	draining  []transport.Conn // replaced, but not over yet
	dialing   *dial
	failures  int // in a row
	notBefore time.Time
	lastErr   error
	// pingSpacing is what the member's complaints have made of the time between
	// two PINGs; 0: it has not complained.
	pingSpacing time.Duration
}

// firstPingSpacing follows the first complaint; each further one doubles it.
const firstPingSpacing = 12 * time.Second

// connBox lets an interface value stand behind an atomic pointer.
type connBox struct {
	transport.Conn
	since time.Time
}

// dial is an attempt to connect that any number of callers wait for.
type dial struct {
	done chan struct{}
	conn transport.Conn // set before done is closed; nil when it failed
}

// up is the connection if it is fit for new calls, else nil.
func (l *link) up() transport.Conn {
	if c := l.current(); c != nil && c.State() == transport.Ready {
		return c
	}
	return nil
}

func (l *link) current() transport.Conn {
	if b := l.conn.Load(); b != nil {
		return b.Conn
	}
	return nil
}

// reapLocked forgets a connection that takes no new calls. It returns those
// that are over, for their goroutines to be waited for.
func (l *link) reapLocked(now time.Time) (over []transport.Conn) {
	if b := l.conn.Load(); b != nil && b.State() >= transport.Draining {
		l.draining = append(l.draining, b.Conn)
		l.conn.Store(nil)
		young := now.Sub(b.since) < stableAfter
		if !young || b.Answered() {
			l.failures = 0
		}
		if young {
			l.backOffLocked(now)
		}
	}
	kept := l.draining[:0]
	for _, c := range l.draining {
		if c.State() != transport.Closed {
			kept = append(kept, c)
			continue
		}
		l.lastErr = c.Err()
		if errors.Is(l.lastErr, transport.ErrTooManyPings) {
			l.pingSpacing = max(2*l.pingSpacing, firstPingSpacing)
		}
		over = append(over, c)
	}
	clear(l.draining[len(kept):])
	l.draining = kept
	return over
}

// settleLocked takes the result of a dial.
func (l *link) settleLocked(conn transport.Conn, err error) {
	now := time.Now()
	if err != nil {
		l.lastErr = err
		l.backOffLocked(now)
		return
	}
	l.lastErr = nil
	if conn != nil {
		l.conn.Store(&connBox{conn, now})
	}
}

// backOffLocked sets when the member may be tried again: full jitter over a
// span that doubles with each failure in a row.
func (l *link) backOffLocked(now time.Time) {
	span := min(backoffFirst<<min(l.failures, 10), backoffCap)
	l.failures++
	l.notBefore = now.Add(rand.N(span) + 1)
}

// takeAllLocked empties every link and returns what has to be closed.
func (m *member) takeAllLocked() (conns []transport.Conn) {
	for i := range m.links {
		conns = append(conns, m.links[i].takeAllLocked()...)
	}
	return conns
}

// takeAllLocked empties the link and returns what has to be closed.
func (l *link) takeAllLocked() []transport.Conn {
	conns := l.draining
	l.draining = nil
	if c := l.current(); c != nil {
		conns = append(conns, c)
		l.conn.Store(nil)
	}
	return conns
}
