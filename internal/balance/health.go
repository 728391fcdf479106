package balance

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/transport"
)

// A member whose connection is up may still be unfit: it knows no leader, does
// not answer, refuses for now. Whoever sees that sets it aside ([Set.SetAside]):
// calls then go to the others while one of them is fit. It comes back when a
// call that had to go there all the same is answered, or a probe is.
//
// Probes, like connections, are made on demand: a choice that meets a member
// which is aside, or down, goes on to another one and has the first tended to in
// the background. A client that makes no calls probes and dials nothing.

const (
	// A member that is set aside is probed after a time of full jitter over a
	// span that doubles between these with each failed probe, and each time the
	// member is set aside again soon after it came back.
	asideFirst = 50 * time.Millisecond
	asideCap   = 2 * time.Second
	// goodFor is how long a member must have been back for that to be forgotten.
	goodFor = 10 * time.Second
	// probeTimeout is how soon a probe must be answered.
	probeTimeout = time.Second
	// maxLosses is how many hedged calls in a row a member may lose.
	maxLosses = 3
)

// Prober asks a member whether it serves; nil means it does.
type Prober func(ctx context.Context, conn transport.Conn) error

// health is what is known of a member beyond its connections.
type health struct {
	// trouble is 0 for a member of which nothing bad is known; aside, or the
	// hedged calls that it has lost in a row. Read without a lock, written with
	// Set.mu held.
	trouble atomic.Uint32
	// probeDue is when a probe may be sent, on Set.now's clock. Written with
	// Set.mu held.
	probeDue atomic.Int64

	// The fields below are guarded by Set.mu.

	strikes int // failed probes, and relapses
	backAt  time.Time
}

// aside in health.trouble: other members are to be preferred.
const aside = 1 << 31

// notDue is the time of something that is under way.
const notDue = math.MaxInt64

func (m *member) isAside() bool { return m.health.trouble.Load() >= aside }

// fit is the member's connection if calls should go there; else nil.
func (m *member) fit(lane Lane) transport.Conn {
	if m.isAside() {
		return nil
	}
	return m.links[lane].up()
}

// now is the time since the set was made. Only it is compared with due times.
func (s *Set) now() time.Duration { return time.Since(s.epoch) }

// SetAside makes calls go to other members than p's while one is fit. It does
// nothing in a set of one member.
func (s *Set) SetAside(p Picked) {
	m := p.member
	if m == nil || m.isAside() || s.Size() == 1 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setAsideLocked(m)
}

func (s *Set) setAsideLocked(m *member) {
	h := &m.health
	if m.isAside() {
		return
	}
	if time.Since(h.backAt) >= goodFor {
		h.strikes = 0
	}
	h.trouble.Store(aside)
	s.probeLaterLocked(h)
}

func (s *Set) probeLaterLocked(h *health) {
	span := min(asideFirst<<min(h.strikes, 10), asideCap)
	h.strikes++
	h.probeDue.Store(int64(s.now() + rand.N(span) + 1))
}

// Lost notes that another member has answered a call that p's member has had for
// longer. A few in a row set it aside.
func (s *Set) Lost(p Picked) {
	if p.member == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &p.member.health
	if p.member.isAside() {
		return
	}
	if losses := h.trouble.Load() + 1; losses < maxLosses {
		h.trouble.Store(losses)
	} else if s.Size() > 1 {
		s.setAsideLocked(p.member)
	}
}

// Served notes that a call was answered in time. It costs nothing when nothing
// bad was known of the member.
func (s *Set) Served(p Picked) {
	if p.member == nil || p.member.health.trouble.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.member.backLocked()
}

func (m *member) backLocked() {
	if m.isAside() {
		m.health.backAt = time.Now()
	}
	m.health.trouble.Store(0)
}

// Aside reports whether p's member is set aside: there was none better.
func (p Picked) Aside() bool { return p.member != nil && p.member.isAside() }

// Same reports whether p and q are of one member.
func (p Picked) Same(q Picked) bool { return p.member == q.member && p.Endpoint == q.Endpoint }

// Size is how many members there are.
func (s *Set) Size() int { return s.view.Load().size }

// Other is a fit member other than p's.
func (s *Set) Other(p Picked, lane Lane) (Picked, bool) {
	return s.view.Load().anyFit(lane, p.member)
}

// Elsewhere reports whether another member than p's may serve at once: one that is
// fit, or of which nothing bad is known.
func (s *Set) Elsewhere(p Picked, lane Lane) bool {
	for _, m := range s.view.Load().members {
		if m == p.member || m.isAside() || m.endpoint.Finder {
			continue
		}
		l := &m.links[lane]
		if l.up() != nil || l.current() == nil && int64(s.now()) >= l.due.Load() {
			return true
		}
	}
	return false
}

// tend starts what may bring m back, if it is due: a dial, or a probe of a member
// that is aside. It waits for neither.
func (s *Set) tend(m *member, lane Lane) {
	if m.isAside() {
		lane = Unary // where probes go
	}
	l := &m.links[lane]
	due := l.due.Load()
	if l.up() != nil {
		if !m.isAside() {
			return
		}
		due = m.health.probeDue.Load()
	}
	if int64(s.now()) < due {
		return
	}
	if l.up() == nil {
		_, _ = s.connect(m, lane) // when closed, the pick that follows says so
		return
	}
	s.startProbe(m, l)
}

func (s *Set) startProbe(m *member, l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &m.health
	conn := l.up()
	if s.closed || m.removed || conn == nil || !m.isAside() || int64(s.now()) < h.probeDue.Load() {
		return
	}
	h.probeDue.Store(notDue)
	s.routines.Go(func() { s.runProbe(m, conn) })
}

// runProbe is the goroutine of one probe.
func (s *Set) runProbe(m *member, conn transport.Conn) {
	ctx, cancel := context.WithTimeout(s.ctx, probeTimeout)
	defer cancel()
	var err error
	if s.probe != nil {
		err = s.probe(ctx, conn)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !m.isAside():
	case err == nil:
		m.backLocked()
	default:
		s.probeLaterLocked(&m.health)
	}
}
