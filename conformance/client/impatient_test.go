package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// frames passes messages on as they are.
type frames struct{}

func (frames) Name() string                           { return "proto" }
func (frames) Marshal(v any) (mem.BufferSlice, error) { return *v.(*mem.BufferSlice), nil }
func (frames) Unmarshal(b mem.BufferSlice, v any) error {
	*v.(*mem.BufferSlice) = mem.BufferSlice{mem.SliceBuffer(b.Materialize())}
	return nil
}

var errImpatient = status.Error(codes.Unavailable, "upstream connect error or disconnect/reset before headers")

// impatient is a gateway in front of a member that ends each stream of one method when it
// has passed on so many answers and there are more. It passes on all else.
type impatient struct {
	endpoint string
	method   string // how it ends
	answers  int
	streams  atomic.Int64 // of the method
}

func startImpatient(t *testing.T, member, method string, answers int) *impatient {
	t.Helper()
	up, err := grpc.NewClient(member, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &impatient{endpoint: "http://" + l.Addr().String(), method: method, answers: answers}
	server := grpc.NewServer(grpc.ForceServerCodecV2(frames{}), grpc.UnknownServiceHandler(func(_ any, down grpc.ServerStream) error {
		return g.pass(up, down)
	}))
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done; _ = up.Close() })
	return g
}

func (g *impatient) pass(conn *grpc.ClientConn, down grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(down)
	left := -1 // without end
	if strings.HasSuffix(method, g.method) {
		g.streams.Add(1)
		left = g.answers
	}
	ctx, cancel := context.WithCancel(down.Context())
	defer cancel()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	up, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(frames{}))
	if err != nil {
		return err
	}
	go func() { // ends with the stream below
		for {
			var m mem.BufferSlice
			if down.RecvMsg(&m) != nil {
				_ = up.CloseSend()
				return
			}
			if up.SendMsg(&m) != nil {
				return
			}
		}
	}()
	for sent := 0; ; sent++ {
		if sent == 0 && left == 0 {
			return errImpatient
		}
		var m mem.BufferSlice
		err := up.RecvMsg(&m)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case sent == left:
			return errImpatient
		}
		if err := down.SendMsg(&m); err != nil {
			return err
		}
	}
}

// Streams of renewals that end at once, or with each answer, are opened ever more slowly,
// and a lease that is answered lives.
func TestRenewalStreamsThatEndAtOnce(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	for answers, most := range map[int]int64{0: 40, 1: 20} {
		t.Run(fmt.Sprint(answers), func(t *testing.T) {
			t.Parallel()
			g := startImpatient(t, s.Addr(), "/LeaseKeepAlive", answers)
			c := connect(t, etcd.Config{Endpoints: []string{g.endpoint}})
			lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: 3 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-lease.Done():
			case <-time.After(5 * time.Second):
			}
			if lost := lease.Err() != nil; lost != (answers == 0) {
				t.Errorf("the lease: %v", lease.Err())
			} else if lost {
				mustSay(t, lease.Err(), "upstream connect error")
			}
			if n := g.streams.Load(); n < 2 || n > most {
				t.Errorf("%d streams", n)
			}
		})
	}
}

// Ranges and snapshots whose streams end at once, or with their first answer, fail after
// their retries.
func TestBulkStreamsThatEndAtOnce(t *testing.T) {
	t.Parallel()
	s, direct := private(t, etcdtest.Config{}, etcd.Config{})
	for i := range 40 {
		put(t, direct, fmt.Sprintf("k/%02d", i), strings.Repeat("v", 100_000))
	}
	through := func(method string, answers int) (*impatient, *etcd.Client) {
		g := startImpatient(t, s.Addr(), method, answers)
		return g, connect(t, etcd.Config{Endpoints: []string{g.endpoint}, Retry: 3, RetrySleep: 50 * time.Millisecond})
	}
	g, c := through("/RangeStream", 0)
	r, err := c.Range(within(t, 20*time.Second), etcd.GetRequest{Key: "k/", Prefix: true})
	if err == nil {
		for _, err = range r.All() {
			if err != nil {
				break
			}
		}
	}
	wants(t, err, etcd.ErrUnavailable, etcd.OutcomeUnknown)
	mustSay(t, err, "upstream connect error")
	if n := g.streams.Load(); n < 2 || n > 8 {
		t.Errorf("%d streams for a range", n)
	}
	for answers := range 2 {
		g, c := through("/Snapshot", answers)
		snapshot, err := c.Maintenance().Snapshot(within(t, 20*time.Second), etcd.SnapshotRequest{})
		if err == nil {
			_, err = io.Copy(io.Discard, snapshot)
			_ = snapshot.Close()
		}
		if !errors.Is(err, etcd.ErrUnavailable) {
			t.Errorf("a snapshot of %d answers: %v", answers, err)
		}
		if n := g.streams.Load(); n < 1 || n > 8 {
			t.Errorf("%d streams for a snapshot", n)
		}
	}
}
