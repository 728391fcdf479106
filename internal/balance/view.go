package balance

import (
	"math/rand/v2"

	"silly.store/etcd/internal/transport"
)

// view is the members of a set at one time. It is never changed: a change of
// the endpoints makes another, so that choosing a member takes no lock.
type view struct {
	members []*member // one at least
}

// newView is the view of endpoints. Members that were there before are kept.
func newView(endpoints []Endpoint, before *view) *view {
	v := &view{members: make([]*member, len(endpoints))}
	for i, e := range endpoints {
		if v.members[i] = before.find(e.Name); v.members[i] == nil {
			v.members[i] = newMember(e)
		}
	}
	return v
}

// find is the member of that name; nil if there is none.
func (v *view) find(name string) *member {
	if v == nil {
		return nil
	}
	for _, m := range v.members {
		if m.endpoint.Name == name {
			return m
		}
	}
	return nil
}

func (v *view) random() *member { return v.members[v.randomIndex()] }

func (v *view) randomIndex() int {
	if len(v.members) == 1 {
		return 0
	}
	return rand.IntN(len(v.members))
}

// anyUp is a connection that is up, starting the search at index at. With worst
// Suspect a suspect one will do when there is no better.
func (v *view) anyUp(lane Lane, at int, worst transport.State) (Picked, bool) {
	var second Picked
	n := len(v.members)
	for i := range n {
		m := v.members[(at+i)%n]
		c := m.links[lane].current()
		if c == nil {
			continue
		}
		switch c.State() {
		case transport.Ready:
			return m.picked(c), true
		case worst:
			second = m.picked(c)
		}
	}
	return second, second.Conn != nil
}
