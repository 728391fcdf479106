package v3compat

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// grant makes a lease with the given TTL in seconds.
func grant(t testing.TB, client *clientv3.Client, ttl int64) clientv3.LeaseID {
	t.Helper()
	resp, err := client.Grant(within(t, 20*time.Second), ttl)
	if err != nil {
		t.Fatal(err)
	}
	return resp.ID
}

// keepAlive keeps a lease alive and takes the first response.
func keepAlive(t testing.TB, ctx context.Context, client *clientv3.Client, id clientv3.LeaseID) <-chan *clientv3.LeaseKeepAliveResponse {
	t.Helper()
	ch, err := client.KeepAlive(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	renewed(t, ch, id)
	return ch
}

// renewed takes the next response. For a lease with a long TTL that must be the
// first one, or it does not come in time.
func renewed(t testing.TB, ch <-chan *clientv3.LeaseKeepAliveResponse, id clientv3.LeaseID) *clientv3.LeaseKeepAliveResponse {
	t.Helper()
	select {
	case resp, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed")
		}
		if resp.ID != id || resp.TTL <= 0 || resp.ResponseHeader == nil || resp.Revision == 0 {
			t.Errorf("renewed: %+v", resp)
		}
		return resp
	case <-time.After(8 * time.Second):
		t.Fatal("no response")
	}
	panic("not reached")
}

// drained reads a channel to its end and returns the number of responses.
func drained(t testing.TB, ch <-chan *clientv3.LeaseKeepAliveResponse) (n int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case _, ok := <-ch:
			if !ok {
				return n
			}
			n++
		case <-deadline:
			t.Fatal("the channel is not closed")
		}
	}
}

func TestLeaseCalls(t *testing.T) {
	t.Parallel()
	client, c, ctx := connect(t, clientv3.Config{}), ours(t, testbed.Shared.Endpoints()), within(t, 20*time.Second)
	lease, err := client.Grant(ctx, 60)
	if err != nil || lease.ID == 0 || lease.TTL != 60 || lease.Error != "" || lease.Revision == 0 {
		t.Fatalf("granted %+v, %v", lease, err)
	}
	for _, key := range []string{"/a", "/b"} {
		if _, err := c.Put(ctx, etcd.PutRequest{Key: t.Name() + key, Lease: etcd.LeaseID(lease.ID)}); err != nil {
			t.Fatal(err)
		}
	}
	ttl, err := client.TimeToLive(ctx, lease.ID)
	if err != nil || ttl.ID != lease.ID || ttl.GrantedTTL != 60 || ttl.TTL < 50 || ttl.TTL > 60 || ttl.Keys != nil || ttl.ResponseHeader == nil {
		t.Errorf("%+v, %v", ttl, err)
	}
	if ttl, err = client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys()); err != nil || len(ttl.Keys) != 2 {
		t.Errorf("%+v, %v", ttl, err)
	}
	all, err := client.Leases(ctx)
	if err != nil || !slices.Contains(all.Leases, clientv3.LeaseStatus{ID: lease.ID}) {
		t.Errorf("%+v, %v", all, err)
	}
	if once, err := client.KeepAliveOnce(ctx, lease.ID); err != nil || once.ID != lease.ID || once.TTL != 60 || once.Revision == 0 {
		t.Errorf("%+v, %v", once, err)
	}
	if revoked, err := client.Revoke(ctx, lease.ID); err != nil || revoked.Header.GetRevision() == 0 {
		t.Errorf("%+v, %v", revoked, err)
	}

	// The lease with that ID no longer exists, and one with ID 0 never did.
	for _, id := range []clientv3.LeaseID{lease.ID, clientv3.NoLease} {
		if _, err := client.Revoke(ctx, id); err != rpctypes.ErrLeaseNotFound {
			t.Errorf("Revoke: %v", err)
		}
		if resp, err := client.KeepAliveOnce(ctx, id); err != rpctypes.ErrLeaseNotFound || resp == nil || resp.TTL > 0 {
			t.Errorf("KeepAliveOnce: %+v, %v", resp, err)
		}
		if ttl, err := client.TimeToLive(ctx, id); err != nil || ttl.TTL != -1 {
			t.Errorf("TimeToLive: %+v, %v", ttl, err)
		}
		ch, err := client.KeepAlive(ctx, id)
		if err != nil {
			t.Error(err)
		}
		isClosed(t, ch)
	}
	if _, err := client.Grant(ctx, 9_000_000_001); err != rpctypes.ErrLeaseTTLTooLarge {
		t.Error(err)
	}
	short, err := client.Grant(ctx, 0)
	if err != nil || short.TTL <= 0 {
		t.Errorf("a TTL of 0: %+v, %v", short, err)
	}
}

