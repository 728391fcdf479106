package peertest

import (
	"context"
	"sync"

	"silly.store/etcd/internal/transport"
)

// Cluster is a set of in-memory members, by address.
type Cluster struct {
	mu      sync.Mutex // guards the fields below
	members map[string]*Member
	order   []*Member
}

// NewCluster makes a cluster with a member at each address.
func NewCluster(addresses ...string) *Cluster {
	c := &Cluster{members: make(map[string]*Member)}
	for _, a := range addresses {
		c.Member(a)
	}
	return c
}

// Member returns the member at an address, and adds it if the cluster does not have
// it.
func (c *Cluster) Member(address string) *Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[address]
	if m == nil {
		m = NewMember(address)
		c.joinLocked(m)
	}
	return m
}

// Join adds members that a test has made.
func (c *Cluster) Join(members ...*Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range members {
		c.joinLocked(m)
	}
}

func (c *Cluster) joinLocked(m *Member) {
	c.members[m.Address] = m
	c.order = append(c.order, m)
}

// Members returns all members, in the order in which they joined.
func (c *Cluster) Members() []*Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Member(nil), c.order...)
}

// Cut ends every connection; see [Member.Cut].
func (c *Cluster) Cut(reason *transport.Error) {
	for _, m := range c.Members() {
		m.Cut(reason)
	}
}

// Dial connects to the member at the target's address.
func (c *Cluster) Dial(ctx context.Context, target transport.Target) (transport.Conn, error) {
	conn, err := c.Member(target.Address).dial(ctx, target)
	if err != nil {
		return nil, err
	}
	return conn, nil
}
