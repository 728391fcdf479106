package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

// Another client revokes a lease, and the next renewal finds out.
func TestLeaseRevokedBehindItsBack(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	l, other := granted(t, c, 2*time.Second), granted(t, c, 2*time.Second)
	if _, err := pb.NewLeaseClient(official(t, testbed.Shared)).LeaseRevoke(t.Context(), &pb.LeaseRevokeRequest{ID: int64(l.ID)}); err != nil {
		t.Fatal(err)
	}
	if err := lost(t, l, 2*time.Second); !errors.Is(err, etcd.ErrLeaseExpired) {
		t.Errorf("lost because %v", err)
	}
	alive(t, other)
}

// The server is stopped for longer than the lease lives.
func TestLeaseLostWhileServerHangs(t *testing.T) {
	t.Parallel()
	s, c := quickLeases(t, etcd.Config{})
	l := granted(t, c, 2*time.Second)
	attach(t, c, "hang/k", l.ID)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	onTime(t, l)
	if err := l.Err(); !errors.Is(err, etcd.ErrLeaseNotRenewed) {
		t.Errorf("lost because %v", err)
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key to go with the lease", func() bool { return !exists(t, c, "hang/k") })
	alive(t, granted(t, c, time.Second))
}

// void is a dialer that can turn its connections into black holes: written data
// vanishes, nothing arrives, and new connections fail.
type void struct {
	on atomic.Bool
}

func (v *void) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if v.on.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &voidConn{Conn: nc, v: v, closed: make(chan struct{})}, nil
}

type voidConn struct {
	net.Conn
	v      *void
	once   sync.Once
	closed chan struct{}
}

func (c *voidConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.v.on.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *voidConn) Write(b []byte) (int, error) {
	if c.v.on.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *voidConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// The network between client and server fails at a random moment. The server
// continues and deletes the lease; the client has reported the loss before.
func TestLeaseLostBeforeTheServerDeletesIt(t *testing.T) {
	t.Parallel()
	s, watcher := quickLeases(t, etcd.Config{})
	const n = 30
	var deleted [n]time.Time
	w := watch(t, watcher, etcd.WatchRequest{Key: "void/", Prefix: true, NoPut: true})
	events := async(func() error {
		for range n {
			resp, err := w.Read(within(t, 60*time.Second))
			if err != nil {
				return err
			}
			for _, ev := range resp.Events {
				var i int
				if _, err := fmt.Sscanf(ev.KV.Key, "void/%d", &i); err != nil {
					return err
				}
				deleted[i] = time.Now()
			}
			if !slices.ContainsFunc(deleted[:], time.Time.IsZero) {
				return nil
			}
		}
		return nil
	})
	var ended [n]time.Time
	var all sync.WaitGroup
	for i := range n {
		v := new(void)
		c := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: v.dial})
		l := granted(t, c, time.Duration(1+i%3)*time.Second)
		attach(t, c, fmt.Sprintf("void/%d", i), l.ID)
		all.Go(func() {
			time.Sleep(rand.N(3 * time.Second)) // the test is about the moment
			v.on.Store(true)
			onTime(t, l)
			ended[i] = l.Deadline() // when the client gives the lease up
			if !errors.Is(l.Err(), etcd.ErrLeaseNotRenewed) {
				t.Errorf("lost because %v", l.Err())
			}
		})
	}
	all.Wait()
	if err := await(t, events); err != nil {
		t.Fatal(err)
	}
	least := time.Hour
	for i := range n {
		margin := deleted[i].Sub(ended[i])
		least = min(least, margin)
		if margin < 0 {
			t.Errorf("lease %d was lost %v after the server had deleted it", i, -margin)
		}
	}
	t.Logf("%d leases: told at least %v before the server deleted", n, least)
}

