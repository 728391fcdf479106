package balance

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/transport"
)

// member is one endpoint with its connections.
type member struct {
	endpoint Endpoint
	links    [lanes]link
	health   health
	removed  atomic.Bool // from the set; written with Set.mu held

	// The fields below are guarded by Set.mu.

	identity  Identity
	sought    time.Time                    // when another member behind a learner's address was sought last
	addresses map[netip.Addr]addressRecord // of its host
	trust     map[string]trust             // by the address of a target
}

func newMember(e Endpoint) *member { return &member{endpoint: e} }

// link is one lane of a member: at most one connection that takes new calls,
// and those before it that still have streams. While that one is suspect, or full,
// another may be dialed beside it, which replaces it: see spare.go.
type link struct {
	// conn is read without a lock and written with Set.mu held.
	conn atomic.Pointer[connBox]
	// due is when the next dial may start, on Set.now's clock. It is notBefore for
	// readers without the lock.
	due atomic.Int64
	// spareDue is the same for a dial that no call needs now: see outage.go.
	spareDue atomic.Int64

	// The fields below are guarded by Set.mu.

	draining  []transport.Conn // replaced, but not over yet
	full      []*connBox       // replaced for want of streams
	dialing   *dial
	failures  int // in a row
	notBefore time.Time
	lastErr   error
	// pingSpacing is what the member's complaints have made of the time between
	// two PINGs; 0: it has not complained.
	pingSpacing time.Duration
	// comparing, doubts and doubtDue: see doubt.go. comparing is closed when the comparison
	// under way is over, nil when there is none; doubts is how many there were; doubtDue is
	// when the next doubt counts.
	comparing chan struct{}
	doubts    int
	doubtDue  time.Time
}

// firstPingSpacing follows the first complaint; each further one doubles it.
const firstPingSpacing = 12 * time.Second

// connBox lets an interface value stand behind an atomic pointer.
type connBox struct {
	transport.Conn
	since   time.Time
	address string // that the endpoint's host stood for; empty: it was not looked up
	place   string // the address of its target
	checks  int    // how many requests its check took
	mute    bool   // see doubt.go; guarded by Set.mu
}

// dial is an attempt to connect that any number of callers wait for.
type dial struct {
	done chan struct{}
	conn transport.Conn // set before done is closed, with Set.mu held; nil when it failed
}

// up is the connection if it is fit for new calls, else nil.
func (l *link) up() transport.Conn {
	if c := l.current(); c != nil && c.State() == transport.Ready {
		return c
	}
	return nil
}

// isUpBeside reports whether the member has no connection of the lane, and one of another
// lane that nothing speaks against.
func (m *member) isUpBeside(lane Lane) bool {
	if m.links[lane].current() != nil {
		return false
	}
	for i := range m.links {
		if c := m.links[i].up(); c != nil && !c.Quiet() {
			return true
		}
	}
	return false
}

func (l *link) current() transport.Conn {
	if b := l.conn.Load(); b != nil {
		return b.Conn
	}
	return nil
}

// reapLocked forgets a connection of m's for l that takes no new calls. It returns
// those that are over, for their goroutines to be waited for.
func (m *member) reapLocked(l *link, now time.Time) (over []transport.Conn) {
	if b := l.conn.Load(); b != nil && b.State() >= transport.Draining {
		l.conn.Store(nil)
		l.draining = append(l.draining, b.Conn)
		m.partedLocked(l, b, now)
	}
	l.full = slices.DeleteFunc(l.full, func(b *connBox) bool {
		if b.State() >= transport.Draining {
			l.draining = append(l.draining, b.Conn)
			return true
		}
		return false
	})
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

// settleLocked takes the result of a dial of m for l. It returns the connection that
// has been replaced, if there was one, which is to end with its last stream.
func (m *member) settleLocked(l *link, r reached) (old transport.Conn) {
	now := time.Now()
	if r.err != nil {
		l.lastErr = r.err
		l.backOffLocked(now)
		return nil
	}
	l.lastErr = nil
	if r.conn == nil {
		return nil
	}
	b := l.conn.Load()
	l.conn.Store(&connBox{Conn: r.conn, since: now, address: r.address, place: r.place, checks: r.checks})
	switch {
	case b == nil:
	case b.State() == transport.Ready && !b.mute:
		l.full = append(l.full, b)
		l.shedLocked()
	default:
		l.draining = append(l.draining, b.Conn)
		m.partedLocked(l, b, now)
		old = b.Conn
	}
	return old
}

// backOffLocked sets when the member may be tried again: full jitter over a
// span that doubles with each failure in a row.
func (l *link) backOffLocked(now time.Time) {
	l.notBefore = now.Add(redial.Jittered(l.failures))
	l.failures++
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
	for _, b := range l.full {
		conns = append(conns, b.Conn)
	}
	l.draining, l.full = nil, nil
	if c := l.current(); c != nil {
		conns = append(conns, c)
		l.conn.Store(nil)
	}
	return conns
}
