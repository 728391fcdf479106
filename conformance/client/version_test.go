package client

import (
	"net"
	"regexp"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
)

// Servers see the version in the user agent of calls and of streams.
func TestUserAgent(t *testing.T) {
	t.Parallel()
	if !regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`).MatchString(etcd.Version) {
		t.Errorf("Version is %q", etcd.Version)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan []string, 2)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		headers, _ := metadata.FromIncomingContext(stream.Context())
		seen <- headers.Get("user-agent")
		return status.Error(codes.Unimplemented, "no service")
	}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	c := connect(t, etcd.Config{Endpoints: []string{l.Addr().String()}})

	_, callErr := c.Get(t.Context(), etcd.GetRequest{Key: "k"})
	_, streamErr := c.Maintenance().Snapshot(t.Context(), etcd.SnapshotRequest{Endpoint: l.Addr().String()})
	if callErr == nil || streamErr == nil {
		t.Errorf("errors %v, %v", callErr, streamErr)
	}
	for range 2 {
		if got := <-seen; len(got) != 1 || got[0] != "silly-etcd/"+etcd.Version {
			t.Errorf("user agent %q", got)
		}
	}
}
