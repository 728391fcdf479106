package etcdtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"silly.store/etcd/etcdtest"
)

// echo is a server that sends back everything it receives, until the sender closes.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var routines sync.WaitGroup
	routines.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			routines.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		routines.Wait()
	})
	return l.Addr().String()
}

func dial(t *testing.T, p *etcdtest.Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// exchange sends b and returns the bytes that come back until an error or a silence
// of patience.
func exchange(t *testing.T, c net.Conn, b []byte, patience time.Duration) ([]byte, error) {
	t.Helper()
	go func() { _, _ = c.Write(b) }()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(b))
	n, err := io.ReadFull(c, got)
	return got[:n], err
}

func TestProxyCarries(t *testing.T) {
	t.Parallel()
	sent := make([]byte, 300_000)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	for name, test := range map[string]struct {
		fault         etcdtest.Fault
		bytes         int
		atLeast, most time.Duration
	}{
		"no fault":  {etcdtest.Fault{}, len(sent), 0, 10 * time.Second},
		"slices":    {etcdtest.Fault{Slice: 7}, 20_000, 0, 10 * time.Second},
		"delay":     {etcdtest.Fault{Delay: 60 * time.Millisecond}, len(sent), 120 * time.Millisecond, 10 * time.Second},
		"jitter":    {etcdtest.Fault{Delay: 60 * time.Millisecond, Jitter: 20 * time.Millisecond}, len(sent), 80 * time.Millisecond, 10 * time.Second},
		"bandwidth": {etcdtest.Fault{BytesPerSecond: 1 << 20}, 200_000, 190 * time.Millisecond, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := etcdtest.StartProxy(t, echo(t))
			p.Set(etcdtest.BothWays, test.fault)
			c := dial(t, p)
			began := time.Now()
			got, err := exchange(t, c, sent[:test.bytes], test.most)
			if err != nil || !bytes.Equal(got, sent[:test.bytes]) {
				t.Fatalf("%d of %d bytes came back, the same: %v; %v", len(got), test.bytes, bytes.HasPrefix(sent, got), err)
			}
			if took := time.Since(began); took < test.atLeast {
				t.Errorf("it took %v, want %v or more", took, test.atLeast)
			}
			if n := p.Carried(etcdtest.BothWays); n != 2*int64(test.bytes) {
				t.Errorf("%d bytes carried both ways, want %d", n, 2*test.bytes)
			}
			// The end of one direction, then of the other.
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(c); len(rest) != 0 || err != nil {
				t.Errorf("behind the end: %q, %v", rest, err)
			}
		})
	}
}

func TestProxyStallLosesNothing(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]etcdtest.Way{"to the server": etcdtest.ToServer, "to the client": etcdtest.ToClient, "both": etcdtest.BothWays} {
		p := etcdtest.StartProxy(t, echo(t))
		c := dial(t, p)
		p.Set(way, etcdtest.Fault{Stall: true})
		if got, err := exchange(t, c, []byte("hello"), 50*time.Millisecond); len(got) != 0 || err == nil {
			t.Errorf("%s: %q came through a stalled way", name, got)
		}
		p.Heal()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		got := make([]byte, 5)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
			t.Errorf("%s: after it %q, %v", name, got, err)
		}
	}
}

