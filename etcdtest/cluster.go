package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Cluster is several child processes that form one etcd. It is safe for concurrent
// use. Use the methods of [Server] to kill, stop and restart single members, and
// [Cluster.Remove] and [Cluster.Add] to replace them.
type Cluster struct {
	member      Config // of each member
	peerProxies bool
	binary      string

	mu      sync.Mutex // guards the fields below
	members []*Server
	made    int // number of members made so far, for their names
}

// StartCluster runs a cluster until the test ends. It fails the test if the
// cluster doesn't start.
func StartCluster(t testing.TB, cfg ClusterConfig) *Cluster {
	t.Helper()
	c, err := NewCluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range c.Members() {
			finish(t, m)
		}
	})
	return c
}

// NewCluster runs a cluster and returns when every member serves requests, which
// requires a leader. The caller must call [Cluster.Close].
func NewCluster(cfg ClusterConfig) (_ *Cluster, err error) {
	size := cfg.Size
	if size == 0 {
		size = 3
	}
	if size < 1 || size > 9 {
		return nil, fmt.Errorf("etcdtest: ClusterConfig.Size is %d, want 1 to 9", size)
	}
	if cfg.Config.DataDir != "" {
		return nil, errors.New("etcdtest: ClusterConfig.Config.DataDir must be empty, members can't share one")
	}
	member, _, err := cfg.Config.resolved(true)
	if err != nil {
		return nil, err
	}
	binary, err := serverBinary(member.Version)
	if err != nil {
		return nil, err
	}
	if member.TLS != NoTLS && member.CA == nil {
		if member.CA, err = NewCA(); err != nil {
			return nil, err
		}
	}
	c := &Cluster{member: member, peerProxies: cfg.PeerProxies, binary: binary}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	var peers []string
	for range size {
		m, err := c.newMember()
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, m)
		peers = append(peers, m.home.asPeer())
	}
	for _, m := range c.members {
		m.args = m.home.flags(strings.Join(peers, ","), newCluster)
	}
	return c, c.Restart()
}

// newMember prepares a member with a name that was never used. It neither starts
// the member nor adds it to the cluster.
func (c *Cluster) newMember() (*Server, error) {
	c.mu.Lock()
	c.made++
	name := fmt.Sprintf("etcd%d", c.made)
	c.mu.Unlock()
	h, err := newHome(name, c.member)
	if err != nil {
		return nil, err
	}
	m := &Server{home: h, binary: c.binary}
	if c.peerProxies {
		if err := h.proxyPeers(); err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	return m, nil
}

// Members returns the members, in the order in which they were made.
func (c *Cluster) Members() []*Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.members)
}

// Endpoints returns the client URL of every member, in the order of Members.
func (c *Cluster) Endpoints() []string {
	var urls []string
	for _, m := range c.Members() {
		urls = append(urls, m.Endpoints()...)
	}
	return urls
}

// Leader waits until a member claims to lead and proves it by a linearizable read,
// and returns that member. A former leader that was cut off and doesn't know it yet
// fails the read.
func (c *Cluster) Leader(ctx context.Context) (*Server, error) {
	var leader *Server
	err := poll(ctx, func(ctx context.Context) error {
		members := c.Members()
		leads := make([]bool, len(members))
		each(members, func(i int, m *Server) error {
			v, err := m.Metric(ctx, "etcd_server_is_leader")
			leads[i] = err == nil && v == 1 && m.healthy(ctx) == nil
			return nil
		})
		i := slices.Index(leads, true)
		if i < 0 {
			return errors.New("no member leads")
		}
		leader = members[i]
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("etcdtest: waiting for a leader: %w", err)
	}
	return leader, nil
}

// errNoPeerProxies is the error for faults between members without proxies.
var errNoPeerProxies = errors.New("etcdtest: the members' traffic has no proxies; set ClusterConfig.PeerProxies")

// Isolate silently cuts m off from the other members, in both directions, until
// Heal. Clients still reach m. It needs ClusterConfig.PeerProxies.
func (c *Cluster) Isolate(ctx context.Context, m *Server) error {
	if m.home.peerProxy == nil {
		return errNoPeerProxies
	}
	id, err := m.id(ctx)
	if err != nil {
		return err
	}
	for _, other := range c.Members() {
		if other != m {
			other.home.peerProxy.setPeer(id, Fault{Discard: true})
		}
	}
	m.home.peerProxy.Set(BothWays, Fault{Discard: true})
	return nil
}

// FaultPeers applies f to all traffic between members. It needs
// ClusterConfig.PeerProxies.
func (c *Cluster) FaultPeers(f Fault) error {
	for _, m := range c.Members() {
		if m.home.peerProxy == nil {
			return errNoPeerProxies
		}
		m.home.peerProxy.Set(BothWays, f)
	}
	return nil
}

// Heal ends the faults of Isolate and FaultPeers.
func (c *Cluster) Heal() {
	for _, m := range c.Members() {
		if m.home.peerProxy != nil {
			m.home.peerProxy.Heal()
		}
	}
}

// Restart kills and starts every member, and returns when all of them serve
// requests.
func (c *Cluster) Restart() error {
	members := c.Members()
	if err := each(members, func(_ int, m *Server) error { return m.Launch() }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return each(members, func(_ int, m *Server) error { return m.Ready(ctx) })
}

// Close ends every member as [Server.Close] does.
func (c *Cluster) Close() error {
	return each(c.Members(), func(_ int, m *Server) error { return m.Close() })
}

// each calls f for all members at once and waits for all.
func each(members []*Server, f func(i int, m *Server) error) error {
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { errs[i] = f(i, m) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
