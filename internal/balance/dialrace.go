package balance

import (
	"context"
	"slices"
	"strings"
	"time"

	"silly.store/etcd/internal/transport"
)

// dialRace brings up members for one pick. It starts a dial, and the next one when
// that has failed or takes longer than stagger; whichever connection is up first
// is taken. The others go on and are kept: the next calls will want them.
type dialRace struct {
	s      *Set
	lane   Lane
	view   *view
	except transport.Conn // is not what the pick looks for; may be nil

	candidates []*member // to be tried, in this order
	tried      []*member
	dials      []*dial // of those
	dialed     bool    // at least one of those was not already there or backing off
	open       int     // of those, how many were still being dialed after the last step
}

// run returns a Picked without a connection when none could be had.
func (r *dialRace) run(ctx context.Context) (Picked, error) {
	r.candidates = r.view.dialOrder(r.lane)
	s := r.s
	s.mu.Lock()
	stagger := s.staggerLocked()
	s.mu.Unlock()
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	for next := true; ; { // next: the next candidate may start
		p, settled, err := r.step(next)
		if err != nil || p.Conn != nil || settled == nil {
			return p, err
		}
		if next {
			timer.Reset(stagger)
		}
		select {
		case <-settled:
			next = false
		case <-timer.C:
			if next = len(r.candidates) > 0; next {
				continue
			}
			// All are under way. Rather than wait for one of those that take long, the
			// call goes to one that is aside, or suspect.
			if p := r.view.anyUp(r.lane, r.except); p.Conn != nil {
				return p, nil
			}
			timer.Reset(stagger)
		case <-ctx.Done():
			return Picked{}, interrupted(ctx, "connecting to "+r.names(), r.s.failures(r.view.members, r.lane))
		}
	}
}

// dialOrder is the order in which members are dialed: that of preference, but first those
// that are being dialed already, then those that are up in another lane, and last those that
// are aside.
func (v *view) dialOrder(lane Lane) []*member {
	at := v.randomIndex()
	order := make([]*member, len(v.order))
	for i := range order {
		order[i] = v.at(at, i)
	}
	rank := func(m *member) int {
		switch {
		case m.isAside():
			return 3
		case m.links[lane].due.Load() == notDue && m.links[lane].current() == nil:
			return 0
		case m.isUpBeside(lane):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(order, func(a, b *member) int { return rank(a) - rank(b) })
	return order
}

// step takes a fit connection if there is one, which may have come up since the caller
// saw none. Otherwise it starts the next dial, if next or when one has failed, and returns
// what is closed when a dial has ended; nil when all have.
func (r *dialRace) step(next bool) (Picked, <-chan struct{}, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := r.view.anyFit(r.lane, r.except); ok {
		return p, nil, nil
	}
	for next = next || r.openLocked() < r.open; ; next = true {
		if next {
			if err := r.dialNextLocked(); err != nil {
				return Picked{}, nil, err
			}
		}
		if p, ok := r.view.anyFit(r.lane, r.except); ok {
			return p, nil, nil
		}
		if r.open = r.openLocked(); r.open > 0 {
			return Picked{}, s.settled, nil
		}
		if len(r.candidates) == 0 {
			return r.view.anyUp(r.lane, r.except), nil, nil
		}
	}
}

// dialNextLocked starts or joins the dial of the first candidate that can be dialed now. A
// dial beside a suspect connection that another pick has started is none to wait for.
func (r *dialRace) dialNextLocked() error {
	for len(r.candidates) > 0 {
		m := r.candidates[0]
		r.candidates = r.candidates[1:]
		l := &m.links[r.lane]
		joins := l.dialing != nil && l.current() != nil
		d, err := r.s.connectLocked(m, r.lane, isSuspect)
		if err != nil {
			return err
		}
		if d != nil {
			r.tried, r.dials, r.dialed = append(r.tried, m), append(r.dials, d), true
			if joins {
				continue
			}
			return nil
		}
		if c := m.fit(r.lane); c != nil && c != r.except {
			return nil
		}
	}
	return nil
}

// cameUp reports whether a connection was made that is of no use any longer: others
// were quicker to use it, and it takes few requests.
func (r *dialRace) cameUp() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return slices.ContainsFunc(r.dials, func(d *dial) bool { return d.conn != nil })
}

// openLocked is how many of those that were tried are still being dialed.
func (r *dialRace) openLocked() (n int) {
	for _, m := range r.tried {
		if m.links[r.lane].dialing != nil {
			n++
		}
	}
	return n
}

// names are the members that are being dialed, for errors.
func (r *dialRace) names() string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	var names []string
	for _, m := range r.tried {
		if m.links[r.lane].dialing != nil {
			names = append(names, m.endpoint.Name)
		}
	}
	return strings.Join(names, ", ")
}
