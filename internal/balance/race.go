package balance

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// race brings up members for one pick. It starts a dial, and the next one when
// that has failed or takes longer than stagger; whichever connection is up first
// is taken. The others go on and are kept: the next calls will want them.
type race struct {
	s    *Set
	lane Lane
	view *view

	line   []*member // to be tried
	tried  []*member
	dialed bool // at least one of those was not already there or backing off
	open   int  // of those, how many were still being dialed after the last step
}

// run returns a Picked without a connection when none could be had.
func (r *race) run(ctx context.Context) (Picked, error) {
	r.line = r.lineUp()
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	next := true // the next in line may start
	for {
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
			if next = len(r.line) > 0; next {
				continue
			}
			// All are under way. Rather than for one of those that take long the
			// call goes to one that is aside or suspect.
			if p := r.view.anyUp(r.lane); p.Conn != nil {
				return p, nil
			}
		case <-ctx.Done():
			return Picked{}, contextError(ctx, fmt.Errorf("connecting to %s", r.names()))
		}
	}
}

// lineUp is the order in which members are tried: that of preference, those that
// are aside last.
func (r *race) lineUp() []*member {
	v := r.view
	at := v.randomIndex()
	line, last := make([]*member, 0, len(v.order)), []*member(nil)
	for i := range v.order {
		m := v.at(at, i)
		if m.isAside() {
			last = append(last, m)
		} else {
			line = append(line, m)
		}
	}
	return append(line, last...)
}

// step starts the next dial in line, if next or when one has failed, and takes a
// fit connection if there is one: the dial is then for later calls. If there is
// none it returns what is closed when a dial has ended; nil when all have.
func (r *race) step(next bool) (Picked, <-chan struct{}, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := r.view.anyFit(r.lane, nil); ok && !next {
		return p, nil, nil
	}
	for next = next || r.openLocked() < r.open; ; next = true {
		if next {
			if err := r.dialNextLocked(); err != nil {
				return Picked{}, nil, err
			}
		}
		if p, ok := r.view.anyFit(r.lane, nil); ok {
			return p, nil, nil
		}
		if r.open = r.openLocked(); r.open > 0 {
			return Picked{}, s.settled, nil
		}
		if len(r.line) == 0 {
			return r.view.anyUp(r.lane), nil, nil
		}
	}
}

// dialNextLocked starts the dial of the first in line that can be dialed now.
func (r *race) dialNextLocked() error {
	for len(r.line) > 0 {
		m := r.line[0]
		r.line = r.line[1:]
		d, err := r.s.connectLocked(m, r.lane)
		if err != nil {
			return err
		}
		if d != nil {
			r.tried, r.dialed = append(r.tried, m), true
			return nil
		}
		if m.fit(r.lane) != nil {
			return nil
		}
	}
	return nil
}

// openLocked is how many of those that were tried are still being dialed.
func (r *race) openLocked() (n int) {
	for _, m := range r.tried {
		if m.links[r.lane].dialing != nil {
			n++
		}
	}
	return n
}

// names are the members that are being dialed, for errors.
func (r *race) names() string {
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