func TestProxyDiscard(t *testing.T) {
	t.Parallel()
	p := etcdtest.StartProxy(t, echo(t))
	idle, used := dial(t, p), dial(t, p)
	for _, c := range []net.Conn{idle, used} {
		if _, err := exchange(t, c, []byte("before"), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	p.Set(etcdtest.ToClient, etcdtest.Fault{Discard: true})
	if got, err := exchange(t, used, []byte("hello"), 50*time.Millisecond); len(got) != 0 || !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Errorf("%q, %v from a black hole", got, err)
	}
	p.Heal()
	_ = used.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := used.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that has lost bytes went on: %v", err)
	}
	if got, err := exchange(t, idle, []byte("hello"), 10*time.Second); string(got) != "hello" {
		t.Errorf("one that has lost nothing: %q, %v", got, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestProxyCut(t *testing.T) {
	t.Parallel()
	p := etcdtest.StartProxy(t, echo(t))
	for way, want := range map[etcdtest.Way]string{etcdtest.ToServer: "hel", etcdtest.ToClient: "hel"} {
		c := dial(t, p)
		p.CutAfter(way, 1)
		p.CutAfter(way, 3) // in the place of the other
		got, err := exchange(t, c, []byte("hello"), 10*time.Second)
		// The echo's bytes may be lost together with the direction to it.
		if string(got) != want && way == etcdtest.ToClient || isTimeout(err) {
			t.Errorf("way %d: %q, %v; want %q and a reset", way, got, err, want)
		}
		after := dial(t, p)
		if got, err := exchange(t, after, []byte("hello"), 10*time.Second); string(got) != "hello" {
			t.Errorf("way %d: the next connection: %q, %v", way, got, err)
		}
	}
	c := dial(t, p)
	if _, err := exchange(t, c, []byte("hello"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if p.Reset() == 0 {
		t.Error("no connection was there to be reset")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after Reset: %v", err)
	}
	half := dial(t, p)
	if _, err := exchange(t, half, []byte("hello"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	p.HalfClose(etcdtest.ToClient)
	if _, err := half.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after HalfClose: %v", err)
	}
}

func TestProxySilence(t *testing.T) {
	t.Parallel()
	p := etcdtest.StartProxy(t, echo(t))
	before := dial(t, p)
	if _, err := exchange(t, before, []byte("hello"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	p.Silence(true)
	c := dial(t, p)
	if got, err := exchange(t, c, []byte("hello"), 50*time.Millisecond); len(got) != 0 || !isTimeout(err) {
		t.Errorf("%q, %v from a silent one", got, err)
	}
	if got, err := exchange(t, before, []byte("hello"), 10*time.Second); string(got) != "hello" {
		t.Errorf("a connection from before: %q, %v", got, err)
	}
	p.Silence(false)
	got := make([]byte, 5)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("when it speaks again: %q, %v", got, err)
	}
}

// A server behind DiscardRequests keeps a connection alive and answers no requests.
func TestProxyDiscardRequests(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	p := etcdtest.StartProxy(t, s.Endpoints()[0])
	conn, err := grpc.NewClient("passthrough:///"+p.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	get := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("k")})
		return err
	}
	p.Set(etcdtest.ToServer, etcdtest.Fault{Slice: 5}) // frames in pieces
	for range 5 {
		if err := get(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	p.Set(etcdtest.ToServer, etcdtest.Fault{DiscardRequests: true})
	back := p.Carried(etcdtest.ToClient)
	for range 3 {
		if err := get(100 * time.Millisecond); err == nil {
			t.Error("a request was answered")
		}
	}
	if p.Conns() != 1 {
		t.Errorf("%d connections, want the one", p.Conns())
	}
	// Raw, to see that PINGs are answered.
	c := dial(t, p)
	hello := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0, 0, 0, 4, 0, 0, 0, 0, 0)
	ping := append([]byte{0, 0, 8, 6, 0, 0, 0, 0, 0}, "12345678"...)
	if _, err := c.Write(append(hello, ping...)); err != nil {
		t.Fatal(err)
	}
	var answer []byte
	for buf := make([]byte, 1024); !bytes.Contains(answer, []byte("12345678")); {
		n, err := c.Read(buf)
		answer = append(answer, buf[:n]...)
		if err != nil {
			t.Fatalf("no answer to a PING: %v", err)
		}
	}
	if p.Carried(etcdtest.ToClient) == back {
		t.Error("nothing came back")
	}
	p.Heal()
	if err := get(10 * time.Second); err != nil {
		_ = get(10 * time.Second) // the first may meet the reset
	}
	if err := get(10 * time.Second); err != nil {
		t.Errorf("healed: %v", err)
	}
}

func TestClusterIsolate(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{PeerProxies: true})
	old, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Isolate(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	leader, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if leader == old {
		t.Fatal("a member leads that is cut off")
	}
	if err := put(t.Context(), leader, "k", "v"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := read(ctx, old, nil); err == nil {
		t.Error("a member that is cut off answered a linearizable read")
	}
	cluster.Heal()
	if err := old.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := get(t.Context(), old, "k"); err != nil || v != "v" {
		t.Errorf("healed, it has %q, %v", v, err)
	}
	if err := cluster.FaultPeers(etcdtest.Fault{Delay: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := put(t.Context(), leader, "k", "w"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 40*time.Millisecond {
		t.Errorf("a put took %v with 20 ms each way to any other member", took)
	}
}
