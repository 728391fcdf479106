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

// Cluster is several child processes that form one etcd. It is safe for
// concurrent use. Its members are killed, stopped and restarted one by one
// through [Server], and replaced by [Cluster.Remove] and [Cluster.Add].
type Cluster struct {
	member      Config // of each member
	peerProxies bool
	binary      string

	mu      sync.Mutex // guards the fields below
	members []*Server
	made    int // members so far, for their names
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

// NewCluster runs a cluster and returns when every member serves requests, so
// that there is a leader. The caller must call [Cluster.Close].
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

// newMember prepares a member with a name that none has had; it is not started
// and not yet one of the cluster's.
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

// Leader waits until some member says that it leads and can prove it by a
// linearizable read, and returns that one. One that was cut off from the
// others, and doesn't know yet that it no longer leads, can't.
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

// errNoPeerProxies is the error of faults between members that nothing can make.
var errNoPeerProxies = errors.New("etcdtest: the members' traffic has no proxies; set ClusterConfig.PeerProxies")

// Isolate cuts m off from the other members, both ways and without a word to
// either side, until Heal. Clients still reach it. It needs
// ClusterConfig.PeerProxies.
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

// FaultPeers puts f on everything that members say to each other. It needs
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

// Restart kills and starts every member, and returns when each of them serves
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
