package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Remove asks another member to remove m from the cluster, and then closes m as
// [Server.Close] does, including its data and addresses. m may be down. Members no
// longer returns it. Authentication must be off.
//
// etcd refuses to remove a member that the quorum needs; Remove tries again until
// ctx ends.
func (c *Cluster) Remove(ctx context.Context, m *Server) error {
	peerURL := m.home.peerURL()
	err := c.ask(ctx, m, func(ctx context.Context, api pb.ClusterClient) error {
		list, err := api.MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list.Members, func(x *pb.Member) bool { return slices.Contains(x.PeerURLs, peerURL) })
		if i < 0 {
			return nil // done by an attempt whose answer was lost
		}
		_, err = api.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: list.Members[i].ID})
		return err
	})
	if err != nil {
		return fmt.Errorf("etcdtest: removing member %s: %w", m.Name(), err)
	}
	c.mu.Lock()
	c.members = slices.DeleteFunc(slices.Clone(c.members), func(x *Server) bool { return x == m })
	c.mu.Unlock()
	return m.Close()
}

// Add adds a voting member to the cluster: a new server without data, on its own
// addresses. It returns when the new member serves requests from the cluster's
// data. Authentication must be off.
//
// etcd refuses to add a member until the existing ones have been connected to each
// other for 5 s; Add tries again until ctx ends. If it fails, the cluster may have
// a member that never starts.
func (c *Cluster) Add(ctx context.Context) (*Server, error) {
	m, err := c.newMember()
	if err != nil {
		return nil, err
	}
	if err := c.join(ctx, m); err != nil {
		return nil, errors.Join(fmt.Errorf("etcdtest: adding member %s: %w", m.Name(), err), m.Close())
	}
	return m, nil
}

func (c *Cluster) join(ctx context.Context, m *Server) error {
	peers := []string{m.home.asPeer()}
	for _, other := range c.Members() {
		peers = append(peers, other.home.asPeer())
	}
	err := c.ask(ctx, m, func(ctx context.Context, api pb.ClusterClient) error {
		_, err := api.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{m.home.peerURL()}})
		if errors.Is(rpctypes.Error(err), rpctypes.ErrPeerURLExist) {
			return nil // done by an attempt whose answer was lost
		}
		return err
	})
	if err != nil {
		return err
	}
	m.args = m.home.flags(strings.Join(peers, ","), existingCluster)
	if err := m.Launch(); err != nil {
		return err
	}
	if err := m.Ready(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = append(slices.Clone(c.members), m)
	return nil
}

// ask calls f for the members other than m, one after another, until one succeeds.
func (c *Cluster) ask(ctx context.Context, m *Server, f func(context.Context, pb.ClusterClient) error) error {
	others := slices.DeleteFunc(c.Members(), func(x *Server) bool { return x == m })
	if len(others) == 0 {
		return errors.New("there is no other member to ask")
	}
	turn := 0
	return poll(ctx, func(ctx context.Context) error {
		other := others[turn%len(others)]
		turn++
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		conn, err := other.dial()
		if err != nil {
			return &finalError{err}
		}
		defer conn.Close()
		return f(ctx, pb.NewClusterClient(conn))
	})
}

// dial returns a gRPC connection to the server.
func (s *Server) dial() (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if config := s.ClientTLS(); config != nil {
		config.ServerName = "127.0.0.1"
		if hosts := s.home.cfg.CertHosts; len(hosts) > 0 {
			config.ServerName = hosts[0]
		}
		creds = credentials.NewTLS(config)
	}
	target := "passthrough:///" + s.Addr()
	if s.home.cfg.Unix {
		target = s.Endpoints()[0]
	}
	return grpc.NewClient(target, grpc.WithTransportCredentials(creds), grpc.WithNoProxy())
}