// A restarted program takes its lease over.
func TestAdoptAfterRestart(t *testing.T) {
	t.Parallel()
	s, first := quickLeases(t, etcd.Config{})
	l := granted(t, first, 2*time.Second)
	attach(t, first, "adopt/k", l.ID)
	if err := namespaced.Whole(first).Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(l.Err(), etcd.ErrClosed) {
		t.Errorf("after Close: %v", l.Err())
	}
	second := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	a, err := second.Adopt(t.Context(), l.ID)
	if err != nil || a.TTL != 2*time.Second {
		t.Fatalf("%+v, %v", a, err)
	}
	select {
	case <-a.Done():
		t.Fatal(a.Err())
	case <-time.After(5 * time.Second):
	}
	if !exists(t, second, "adopt/k") {
		t.Error("the key is gone")
	}
	revoke(t, second, a.ID)
	_, err = second.Adopt(t.Context(), l.ID)
	wants(t, err, etcd.ErrLeaseNotFound, etcd.OutcomeRejected)
}

// The connection breaks while the answer to a Grant is in flight: one lease is
// made, not two.
func TestGrantIsIdempotent(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	d := newDialer()
	c := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial, RetrySleep: 10 * time.Millisecond})
	if err := c.Ready(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, id := range []etcd.LeaseID{0, 4711} {
		held := d.holdReads()
		var l *etcd.Lease
		done := async(func() (err error) {
			l, err = c.Grant(within(t, 20*time.Second), etcd.GrantRequest{TTL: time.Minute, ID: id})
			return err
		})
		<-held // most likely the answer; in any case the request was sent
		d.stopHolding()
		d.cutAll()
		if err := await(t, done); err != nil {
			t.Fatal(err)
		}
		alive(t, l)
		resp, err := c.Leases(t.Context())
		if err != nil || len(resp.Leases) != 1 || resp.Leases[0] != l.ID || l.TTL != time.Minute {
			t.Errorf("leases %v, %v after one Grant of %+v", resp, err, l)
		}
		revoke(t, c, l.ID)
	}
}

// Connections are cut continually; no lease is lost.
func TestLeasesSurviveCuts(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	d := newDialer()
	c := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial, Retry: 100, RetrySleep: 10 * time.Millisecond})
	var leases []*etcd.Lease
	for range 200 {
		leases = append(leases, granted(t, c, 5*time.Second))
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 400 {
		<-tick.C
		if rand.IntN(8) == 0 {
			d.cutAll()
		}
	}
	for _, l := range leases {
		alive(t, l)
	}
	t.Logf("%d connections were made", d.dials.Load())
}

// A permission is revoked: the lease with the forbidden key is lost at its deadline
// with that reason, and the others live on. Then authentication is switched off.
func TestLeaseForbidden(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond, TLS: etcdtest.MutualTLS})
	config := func(user string) *tls.Config {
		cert, err := s.CA().ClientCert(user)
		if err != nil {
			t.Fatal(err)
		}
		c := s.ClientTLS()
		c.Certificates = []tls.Certificate{cert}
		return c
	}
	conn, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(credentials.NewTLS(config("root"))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	admin := pb.NewAuthClient(conn)
	ctx := within(t, time.Minute)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	permit := func(key string) *pb.AuthRoleGrantPermissionRequest {
		return &pb.AuthRoleGrantPermissionRequest{Name: "app", Perm: &authpb.Permission{PermType: authpb.Permission_READWRITE, Key: []byte(namespaced.Prefix + key)}}
	}
	for _, user := range []string{"root", "app"} {
		must(admin.UserAdd(ctx, &pb.AuthUserAddRequest{Name: user, Options: &authpb.UserAddOptions{NoPassword: true}}))
		must(admin.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: user}))
		must(admin.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: user, Role: user}))
	}
	must(admin.RoleGrantPermission(ctx, permit("a")))
	must(admin.RoleGrantPermission(ctx, permit("b")))
	must(admin.AuthEnable(ctx, &pb.AuthEnableRequest{}))

	app := connect(t, etcd.Config{Endpoints: s.Endpoints(), TLS: config("app")})
	forbidden, allowed := granted(t, app, 3*time.Second), granted(t, app, 3*time.Second)
	attach(t, app, "a", forbidden.ID)
	attach(t, app, "b", allowed.ID)
	must(admin.RoleRevokePermission(ctx, &pb.AuthRoleRevokePermissionRequest{Role: "app", Key: []byte(namespaced.Prefix + "a")}))
	err = lost(t, forbidden, 4*time.Second)
	if !errors.Is(err, etcd.ErrLeaseNotRenewed) || !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Errorf("lost because %v", err)
	}
	alive(t, allowed)
	_, err = app.Revoke(ctx, etcd.RevokeRequest{ID: forbidden.ID})
	if !errors.Is(err, etcd.ErrPermissionDenied) && !errors.Is(err, etcd.ErrLeaseNotFound) {
		t.Errorf("revoking it: %v", err)
	}
	_, err = app.KeepAliveOnce(ctx, etcd.KeepAliveRequest{ID: forbidden.ID})
	if !errors.Is(err, etcd.ErrPermissionDenied) && !errors.Is(err, etcd.ErrLeaseNotFound) {
		t.Errorf("renewing it: %v", err)
	}
	must(admin.AuthDisable(ctx, &pb.AuthDisableRequest{}))
	select {
	case <-allowed.Done():
		t.Errorf("lost because %v", allowed.Err())
	case <-time.After(4 * time.Second):
	}
}

