package client

import (
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// official is a grpc-go connection, for requests for which the client has no
// methods yet.
func official(t testing.TB, s *etcdtest.Server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// grant makes a lease that outlives the test.
func grant(t testing.TB, s *etcdtest.Server) etcd.LeaseID {
	t.Helper()
	resp, err := pb.NewLeaseClient(official(t, s)).LeaseGrant(t.Context(), &pb.LeaseGrantRequest{TTL: int64(time.Hour / time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	return etcd.LeaseID(resp.ID)
}
