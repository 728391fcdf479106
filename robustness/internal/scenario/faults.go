package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
)

// cycle is a recurring fault.
type cycle struct {
	name string
	// oneMember: each fault hits a single member.
	oneMember bool
	// harmless, overlaps and suspends are those of history.Fault.
	harmless, overlaps, suspends bool
	// gap is the time between two faults, hold the duration of each; both vary by
	// up to a quarter.
	gap, hold time.Duration
	// holds, if not empty, replaces hold with durations taken in turn.
	holds []time.Duration
	// inject begins the n-th fault and returns a function that ends it.
	inject func(w *world, n int) (heal func() error, err error)
}

// settleGap is how long loads run before the first fault and after the last.
const settleGap = 1500 * time.Millisecond

// cycles injects faults, at least one, until the time is over. The last may end
// later.
func (w *world) cycles(c cycle) error {
	random := w.random()
	about := func(d time.Duration) time.Duration {
		return d*3/4 + time.Duration(random.Int64N(int64(d/2)+1))
	}
	w.sleep(settleGap)
	w.end = w.end.Add(settleGap)
	for n := 0; w.ctx.Err() == nil; n++ {
		hold := c.hold
		if len(c.holds) > 0 {
			hold = c.holds[n%len(c.holds)]
		}
		end := w.rec.Fault(history.Fault{Name: c.name, OneMember: c.oneMember, Harmless: c.harmless, Overlaps: c.overlaps, Suspends: c.suspends})
		heal, err := c.inject(w, n)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		w.sleep(about(hold))
		err = heal()
		end()
		if err != nil {
			return fmt.Errorf("ending %s: %w", c.name, err)
		}
		if w.over() {
			break
		}
		w.sleep(about(c.gap))
	}
	w.sleep(settleGap)
	return w.ctx.Err()
}

// leader waits for a leader and returns it.
func (w *world) leader() (*etcdtest.Server, error) {
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	return w.cluster.Leader(ctx)
}

// follower returns the n-th follower.
func (w *world) follower(n int) (*etcdtest.Server, error) {
	leader, err := w.leader()
	if err != nil {
		return nil, err
	}
	var followers []*etcdtest.Server
	for _, m := range w.cluster.Members() {
		if m != leader {
			followers = append(followers, m)
		}
	}
	return followers[n%len(followers)], nil
}

// role chooses the member that a fault hits.
type role func(w *world, n int) (*etcdtest.Server, error)

func leads(w *world, _ int) (*etcdtest.Server, error)   { return w.leader() }
func follows(w *world, n int) (*etcdtest.Server, error) { return w.follower(n) }
func inTurn(w *world, n int) (*etcdtest.Server, error) {
	members := w.cluster.Members()
	return members[n%len(members)], nil
}

// kill ends a member like a crash and starts it again.
func kill(who role) func(*world, int) (func() error, error) {
	return func(w *world, n int) (func() error, error) {
		m, err := who(w, n)
		if err != nil {
			return nil, err
		}
		return m.Restart, m.Kill()
	}
}

// terminate asks a member to shut down, and starts it again.
func terminate(who role) func(*world, int) (func() error, error) {
	return func(w *world, n int) (func() error, error) {
		m, err := who(w, n)
		if err != nil {
			return nil, err
		}
		return m.Restart, m.Terminate()
	}
}

// hang suspends a member.
func hang(who role) func(*world, int) (func() error, error) {
	return func(w *world, n int) (func() error, error) {
		m, err := who(w, n)
		if err != nil {
			return nil, err
		}
		return m.Continue, m.Stop()
	}
}

// isolate cuts a member off from the others.
func isolate(who role) func(*world, int) (func() error, error) {
	return func(w *world, n int) (func() error, error) {
		m, err := who(w, n)
		if err != nil {
			return nil, err
		}
		heal := func() error { w.cluster.Heal(); return nil }
		return heal, w.cluster.Isolate(w.ctx, m)
	}
}

// noQuorum kills two members.
func noQuorum(w *world, n int) (func() error, error) {
	members := w.cluster.Members()
	a, b := members[n%3], members[(n+1)%3]
	heal := func() error {
		if err := a.Launch(); err != nil {
			return err
		}
		return b.Restart()
	}
	return heal, errors.Join(a.Kill(), b.Kill())
}

// moveLeader makes the leader hand over to another member.
func moveLeader(w *world, n int) (func() error, error) {
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	for {
		err := w.tryMoveLeader(ctx, n)
		if err == nil || ctx.Err() != nil {
			return func() error { return nil }, err
		}
	}
}

func (w *world) tryMoveLeader(ctx context.Context, n int) error {
	leader, err := w.cluster.Leader(ctx)
	if err != nil {
		return err
	}
	for i := range w.cluster.Members() {
		m := w.cluster.Members()[(n+i)%len(w.cluster.Members())]
		if m == leader {
			continue
		}
		target, err := w.admin.Status(ctx, m.Endpoints()[0])
		if err != nil {
			return err
		}
		return w.handOver(ctx, leader, target.Header.MemberId)
	}
	return errors.New("there is no other member")
}

// link puts a fault on the links between the clients and all members.
func link(ways etcdtest.Way, f etcdtest.Fault) func(*world, int) (func() error, error) {
	return func(w *world, _ int) (func() error, error) {
		for _, p := range w.proxies {
			p.Set(ways, f)
		}
		return w.healLinks, nil
	}
}

func (w *world) healLinks() error {
	for _, p := range w.proxies {
		p.Heal()
	}
	return nil
}

// reset ends all connections of the clients.
func reset(w *world, _ int) (func() error, error) {
	for _, p := range w.proxies {
		p.Reset()
	}
	return w.healLinks, nil
}

// cutWithin resets the connection to each member after a random number of bytes, at
// most most.
func cutWithin(ways etcdtest.Way, most int) func(*world, int) (func() error, error) {
	return func(w *world, _ int) (func() error, error) {
		random := w.random()
		for _, p := range w.proxies {
			p.CutAfter(ways, random.IntN(most))
		}
		return func() error { return nil }, nil
	}
}