// Authentication is switched on, and the client has no user.
func TestLeaseUnauthenticated(t *testing.T) {
	t.Parallel()
	s, c := quickLeases(t, etcd.Config{})
	admin := pb.NewAuthClient(official(t, s))
	l := granted(t, c, 2*time.Second)
	ctx := within(t, time.Minute)
	for _, err := range []error{
		second(admin.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "r"})),
		second(admin.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "root"})),
		second(admin.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"})),
		second(admin.AuthEnable(ctx, &pb.AuthEnableRequest{})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	err := lost(t, l, 3*time.Second)
	if !errors.Is(err, etcd.ErrLeaseNotRenewed) || !errors.Is(err, etcd.ErrUnauthenticated) {
		t.Errorf("lost because %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// The leader is killed, then a follower hangs, and leases of a few seconds survive.
func TestLeasesSurviveMembers(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Retry: 100, RetrySleep: 50 * time.Millisecond})
	var leases []*etcd.Lease
	// An election takes one to two seconds, and as long again if the votes are split.
	const ttl = 8 * time.Second
	for range 100 {
		leases = append(leases, granted(t, c, ttl))
	}
	settle := func(d time.Duration) {
		t.Helper()
		<-time.After(d)
		for _, l := range leases {
			alive(t, l)
		}
	}
	settle(3 * time.Second)
	leader, err := cluster.Leader(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	settle(ttl + 2*time.Second)
	if err := leader.Restart(); err != nil {
		t.Fatal(err)
	}
	settle(2 * time.Second)
	leader, err = cluster.Leader(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range cluster.Members() {
		if m == leader {
			continue
		}
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		settle(ttl + time.Second)
		if err := m.Continue(); err != nil {
			t.Fatal(err)
		}
		break
	}
}

// The cost of leases.
func TestManyLeases(t *testing.T) {
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	c := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	if err := c.Ready(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	// heap is the least of a few readings: between two renewals, whose buffers count too.
	heap := func() uint64 {
		least := uint64(math.MaxUint64)
		for range 10 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			least = min(least, m.HeapAlloc)
		}
		return least
	}
	// Longer than a lease lives without renewals. What the client holds once counts for each
	// lease, so fewer leases look more expensive.
	n, length, most := 3000, 8*time.Second, 700.0
	if *slow {
		n, length, most = 5000, 15*time.Second, 600
	}
	leases := make([]*etcd.Lease, n)
	if _, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: 6 * time.Second}); err != nil { // what all leases share is there now
		t.Fatal(err)
	}
	goroutines, before := runtime.NumGoroutine(), heap()
	var next atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				l, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: 6 * time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				leases[i] = l
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	<-time.After(length)
	for _, l := range leases {
		alive(t, l)
	}
	bytes := float64(heap()-before) / float64(n)
	more := runtime.NumGoroutine() - goroutines
	t.Logf("%d leases: %.0f bytes each, %d goroutines in all", n, bytes, more)
	if bytes > most || more > 50 {
		t.Errorf("%.0f bytes and %d goroutines; want at most %.0f and 50", bytes, more, most)
	}
	resp, err := c.Leases(t.Context())
	if err != nil || len(resp.Leases) != n+1 {
		t.Errorf("the server has %d leases, %v", len(resp.Leases), err)
	}
	runtime.KeepAlive(leases)
}