// quickLeases is a server that grants leases of two seconds.
func quickLeases(t testing.TB) *etcdtest.Server {
	t.Helper()
	return etcdtest.StartConfig(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
}

// A lease is kept alive as long as one of its channels is, and then left to expire.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	s := quickLeases(t)
	own := ours(t, s.Endpoints())
	client := wrapped(t, own)
	id := grant(t, client, 2)
	ctx1, cancel1 := context.WithCancel(t.Context())
	defer cancel1()
	ctx2, cancel2 := context.WithCancel(t.Context())
	defer cancel2()
	first := keepAlive(t, ctx1, client, id)
	second := keepAlive(t, ctx2, client, id)
	for range 4 { // more than a TTL
		if resp := renewed(t, second, id); resp.TTL != 2 {
			t.Errorf("%+v", resp)
		}
	}
	cancel1()
	if n := drained(t, first); n < 4 {
		t.Errorf("the other channel had %d responses", n)
	}
	for range 4 {
		renewed(t, second, id)
	}
	cancel2()
	drained(t, second)
	ctx := within(t, 10*time.Second)
	for { // no channel keeps it alive: it expires
		resp, err := client.TimeToLive(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if resp.TTL < 0 {
			break
		}
	}
	if n := own.Stats().LeasesLost; n != 0 {
		t.Errorf("%d leases count as lost", n)
	}
}

// A context that has ended, a lease that is kept alive again, and a lease whose
// channel is not read.
func TestKeepAliveChannels(t *testing.T) {
	t.Parallel()
	s := quickLeases(t)
	client := connect(t, clientv3.Config{Endpoints: s.Endpoints()})
	id := grant(t, client, 2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	ch, err := client.KeepAlive(ended, id)
	if err != nil {
		t.Error(err)
	}
	drained(t, ch)

	unread, err := client.KeepAlive(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	read := keepAlive(t, t.Context(), client, id)
	for range clientv3.LeaseResponseChSize + 2 {
		renewed(t, read, id)
	}
	if len(unread) != clientv3.LeaseResponseChSize {
		t.Errorf("%d responses wait, want %d", len(unread), clientv3.LeaseResponseChSize)
	}
	if _, err := client.Revoke(t.Context(), id); err != nil {
		t.Error(err)
	}
	drained(t, read)
	if n := drained(t, unread); n != clientv3.LeaseResponseChSize {
		t.Errorf("%d responses, want %d", n, clientv3.LeaseResponseChSize)
	}
}

// Everything that ends a keep-alive closes its channels.
func TestKeepAliveEnds(t *testing.T) {
	t.Parallel()
	s := quickLeases(t)
	c := ours(t, s.Endpoints())
	for name, end := range map[string]func(*clientv3.Client, clientv3.LeaseID) error{
		"revoked here": func(client *clientv3.Client, id clientv3.LeaseID) error {
			_, err := client.Revoke(t.Context(), id)
			return err
		},
		"revoked elsewhere": func(_ *clientv3.Client, id clientv3.LeaseID) error {
			_, err := c.Revoke(t.Context(), etcd.RevokeRequest{ID: etcd.LeaseID(id)})
			return err
		},
		"lease closed":  func(client *clientv3.Client, _ clientv3.LeaseID) error { return client.Lease.Close() },
		"client closed": func(client *clientv3.Client, _ clientv3.LeaseID) error { _ = client.Close(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			client := connect(t, clientv3.Config{Endpoints: s.Endpoints()})
			id := grant(t, client, 2)
			channels := []<-chan *clientv3.LeaseKeepAliveResponse{
				keepAlive(t, t.Context(), client, id), keepAlive(t, t.Context(), client, id),
			}
			if err := end(client, id); err != nil {
				t.Fatal(err)
			}
			for _, ch := range channels {
				drained(t, ch)
			}
			ch, err := client.KeepAlive(t.Context(), id)
			isClosed(t, ch)
			halted := errors.As(err, new(clientv3.ErrKeepAliveHalted))
			if closed := name == "lease closed" || name == "client closed"; halted != closed || !closed && err != nil {
				t.Errorf("KeepAlive afterwards: %v", err)
			}
		})
	}
}

// Cut connections are not visible.
func TestKeepAliveSurvivesCuts(t *testing.T) {
	t.Parallel()
	s := quickLeases(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	client := connect(t, clientv3.Config{Endpoints: []string{proxy.Endpoint()}})
	id := grant(t, client, 2)
	ch := keepAlive(t, t.Context(), client, id)
	for range 6 {
		proxy.Reset()
		if resp := renewed(t, ch, id); resp.TTL != 2 {
			t.Errorf("%+v", resp)
		}
	}
}

// The lease ends for its user when its TTL is over, although no server can report
// it.
func TestKeepAliveWithoutAServer(t *testing.T) {
	t.Parallel()
	s := quickLeases(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	client := connect(t, clientv3.Config{Endpoints: []string{proxy.Endpoint()}})
	id, late := grant(t, client, 2), grant(t, client, 60)
	ch := keepAlive(t, t.Context(), client, id)
	proxy.Set(etcdtest.BothWays, etcdtest.Fault{Discard: true})
	start := time.Now()
	// Not even the first renewal of this one succeeds.
	never, err := client.KeepAlive(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	drained(t, ch)
	if d := time.Since(start); d > 4*time.Second { // with room for a busy machine
		t.Errorf("a lease of 2 s was given up after %v", d)
	}
	isClosed(t, never)
	if d := time.Since(start); d < 4*time.Second || d > 10*time.Second {
		t.Errorf("given up after %v", d)
	}
	once, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := client.KeepAliveOnce(once, late); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	proxy.Heal()
	keepAlive(t, t.Context(), client, late)
	if _, err := client.KeepAliveOnce(within(t, 20*time.Second), late); err != nil {
		t.Error(err)
	}
}

// Renewing requires permission for the lease's keys.
func TestKeepAliveDenied(t *testing.T) {
	t.Parallel()
	s := quickLeases(t)
	c := ours(t, s.Endpoints())
	lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "must-not", Lease: lease.ID}); err != nil {
		t.Fatal(err)
	}
	secure(t, c, "may/")
	own, err := etcd.New(etcd.Config{Endpoints: s.Endpoints(), Username: "user", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	client := wrapped(t, own)
	ch, err := client.KeepAlive(t.Context(), clientv3.LeaseID(lease.ID))
	if err != nil {
		t.Fatal(err)
	}
	isClosed(t, ch)
	if _, err := client.KeepAliveOnce(t.Context(), clientv3.LeaseID(lease.ID)); err != rpctypes.ErrPermissionDenied {
		t.Error(err)
	}
	keepAlive(t, t.Context(), client, grant(t, client, 60))
}
