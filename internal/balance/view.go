package balance

import (
	"math/rand/v2"
	"slices"

	"silly.store/etcd/internal/transport"
)

// view is the members of a set at one time. It is never changed: a change of
// the endpoints makes another, so that choosing a member takes no lock.
type view struct {
	members []*member // one at least, in the order of the endpoints
	// order is the members in the order of preference: calls go to a random one
	// of the first so many, and to the others when none of those is up.
	order []*member
	first int
	size  int // of those that are members, and not a Finder
}

// newViewLocked is the view of endpoints. Members that were there before are kept.
func newViewLocked(endpoints []Endpoint, before []*member) *view {
	members := make([]*member, len(endpoints))
	for i, e := range endpoints {
		if at := slices.IndexFunc(before, e.isOf); at >= 0 {
			members[i] = before[at]
		} else {
			members[i] = newMember(e)
		}
	}
	return arrangeLocked(members)
}

// isOf reports whether m is e's.
func (e Endpoint) isOf(m *member) bool { return m.endpoint.Name == e.Name && m.endpoint.SameAddress(e) }

// arrangeLocked puts the endpoints last that lead to a member which has another
// one before them, so that it gets no double share; then learners, which refuse
// nearly everything; then finders, which are no members at all.
func arrangeLocked(members []*member) *view {
	v := &view{members: members, order: make([]*member, 0, len(members))}
	var again, learners, finders []*member
	known := make(map[uint64]bool)
	for _, m := range members {
		id := m.identity
		switch {
		case m.endpoint.Finder:
			finders = append(finders, m)
		case id.Learner:
			learners = append(learners, m)
		case id.Member != 0 && known[id.Member]:
			again = append(again, m)
		default:
			known[id.Member] = true
			v.order = append(v.order, m)
		}
	}
	v.first = len(v.order)
	v.size = len(members) - len(finders)
	v.order = slices.Concat(v.order, again, learners, finders)
	if v.first == 0 {
		v.first = len(v.order)
	}
	return v
}

func (v *view) random() *member { return v.order[v.randomIndex()] }

func (v *view) randomIndex() int {
	if v.first == 1 {
		return 0
	}
	return rand.IntN(v.first)
}

// at is the i-th member in an order of preference that begins with a random one.
func (v *view) at(random, i int) *member {
	if i < v.first {
		i = (random + i) % v.first
	}
	return v.order[i]
}

// anyFit is a random one of the preferred members that are fit, or else the first
// of the others that is; one whose connection is quiet only if there is no other. It is
// not by except, which may be nil.
func (v *view) anyFit(lane Lane, except transport.Conn) (p Picked, ok bool) {
	found, quiet := 0, false
	for i, m := range v.order {
		if i >= v.first && found > 0 && !quiet {
			break
		}
		c := m.fit(lane)
		if c == nil || c == except {
			continue
		}
		isQuiet := c.Quiet()
		switch {
		case found == 0, quiet && !isQuiet:
			p, found, quiet = m.picked(c, lane), 1, isQuiet
		case quiet == isQuiet && i < v.first:
			if found++; rand.IntN(found) == 0 {
				p = m.picked(c, lane)
			}
		}
	}
	return p, found > 0
}

// anyUp is the best there is where no member is fit: one that is aside before one
// whose connection is suspect. The search starts at a random member. It is not by except,
// which may be nil.
func (v *view) anyUp(lane Lane, except transport.Conn) (best Picked) {
	at := v.randomIndex()
	for i := range v.order {
		m := v.at(at, i)
		c := m.links[lane].current()
		if c == nil || c == except {
			continue
		}
		switch c.State() {
		case transport.Ready:
			return m.picked(c, lane)
		case transport.Suspect:
			best = m.picked(c, lane)
		}
	}
	return best
}
