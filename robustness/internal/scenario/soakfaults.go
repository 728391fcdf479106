package scenario

import (
	"errors"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
)

// briefFaults last a moment. Each also occurs once in quiet times, so that the harness
// and its libraries allocate what they keep before memory is measured.
var briefFaults = []cycle{
	{name: "member restarted", oneMember: true, hold: time.Second, inject: terminate(inTurn)},
	{name: "leader moved", inject: moveLeader},
	{name: "connections reset", inject: reset},
	{name: "compacted", inject: compactRecent},
	{name: "defragmented", oneMember: true, inject: defragmentOne},
}

// soakFaults are the faults of a soak. The leader is never suspended for as long as a
// lease lives without renewal: it would revoke leases that the next leader has
// renewed, see "Not obvious" in DESIGN.md.
var soakFaults = append([]cycle{
	{name: "leader killed", oneMember: true, hold: 3 * time.Second, inject: kill(leads)},
	{name: "follower killed", oneMember: true, hold: 3 * time.Second, inject: kill(follows)},
	{name: "quorum lost", hold: 3 * time.Second, inject: noQuorum},
	{name: "leader suspended", oneMember: true, hold: 2 * time.Second, inject: hang(leads)},
	{name: "follower suspended", oneMember: true, hold: 6 * time.Second, inject: hang(follows)},
	{name: "member cut off", oneMember: true, hold: 4 * time.Second, inject: isolate(inTurn)},
	{name: "links stalled", hold: 3 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Stall: true})},
	{name: "links stalled for long", hold: 9 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Stall: true})},
	{name: "one link stalled", oneMember: true, hold: 5 * time.Second, inject: oneLink(etcdtest.BothWays, etcdtest.Fault{Stall: true})},
	{name: "replies lost", hold: 3 * time.Second, inject: link(etcdtest.ToClient, etcdtest.Fault{Discard: true})},
	{name: "one member's replies lost", oneMember: true, hold: 5 * time.Second, inject: oneLink(etcdtest.ToClient, etcdtest.Fault{Discard: true})},
	{name: "one member silent", oneMember: true, hold: 5 * time.Second, inject: silent},
	{name: "links slow", hold: 5 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Delay: 75 * time.Millisecond, Jitter: 50 * time.Millisecond})},
	{name: "links sliced", hold: 5 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Slice: 7})},
	{name: "requests cut", hold: time.Second, inject: again(10, cutWithin(etcdtest.ToServer, 4096))},
	{name: "answers cut", hold: time.Second, inject: again(10, cutWithin(etcdtest.ToClient, 16<<10))},
}, briefFaults...)

// bag returns each of its faults once before any repeats.
type bag struct {
	random *rand.Rand
	left   []cycle
}

func (b *bag) next() cycle {
	if len(b.left) == 0 {
		for _, i := range b.random.Perm(len(soakFaults)) {
			b.left = append(b.left, soakFaults[i])
		}
	}
	c := b.left[0]
	b.left = b.left[1:]
	return c
}

// oneLink puts a fault on the links between the clients and one member.
func oneLink(ways etcdtest.Way, f etcdtest.Fault) func(*world, int) (func() error, error) {
	return func(w *world, n int) (func() error, error) {
		w.proxies[n%len(w.proxies)].Set(ways, f)
		return w.healLinks, nil
	}
}

// silent ends the connections to one member, which then accepts new ones but never
// answers.
func silent(w *world, n int) (func() error, error) {
	p := w.proxies[n%len(w.proxies)]
	p.Silence(true)
	p.Reset()
	return w.healLinks, nil
}

// again repeats a momentary fault until its end, at most n times.
func again(n int, inject func(*world, int) (func() error, error)) func(*world, int) (func() error, error) {
	return func(w *world, _ int) (func() error, error) {
		for i := range n {
			if _, err := inject(w, i); err != nil {
				return nil, err
			}
			w.sleep(80 * time.Millisecond)
		}
		return w.healLinks, nil
	}
}

// compactRecent compacts up to a moment ago.
func compactRecent(w *world, _ int) (func() error, error) {
	nothing := func() error { return nil }
	if revision := w.oracle.now() - 50; revision > w.floor {
		return nothing, w.persist(func() error {
			err := w.compact(revision)
			if err != nil && compacted(err) == nil { // by an earlier try
				w.rec.Change(func(r *history.Run) { r.Compacted = max(r.Compacted, revision) })
				return nil
			}
			return err
		})
	}
	return nothing, nil
}

// defragmentOne defragments one member.
func defragmentOne(w *world, n int) (func() error, error) {
	members := w.cluster.Members()
	return func() error { return nil }, w.persist(func() error {
		_, err := w.admin.Defragment(w.ctx, members[n%len(members)].Endpoints()[0])
		return err
	})
}

// compacted returns err unless it says that the revision is already compacted.
func compacted(err error) error {
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil
	}
	return err
}

// persist repeats f until it succeeds.
func (w *world) persist(f func() error) error {
	for end := time.Now().Add(settle); ; {
		err := f()
		if err == nil || time.Now().After(end) {
			return err
		}
		w.sleep(100 * time.Millisecond)
	}
}
