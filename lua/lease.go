package lua

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// grant makes a lease, which the client renews by itself. An ID that the script does not
// choose is one that a Lua number holds.
func (c *client) grant(L *glua.LState) int {
	return request(c, L, "grant", grantRequest, c.grantLease, func(l *etcd.Lease) *glua.LTable {
		return c.keep(l)
	})
}

// keep notes a lease for the method lease, and forgets those that have ended before their
// number doubles.
func (c *client) keep(l *etcd.Lease) *glua.LTable {
	if len(c.leases) >= c.tidyAt {
		maps.DeleteFunc(c.leases, func(_ etcd.LeaseID, l *etcd.Lease) bool { return l.Err() != nil })
		c.tidyAt = 2*len(c.leases) + 100
	}
	c.leases[l.ID] = l
	return leaseAnswer(l.Header, l.ID, l.TTL)
}

func (c *client) grantLease(ctx context.Context, req etcd.GrantRequest) (*etcd.Lease, error) {
	if req.ID != 0 {
		return c.etcd.Grant(ctx, req)
	}
	for {
		req.ID = etcd.LeaseID(1 + rand.Int64N(maxExact-1))
		l, err := c.etcd.Grant(ctx, req)
		if !errors.Is(err, etcd.ErrLeaseExists) {
			return l, err
		}
	}
}

func (c *client) revoke(L *glua.LState) int {
	read := func(table *glua.LTable) (etcd.RevokeRequest, error) {
		f := readFields("revoke", table, idFields)
		return etcd.RevokeRequest{ID: f.leaseID()}, f.err
	}
	return request(c, L, "revoke", read, c.etcd.Revoke, func(r *etcd.RevokeResponse) *glua.LTable {
		return record(member{"header", headerTable(r.Header)})
	})
}

func (c *client) ttl(L *glua.LState) int {
	read := func(table *glua.LTable) (etcd.TTLRequest, error) {
		f := readFields("ttl", table, ttlFields)
		return etcd.TTLRequest{ID: f.leaseID(), Keys: f.boolean("keys")}, f.err
	}
	return request(c, L, "ttl", read, c.etcd.TTL, ttlAnswer)
}

func (c *client) listLeases(L *glua.LState) int {
	resp, err := call(c, L, c.etcd.Leases)
	if err != nil {
		return failure(L, "leases", err)
	}
	return give(L, leasesAnswer(resp))
}

func readKeepAlive(op string) func(*glua.LTable) (etcd.KeepAliveRequest, error) {
	return func(table *glua.LTable) (etcd.KeepAliveRequest, error) {
		f := readFields(op, table, idFields)
		return etcd.KeepAliveRequest{ID: f.leaseID()}, f.err
	}
}

// keepAlive opens a stream of renewals for a table, as in the manual. For an ID it has the
// client renew that lease from now on, as in later versions of the original.
func (c *client) keepAlive(L *glua.LState) int {
	if _, ok := L.Get(2).(*glua.LTable); !ok {
		return c.adopt(L)
	}
	req, err := readKeepAlive("keepalive")(checkRequest(L))
	if err != nil {
		return failure(L, "keepalive", err)
	}
	stream, err := call(c, L, func(ctx context.Context) (*etcd.KeepAliveStream, error) { return c.etcd.KeepAlive(ctx, req) })
	if err != nil {
		return failure(L, "keepalive", err)
	}
	return give(L, c.r.keepAlives.object(c.r.newKeepAliveStream(stream, req.ID)))
}

func (c *client) adopt(L *glua.LState) int {
	id, err := ToInteger(L.CheckAny(2))
	if err != nil {
		return failure(L, "keepalive", &requestError{"keepalive", "ID " + err.Error()})
	}
	l, err := call(c, L, func(ctx context.Context) (*etcd.Lease, error) { return c.etcd.Adopt(ctx, etcd.LeaseID(id)) })
	if err != nil {
		return failure(L, "keepalive", err)
	}
	return give(L, c.keep(l))
}

func (c *client) keepAliveOnce(L *glua.LState) int {
	return request(c, L, "keepalive_once", readKeepAlive("keepalive_once"), c.etcd.KeepAliveOnce, func(r *etcd.KeepAliveResponse) *glua.LTable {
		return leaseAnswer(r.Header, r.ID, r.TTL)
	})
}

// lease returns true while a lease that this client renews lives, and afterwards nil and
// why it has ended.
func (c *client) lease(L *glua.LState) int {
	id, err := ToInteger(L.CheckAny(2))
	if err != nil {
		return failure(L, "lease", &requestError{"lease", "ID " + err.Error()})
	}
	l := c.leases[etcd.LeaseID(id)]
	if l == nil {
		return failure(L, "lease", &requestError{"lease", "this client has not granted it"})
	}
	if err := l.Err(); err != nil {
		return failure(L, "lease", err)
	}
	return give(L, glua.LTrue)
}
