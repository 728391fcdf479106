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

// Remove takes m out of the cluster by asking another member, and then ends it
// as [Server.Close] does: its data and its addresses are gone. m may be down. It
// is no longer one of Members. Authentication must be off.
//
// etcd refuses to remove a member that is needed for a quorum; Remove tries
// again until ctx ends.
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

// Add makes the cluster one voting member larger: a new server without data, on
// addresses of its own, that joins the others. It returns when that serves
// requests, which are then answered from the cluster's data. Authentication
// must be off.
//
// etcd refuses to add a member before those there are have been connected to
// each other for 5 s; Add tries again until ctx ends. When it fails, the cluster
// may have a member that never starts.
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
		if rpctypes.Error(err) == rpctypes.ErrPeerURLExist {
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

// ask has the members other than m do f, one after the other, until one has.
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

// dial gives a gRPC connection to the server.
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
