package client

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// leasesBehindProxies starts a cluster with a proxy in front of each member, and a
// client with leases.
type leasesBehindProxies struct {
	members []*etcdtest.Server
	ways    []*etcdtest.Proxy
	leases  []*etcd.Lease
}

func behindProxies(t *testing.T, n int, ttl time.Duration) *leasesBehindProxies {
	t.Helper()
	b := &leasesBehindProxies{members: etcdtest.StartCluster(t, etcdtest.ClusterConfig{}).Members()}
	var endpoints []string
	for _, m := range b.members {
		way := etcdtest.StartProxy(t, m.Endpoints()[0])
		b.ways = append(b.ways, way)
		endpoints = append(endpoints, way.Endpoint())
	}
	c := connect(t, etcd.Config{Endpoints: endpoints, Retry: 100, RetrySleep: 20 * time.Millisecond})
	b.leases = grantMany(t, c, n, ttl)
	return b
}

// inUse returns the member that renews the leases: within a while it sends more
// than the others.
func (b *leasesBehindProxies) inUse() (which int) {
	before := make([]int64, len(b.ways))
	for i, way := range b.ways {
		before[i] = way.Carried(etcdtest.ToClient)
	}
	<-time.After(2500 * time.Millisecond) // every lease of 6 s is renewed once
	var most int64
	for i, way := range b.ways {
		if n := way.Carried(etcdtest.ToClient) - before[i]; n > most {
			which, most = i, n
		}
	}
	return which
}

// keptFor waits and returns the least time that any lease had left meanwhile.
func (b *leasesBehindProxies) keptFor(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	least := time.Hour
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		for _, l := range b.leases {
			alive(t, l)
			least = min(least, time.Until(l.Deadline()))
		}
	}
	return least
}

// The member in use is stopped, then the next one answers PINGs but no renewals:
// leases of 6 s survive on the third. The first is not continued, because a former
// leader might then revoke them, see TestFormerLeaderRevokesLeases.
func TestLeasesLeaveADeadMember(t *testing.T) {
	t.Parallel()
	b := behindProxies(t, 100, 6*time.Second)
	if err := b.members[b.inUse()].Stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the member in use is stopped: the nearest to its end had %v left", b.keptFor(t, 7*time.Second))
	b.ways[b.inUse()].Set(etcdtest.BothWays, etcdtest.Fault{DiscardRequests: true})
	t.Logf("the next answers PINGs only: the nearest to its end had %v left", b.keptFor(t, 7*time.Second))
}

// A leader is stopped for longer than the TTL and then continued. It may revoke all
// leases by its old clock, although the next leader has renewed them meanwhile. No
// client can know in advance, so the keys are deleted first. The next renewal then
// reports it.
func TestFormerLeaderRevokesLeases(t *testing.T) {
	t.Parallel()
	const n, ttl = 10, 3 * time.Second
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Config: etcdtest.Config{Heartbeat: 20 * time.Millisecond}})
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Retry: 100, RetrySleep: 20 * time.Millisecond})
	leases := grantMany(t, c, n, ttl)
	for i, l := range leases {
		attach(t, c, fmt.Sprintf("former/%d", i), l.ID)
	}
	former, err := cluster.Leader(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := former.Stop(); err != nil {
		t.Fatal(err)
	}
	<-time.After(ttl * 5 / 3)
	for _, l := range leases {
		alive(t, l)
	}
	if err := former.Continue(); err != nil {
		t.Fatal(err)
	}
	<-time.After(ttl) // each is renewed twice
	revoked := 0
	for i, l := range leases {
		if exists(t, c, fmt.Sprintf("former/%d", i)) {
			alive(t, l)
			continue
		}
		revoked++
		if err := lost(t, l, ttl); !errors.Is(err, etcd.ErrLeaseExpired) {
			t.Errorf("lost because %v", err)
		}
	}
	t.Logf("the former leader has revoked %d of %d leases", revoked, n)
}

// All members are killed: leases with enough time left survive, and the others are
// reported lost in time, with the reason.
func TestLeasesWhileAllMembersAreDown(t *testing.T) {
	t.Parallel()
	b := behindProxies(t, 20, 30*time.Second)
	c := connect(t, etcd.Config{Endpoints: []string{b.ways[0].Endpoint(), b.ways[1].Endpoint()}})
	short := granted(t, c, 5*time.Second)
	for _, m := range b.members {
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	onTime(t, short)
	if err := short.Err(); !errors.Is(err, etcd.ErrLeaseNotRenewed) || !errors.Is(err, etcd.ErrUnavailable) {
		t.Errorf("lost because %v", err)
	}
	restarted := make(chan error, len(b.members))
	for _, m := range b.members {
		go func() { restarted <- m.Restart() }()
	}
	for range b.members {
		if err := await(t, restarted); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the nearest to its end had %v left", b.keptFor(t, 15*time.Second))
}

// Authentication is switched on and off under live keep-alives of a client with a
// user: the lease survives. Without a user it is lost with the reason, see
// TestLeaseUnauthenticated.
func TestLeaseWhileAuthenticationIsSwitched(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	c := asUser(t, s, "root", rootPassword)
	l := granted(t, c, 2*time.Second)
	attach(t, c, "switched", l.ID)
	lives := func(when string) {
		t.Helper()
		select {
		case <-l.Done():
			t.Fatalf("%s: %v", when, l.Err())
		case <-time.After(4 * time.Second):
		}
	}
	root := authOn(t, s)
	lives("authentication is on")
	endTokens(t, root, "root", rootPassword)
	lives("its token has ended")
	must(t)(root.Auth().Disable(t.Context()))
	lives("authentication is off")
}
