package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

const (
	groupName  = history.Groups + "g"
	partitions = 16
	// stopping is how long a function may take to stop.
	stopping = 40 * time.Millisecond
)

// member is one member of a load of groups, which comes and goes.
type member struct {
	w      *world
	store  store.Store
	name   string
	ttl    time.Duration
	random *rand.Rand
	joined store.Membership // owned by run; when it has returned, by settleGroups
}

// groups starts a load of groups: two members of each client behind the proxies, and of one
// that faults of the links don't reach.
func (w *world) groups(ttl time.Duration) error {
	w.rec.Change(func(r *history.Run) { r.LockTTL = ttl })
	direct := w.config()
	direct.Endpoints = w.cluster.Endpoints()
	s, err := store.Drivers[w.client](direct)
	if err != nil {
		return err
	}
	w.stores = append(w.stores, s)
	for i, s := range w.stores {
		for j := range 2 {
			m := &member{w: w, store: s, name: fmt.Sprintf("%c%d", 'a'+i, j), ttl: ttl, random: w.random()}
			w.members = append(w.members, m)
			w.loads.Go(m.run)
		}
	}
	return nil
}

func (m *member) run() {
	for m.w.sleep(time.Duration(m.random.Int64N(int64(300 * time.Millisecond)))) {
		ctx, cancel := context.WithTimeout(m.w.ctx, 15*time.Second)
		joined, err := store.JoinGroup(ctx, m.store, groupName, m.name, partitions, m.ttl, m.own)
		cancel()
		if errors.Is(err, store.ErrUnsupported) {
			return
		}
		if err != nil {
			continue
		}
		if m.joined = joined; !m.w.sleep(time.Second + time.Duration(m.random.Int64N(int64(3*time.Second)))) {
			return // settleGroups goes on
		}
		m.leave()
	}
}

func (m *member) leave() {
	ctx, cancel := context.WithTimeout(m.w.ctx, 10*time.Second)
	defer cancel()
	_ = m.joined.Leave(ctx) // what it leaves behind tells
	m.joined = nil
}

// own is the group's function.
func (m *member) own(ctx context.Context, o history.Owned) {
	o.From = m.w.rec.Now()
	<-ctx.Done()
	o.Gone = m.w.rec.Now()
	m.w.sleepFully(m.w.ctx, time.Duration(rand.Int64N(int64(stopping))))
	o.To = m.w.rec.Now()
	m.w.rec.Change(func(r *history.Run) { r.Owned = append(r.Owned, o) })
}

// settleGroups waits until everything is owned evenly by the members that are left, and has
// them leave.
func (w *world) settleGroups(ctx context.Context) {
	if w.members == nil {
		return
	}
	bound := 3 * time.Second
	w.rec.Change(func(r *history.Run) { bound += 2 * r.LockTTL })
	waiting, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		s := history.Shared{Group: groupName, At: w.rec.Now(), Partitions: partitions, Members: make(map[string]int)}
		owned := 0
		for _, m := range w.members {
			if m.joined != nil {
				s.Members[m.name] = m.joined.Owned()
				owned += s.Members[m.name]
			}
		}
		if len(s.Members) == 0 {
			break
		}
		if owned == partitions && isEven(&s) || waiting.Err() != nil {
			w.rec.Change(func(r *history.Run) { r.Shares = append(r.Shares, s) })
			break
		}
		w.sleepFully(waiting, 20*time.Millisecond)
	}
	for _, m := range w.members {
		if m.joined != nil {
			w.observing.Go(m.leave)
		}
	}
	w.observing.Wait()
	w.members = nil
}

func isEven(s *history.Shared) bool {
	for _, n := range s.Members {
		if share := s.Partitions / len(s.Members); n < share || n > share+1 {
			return false
		}
	}
	return true
}

// underGroups is a load of groups with a recurring fault.
func underGroups(ttl time.Duration, c cycle) func(*world) error {
	return func(w *world) error {
		if err := w.groups(ttl); err != nil {
			return err
		}
		return w.cycles(c)
	}
}
