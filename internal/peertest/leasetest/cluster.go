package leasetest

import (
	"sync"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// Cluster is three members that share their leases. A lock guards its fields: see
// [Cluster.Set].
type Cluster struct {
	*peertest.Cluster

	mu sync.Mutex // guards the fields below

	Leases    map[int64]*Lease
	Forbidden map[int64]bool // renewals are denied, which ends the stream

	Before      time.Duration  // between a request's sending and its arrival
	Service     time.Duration  // time per renewal; a stream serves one at a time
	After       time.Duration  // between an answer's sending and its arrival
	Silent      bool           // the cluster does and answers nothing
	Stuck       string         // address of a member that is silent on streams
	Dead        *peertest.Conn // streams on it are silent
	LoseAnswers int            // number of unary calls that are executed but whose answers are lost
	Fail        error          // error of renewals, which ends the stream

	Renewed []Renewal // in order
}

// Lease is the cluster's record of a lease.
type Lease struct {
	TTL     time.Duration
	Expires time.Time
}

// Renewal is a renewal that arrived.
type Renewal struct {
	At      time.Time
	ID      int64
	Address string // of the member
}

// deleteAfter is how long after its expiry a lease is deleted.
const deleteAfter = 500 * time.Millisecond

// NewCluster makes a cluster without leases.
func NewCluster() *Cluster {
	c := &Cluster{
		Cluster: peertest.NewCluster("a:1", "b:1", "c:1"),
		Leases:  make(map[int64]*Lease), Forbidden: make(map[int64]bool),
	}
	for _, m := range c.Members() {
		m.Handle(c.call, grantPath, revokePath)
		m.HandleStreams(c.serve)
	}
	return c
}

// Addresses returns the addresses of the first n members.
func (c *Cluster) Addresses(n int) (addresses []string) {
	for _, m := range c.Members()[:n] {
		addresses = append(addresses, m.Address)
	}
	return addresses
}

// Set calls f, which reads or changes the cluster's fields.
func (c *Cluster) Set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// Down makes every member refuse connections, or accept them again.
func (c *Cluster) Down(down bool) {
	for _, m := range c.Members() {
		m.Down(down)
	}
}

// Put makes a lease, as another client would. It replaces an existing one.
func (c *Cluster) Put(id int64, ttl time.Duration) {
	c.Set(func() { c.Leases[id] = &Lease{TTL: ttl, Expires: time.Now().Add(ttl)} })
}

// Delete ends a lease, as another client's Revoke would.
func (c *Cluster) Delete(id int64) {
	c.Set(func() { delete(c.Leases, id) })
}

// Expires returns when the lease expires, or zero if there is no such lease.
func (c *Cluster) Expires(id int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.liveLocked(id); l != nil {
		return l.Expires
	}
	return time.Time{}
}

// liveLocked deletes the lease if its time has come.
func (c *Cluster) liveLocked(id int64) *Lease {
	l := c.Leases[id]
	if l != nil && !time.Now().Before(l.Expires.Add(deleteAfter)) {
		delete(c.Leases, id)
		return nil
	}
	return l
}

// grantLocked and revokeLocked return etcd's error, or nil on success.
func (c *Cluster) grantLocked(id int64, ttl time.Duration) error {
	if c.liveLocked(id) != nil {
		return peertest.Says(transport.FailedPrecondition, "etcdserver: lease already exists").Err
	}
	c.Leases[id] = &Lease{TTL: ttl, Expires: time.Now().Add(ttl)}
	return nil
}

func (c *Cluster) revokeLocked(id int64) error {
	if c.liveLocked(id) == nil {
		return peertest.NoLease.Err
	}
	delete(c.Leases, id)
	return nil
}

// Renewals returns the times at which a lease's renewals arrived.
func (c *Cluster) Renewals(id int64) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []time.Time
	for _, r := range c.Renewed {
		if r.ID == id {
			out = append(out, r.At)
		}
	}
	return out
}

// Count returns how many renewals arrived, how many streams were opened, and how
// many are open.
func (c *Cluster) Count() (renewals, opened, open int) {
	for _, m := range c.Members() {
		n := m.Counts()
		opened, open = opened+n.Streams, open+n.OpenStreams
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.Renewed), opened, open
}

// Sent returns how many renewals clients have sent, including those that were never
// handled.
func (c *Cluster) Sent() (n int) {
	for _, m := range c.Members() {
		n += m.Counts().Messages
	}
	return n
}
