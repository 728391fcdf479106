package v3compat

import (
	"context"
	"errors"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"silly.store/etcd"
	"silly.store/etcd/internal/compat"
)

// lessor is the Lease of a clientv3.Client. Grant, Revoke, TimeToLive and Leases
// go through client/v3's own wrapper of a generated client, because what a
// clientv3.LeaseOption says can be read by nobody else; it has no loop unless its
// KeepAlive is called. Keeping leases alive is the etcd.Client's.
type lessor struct {
	clientv3.Lease
	c        *etcd.Client
	first    time.Duration  // how long the first renewal may take
	forget   func()         // ends the calls of leaderless
	routines sync.WaitGroup // adoptions, and what the end of a context or lease starts

	mu sync.Mutex // guards the fields below, and those of kept leases

	closed bool
	kept   map[clientv3.LeaseID]*keptLease
}

// firstRenewal is how long client/v3 waits for the first renewal of a lease.
func firstRenewal(dialTimeout time.Duration) time.Duration {
	if dialTimeout == 0 {
		return 5 * time.Second
	}
	return dialTimeout + time.Second
}

// newLease makes a Lease that closes a channel if the first renewal has not
// succeeded within first.
func newLease(c *etcd.Client, conn grpc.ClientConnInterface, first time.Duration) clientv3.Lease {
	l := &lessor{
		Lease: clientv3.NewLeaseFromLeaseClient(pb.NewLeaseClient(conn), nil, first),
		c:     c, first: first, kept: make(map[clientv3.LeaseID]*keptLease),
	}
	l.forget = compat.Of(c).OnLeaderless(l.leaderless)
	return l
}

// KeepAliveOnce tries until ctx ends, unless a server refuses, which client/v3 returns
// whatever the reason.
func (l *lessor) KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	limited := withoutElections(ctx)
	for {
		resp, err := l.c.KeepAliveOnce(limited, etcd.KeepAliveRequest{ID: etcd.LeaseID(id)})
		switch {
		case err == nil:
			return keepAliveResponse(resp.Header, id, resp.TTL), nil
		case id == clientv3.NoLease, errors.Is(err, etcd.ErrLeaseNotFound):
			return keepAliveResponse(etcd.ResponseHeader{}, id, 0), rpctypes.ErrLeaseNotFound
		case !passes(err) || errors.As(translate(err), new(rpctypes.EtcdError)) || !pause(ctx):
			return nil, clientv3.ContextError(ctx, asStatus(err))
		}
	}
}

// Close ends what keeps leases alive; their channels are closed when it returns.
// The leases live out their TTLs.
func (l *lessor) Close() error {
	l.mu.Lock()
	l.closed = true
	for _, k := range l.kept {
		k.endLocked()
	}
	l.mu.Unlock()
	l.forget()
	l.routines.Wait()
	return l.Lease.Close()
}

func keepAliveResponse(h etcd.ResponseHeader, id clientv3.LeaseID, ttl time.Duration) *clientv3.LeaseKeepAliveResponse {
	return &clientv3.LeaseKeepAliveResponse{ResponseHeader: header(h), ID: id, TTL: inSeconds(ttl)}
}

func inSeconds(d time.Duration) int64 { return int64(d / time.Second) }
