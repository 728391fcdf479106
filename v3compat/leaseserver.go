package v3compat

import (
	"context"
	"errors"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
)

// leaseServer is etcd's Lease service, answered by an etcd.Client.
type leaseServer struct {
	pb.UnsafeLeaseServer
	c *etcd.Client
}

// maxTTL is etcd's limit, in seconds.
const maxTTL = 9_000_000_000

// LeaseGrant grants a lease that KeepAlive may keep. The server raises a TTL that
// is too short, 0 and less included.
func (s *leaseServer) LeaseGrant(ctx context.Context, in *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	if in.TTL > maxTTL {
		return nil, rpctypes.ErrGRPCLeaseTTLTooLarge
	}
	lease, err := call(ctx, s.c.Grant, etcd.GrantRequest{
		TTL: time.Duration(max(in.TTL, 1)) * time.Second, ID: etcd.LeaseID(in.ID), NoKeepAlive: true,
	})
	if err != nil {
		return nil, err
	}
	return &pb.LeaseGrantResponse{Header: header(lease.Header), ID: int64(lease.ID), TTL: inSeconds(lease.TTL)}, nil
}

func (s *leaseServer) LeaseRevoke(ctx context.Context, in *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	if in.ID == int64(clientv3.NoLease) {
		return nil, rpctypes.ErrGRPCLeaseNotFound
	}
	resp, err := call(ctx, s.c.Revoke, etcd.RevokeRequest{ID: etcd.LeaseID(in.ID)})
	if err != nil {
		return nil, err
	}
	return &pb.LeaseRevokeResponse{Header: header(resp.Header)}, nil
}

// LeaseTimeToLive answers with a TTL of -1 for a lease that does not exist, as
// etcd does.
func (s *leaseServer) LeaseTimeToLive(ctx context.Context, in *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
	resp, err := call(ctx, s.c.TTL, etcd.TTLRequest{ID: etcd.LeaseID(in.ID), Keys: in.Keys})
	switch {
	case in.ID == int64(clientv3.NoLease), errors.Is(err, etcd.ErrLeaseNotFound):
		return &pb.LeaseTimeToLiveResponse{Header: new(pb.ResponseHeader), ID: in.ID, TTL: -1}, nil
	case err != nil:
		return nil, err
	}
	out := &pb.LeaseTimeToLiveResponse{
		Header: header(resp.Header), ID: in.ID, TTL: inSeconds(resp.TTL), GrantedTTL: inSeconds(resp.GrantedTTL),
	}
	for _, key := range resp.Keys {
		out.Keys = append(out.Keys, []byte(key))
	}
	return out, nil
}

func (s *leaseServer) LeaseLeases(ctx context.Context, _ *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	leases := func(ctx context.Context, _ struct{}) (*etcd.LeasesResponse, error) { return s.c.Leases(ctx) }
	resp, err := call(ctx, leases, struct{}{})
	if err != nil {
		return nil, err
	}
	out := &pb.LeaseLeasesResponse{Header: header(resp.Header)}
	for _, id := range resp.Leases {
		out.Leases = append(out.Leases, &pb.LeaseStatus{ID: int64(id)})
	}
	return out, nil
}

// LeaseKeepAlive renews for a Lease of clientv3.NewLease, which has a loop of its
// own; the one of a Client does not come here.
func (s *leaseServer) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		out := &pb.LeaseKeepAliveResponse{Header: new(pb.ResponseHeader), ID: in.ID}
		resp, err := s.c.KeepAliveOnce(withoutElections(stream.Context()), etcd.KeepAliveRequest{ID: etcd.LeaseID(in.ID)})
		switch {
		case err == nil:
			out.Header, out.TTL = header(resp.Header), inSeconds(resp.TTL)
		case in.ID == int64(clientv3.NoLease), errors.Is(err, etcd.ErrLeaseNotFound): // a TTL of 0 says so
		default:
			return asStatus(err)
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}
