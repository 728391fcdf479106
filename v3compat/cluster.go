package v3compat

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"silly.store/etcd"
)

// clusterServer answers the requests of etcd's Cluster service.
type clusterServer struct {
	pb.UnimplementedClusterServer
	c *etcd.Client
}

func (s *clusterServer) MemberList(ctx context.Context, req *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	resp, err := call(ctx, s.c.Cluster().MemberList, etcd.MemberListRequest{Serializable: !req.Linearizable})
	if err != nil {
		return nil, err
	}
	return &pb.MemberListResponse{Header: header(resp.Header), Members: members(resp.Members)}, nil
}

func (s *clusterServer) MemberAdd(ctx context.Context, req *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	resp, err := call(ctx, s.c.Cluster().MemberAdd, etcd.MemberAddRequest{PeerURLs: req.PeerURLs, Learner: req.IsLearner})
	if err != nil {
		return nil, err
	}
	return &pb.MemberAddResponse{Header: header(resp.Header), Member: member(&resp.Member), Members: members(resp.Members)}, nil
}

func (s *clusterServer) MemberRemove(ctx context.Context, req *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	if req.ID == 0 {
		return nil, rpctypes.ErrGRPCMemberNotFound
	}
	resp, err := call(ctx, s.c.Cluster().MemberRemove, etcd.MemberRemoveRequest{ID: req.ID})
	if err != nil {
		return nil, err
	}
	return &pb.MemberRemoveResponse{Header: header(resp.Header), Members: members(resp.Members)}, nil
}

func (s *clusterServer) MemberUpdate(ctx context.Context, req *pb.MemberUpdateRequest) (*pb.MemberUpdateResponse, error) {
	if req.ID == 0 {
		return nil, rpctypes.ErrGRPCMemberNotFound
	}
	resp, err := call(ctx, s.c.Cluster().MemberUpdate, etcd.MemberUpdateRequest{ID: req.ID, PeerURLs: req.PeerURLs})
	if err != nil {
		return nil, err
	}
	return &pb.MemberUpdateResponse{Header: header(resp.Header), Members: members(resp.Members)}, nil
}

func (s *clusterServer) MemberPromote(ctx context.Context, req *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	if req.ID == 0 {
		return nil, rpctypes.ErrGRPCMemberNotFound
	}
	resp, err := call(ctx, s.c.Cluster().MemberPromote, etcd.MemberPromoteRequest{ID: req.ID})
	if err != nil {
		return nil, err
	}
	return &pb.MemberPromoteResponse{Header: header(resp.Header), Members: members(resp.Members)}, nil
}

func member(m *etcd.Member) *pb.Member {
	return &pb.Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, IsLearner: m.IsLearner}
}

func members(list []etcd.Member) []*pb.Member {
	out := make([]*pb.Member, len(list))
	for i := range list {
		out[i] = member(&list[i])
	}
	return out
}
