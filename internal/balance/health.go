package balance

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/transport"
)

// A member whose connection is up may still be unfit: it knows no leader, does
// not answer, or refuses requests for now. The caller that finds this sets it aside
// ([Set.SetAside]): calls then go to the others while one of them is fit. The member
// comes back when it answers a probe, or a call that had to go there nevertheless, in
// each lane in which it has failed: a member may serve calls while its watch streams are
// stuck.
//
// Probes, like connections, are made on demand: a choice that meets a member that is
// aside, or down, takes another one and tends the first in the background. A client that
// makes no calls probes and dials nothing.

const (
	// goodFor is how long a member must have been back for that to be forgotten.
	goodFor = 10 * time.Second
	// probeTimeout is how soon a probe must be answered.
	probeTimeout = time.Second
	// maxLosses is how many hedged calls in a row a member may lose.
	maxLosses = 3
)

// reprobe spaces the probes of a member that is set aside. A failed probe counts as
// a failure, and so does being set aside again soon after it came back.
var reprobe = backoff.Backoff{First: 50 * time.Millisecond, Cap: 2 * time.Second}

// Prober asks a member whether it serves; nil means it does.
type Prober func(ctx context.Context, conn transport.Conn) error

// health describes a member beyond its connections.
type health struct {
	// trouble is 0 for a member without known faults; otherwise the number of hedged
	// calls that it has lost in a row, or aside with a bit for each lane in which it has
	// failed. Read without a lock, written with Set.mu held.
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

// failedLanes are the lanes in which a member that is aside has failed, as bits.
func (h *health) failedLanes() uint32 {
	if trouble := h.trouble.Load(); trouble >= aside {
		return trouble &^ aside
	}
	return 0
}

func (l Lane) bit() uint32 { return 1 << l }

// fit is the member's connection if calls should go there; else nil.
func (m *member) fit(lane Lane) transport.Conn {
	if m.isAside() {
		return nil
	}
	return m.links[lane].up()
}

// now is the time since the set was made. Only it is compared with due times.
func (s *Set) now() time.Duration { return time.Since(s.epoch) }

// SetAside makes calls go to other members than p's while one is fit. The member
// has failed in p's lane, and is probed there. SetAside does nothing in a set of
// one member.
func (s *Set) SetAside(p Picked) {
	m := p.member
	if m == nil || m.health.failedLanes()&p.lane.bit() != 0 || s.Size() == 1 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setAsideLocked(m, p.lane)
}

func (s *Set) setAsideLocked(m *member, lane Lane) {
	h := &m.health
	if m.isAside() {
		h.trouble.Store(h.trouble.Load() | lane.bit())
		return
	}
	if time.Since(h.backAt) >= goodFor {
		h.strikes = 0
	}
	h.trouble.Store(aside | lane.bit())
	s.probeLaterLocked(h)
}

func (s *Set) probeLaterLocked(h *health) {
	h.probeDue.Store(int64(s.now() + reprobe.Jittered(h.strikes)))
	h.strikes++
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
		s.setAsideLocked(p.member, p.lane)
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
	p.member.servesLocked(p.lane.bit())
}

// servesLocked notes that m serves in these lanes. It is back when that is all in
// which it had failed.
func (m *member) servesLocked(lanes uint32) {
	h := &m.health
	if left := h.failedLanes() &^ lanes; left != 0 {
		h.trouble.Store(aside | left)
		return
	}
	if m.isAside() {
		h.backAt = time.Now()
	}
	h.trouble.Store(0)
}

// Aside reports whether p's member is set aside: there was none better.
func (p Picked) Aside() bool { return p.member != nil && p.member.isAside() }

// Same reports whether p and q are one connection. Another one of the same endpoint
// may lead to another member.
func (p Picked) Same(q Picked) bool { return p.Conn == q.Conn }

// Size is how many members there are.
func (s *Set) Size() int { return s.view.Load().size }

// Other is a fit connection other than p: of another member, or the one that has
// replaced p.
func (s *Set) Other(p Picked, lane Lane) (Picked, bool) {
	return s.view.Load().anyFit(lane, p.Conn)
}

// Elsewhere reports whether a call that p has may be served elsewhere at once: by
// another member that is fit and not quiet, or of which nothing bad is known, or by another
// connection where p's is suspect.
func (s *Set) Elsewhere(p Picked, lane Lane) bool { return s.elsewhere(p, lane, false) }

// ElsewhereSoon also counts another member that is being dialed: for a call that waits in
// [Set.PickOther] beside p.
func (s *Set) ElsewhereSoon(p Picked, lane Lane) bool { return s.elsewhere(p, lane, true) }

func (s *Set) elsewhere(p Picked, lane Lane, soon bool) bool {
	for _, m := range s.view.Load().members {
		if m.isAside() || m.endpoint.Finder {
			continue
		}
		l := &m.links[lane]
		c, due := l.current(), time.Duration(l.due.Load())
		dialable, dialing := s.now() >= due, due == notDue
		switch {
		case c != nil && c != p.Conn && c.State() == transport.Ready && !c.Quiet():
			return true
		case m != p.member:
			if c == nil && (dialable || soon && dialing) {
				return true
			}
		case (c == nil || c.State() != transport.Ready) && (dialable || dialing):
			return true
		}
	}
	return false
}

// tend starts what may bring m back, if it is due: a dial, or a probe of a member
// that is aside. It waits for neither.
func (s *Set) tend(m *member, lane Lane) {
	failed := m.health.failedLanes()
	if failed == 0 {
		failed = lane.bit()
	}
	for i := range m.links {
		if failed&Lane(i).bit() != 0 && m.links[i].up() == nil {
			s.tendLink(m, Lane(i))
			return // a probe needs all of them
		}
	}
	if m.isAside() && int64(s.now()) >= m.health.probeDue.Load() {
		s.startProbe(m)
	}
}

func (s *Set) tendLink(m *member, lane Lane) {
	if int64(s.now()) < m.links[lane].due.Load() {
		return
	}
	beside := isSuspect
	if _, fit := s.view.Load().anyFit(lane, nil); fit {
		if int64(s.now()) < m.links[lane].spareDue.Load() {
			return
		}
		beside = nil
	}
	_, _ = s.connect(m, lane, beside) // when closed, the pick that follows says so
}

// startProbe probes m in the lanes in which it has failed.
func (s *Set) startProbe(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &m.health
	if s.closed || m.removed.Load() || !m.isAside() || int64(s.now()) < h.probeDue.Load() {
		return
	}
	failed := h.failedLanes()
	var conns []transport.Conn
	for i := range m.links {
		if failed&Lane(i).bit() == 0 {
			continue
		}
		conn := m.links[i].up()
		if conn == nil {
			return
		}
		conns = append(conns, conn)
	}
	h.probeDue.Store(notDue)
	s.routines.Go(func() { s.runProbe(m, failed, conns) })
}

// runProbe is the goroutine of one probe: of m in some lanes, by their connections.
func (s *Set) runProbe(m *member, lanes uint32, conns []transport.Conn) {
	ctx, cancel := context.WithTimeout(s.ctx, probeTimeout)
	defer cancel()
	var err error
	for _, conn := range conns {
		if s.probe != nil && err == nil {
			err = s.probe(ctx, conn)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.isAside() {
		return
	}
	if err == nil {
		m.servesLocked(lanes)
	}
	if m.isAside() { // or it has failed in a further lane meanwhile
		s.probeLaterLocked(&m.health)
	}
}
