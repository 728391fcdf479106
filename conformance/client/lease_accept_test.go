package client

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// The lease examples of the acceptance list: 6 to 10, 17, 18, 20 and 28 of the
// reference.

// granted makes a lease that is kept alive.
func granted(t testing.TB, c *etcd.Client, ttl time.Duration) *etcd.Lease {
	t.Helper()
	l, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// attach stores a key with a lease.
func attach(t testing.TB, c *etcd.Client, key string, id etcd.LeaseID) {
	t.Helper()
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: []byte("v"), Lease: id}); err != nil {
		t.Fatal(err)
	}
}

func exists(t testing.TB, c *etcd.Client, key string) bool {
	t.Helper()
	return stored(t, c, key).Version != 0
}

func revoke(t testing.TB, c *etcd.Client, id etcd.LeaseID) {
	t.Helper()
	if _, err := c.Revoke(t.Context(), etcd.RevokeRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
}

// lost waits until a lease ends and returns the reason.
func lost(t testing.TB, l *etcd.Lease, within time.Duration) error {
	t.Helper()
	select {
	case <-l.Done():
	case <-time.After(within + promptly):
		t.Fatalf("the lease is not lost after %v", within)
	}
	if l.Err() == nil {
		t.Fatal("Done is closed and Err is nil")
	}
	return l.Err()
}

// onTime waits for the loss of a lease and checks that it comes with the deadline. On a busy machine
// waiters wake late; a timer for the same moment measures by how much.
func onTime(t testing.TB, l *etcd.Lease) {
	t.Helper()
	fired := make(chan time.Time, 1)
	expected := l.Deadline()
	time.AfterFunc(time.Until(expected), func() { fired <- time.Now() })
	select {
	case <-l.Done():
	case <-time.After(testbed.Patience):
		t.Errorf("lease %s is not lost", l.ID)
		return
	}
	late := time.Since(l.Deadline()) // when the client gives the lease up
	busy := max((<-fired).Sub(expected), 0)
	if late < 0 || late-busy > 500*time.Millisecond {
		t.Errorf("lost %v after its deadline; a timer was %v late", late, busy)
	}
}

// alive fails the test if a lease has ended.
func alive(t testing.TB, l *etcd.Lease) {
	t.Helper()
	if err := l.Err(); err != nil {
		t.Fatalf("the lease is over: %v", err)
	}
	select {
	case <-l.Done():
		t.Fatal("Done is closed")
	default:
	}
}

// quickLeases is a server that grants leases of one second.
func quickLeases(t testing.TB, config etcd.Config) (*etcdtest.Server, *etcd.Client) {
	t.Helper()
	return private(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond}, config)
}

// Examples 6, 17 and 20: a key with a lease outlives the TTL several times, and is
// deleted with the lease.
func TestLeaseOutlivesItsTTL(t *testing.T) {
	t.Parallel()
	_, c := quickLeases(t, etcd.Config{})
	l := granted(t, c, 2*time.Second)
	if l.ID <= 0 || l.TTL != 2*time.Second || l.Header.Revision == 0 {
		t.Errorf("granted %+v", l)
	}
	attach(t, c, "temp/session", l.ID)
	before := l.Deadline()
	select {
	case <-l.Done():
		t.Fatalf("lost: %v", l.Err())
	case <-time.After(6 * time.Second):
	}
	alive(t, l)
	if !exists(t, c, "temp/session") {
		t.Error("the key is gone although its lease is kept alive")
	}
	if moved := l.Deadline().Sub(before); moved < 4*time.Second {
		t.Errorf("the deadline has moved by %v in 6 s", moved)
	}
	revoke(t, c, l.ID)
	if err := lost(t, l, 10*time.Second); !errors.Is(err, etcd.ErrLeaseRevoked) {
		t.Errorf("after Revoke: %v", err)
	}
	if exists(t, c, "temp/session") {
		t.Error("the key is there after Revoke")
	}
}

// A released lease lives out its TTL on the server, and its listeners are called
// with the server's answers.
func TestLeaseLeftAlone(t *testing.T) {
	t.Parallel()
	_, c := quickLeases(t, etcd.Config{})
	l, other := granted(t, c, 2*time.Second), granted(t, c, 4*time.Second)
	told := make(chan etcd.KeepAliveResponse, 1)
	defer l.OnRenewal(func(r etcd.KeepAliveResponse) {
		select {
		case told <- r:
		default:
		}
	})()
	if r := <-told; r.ID != l.ID || r.TTL != l.TTL || r.Header.ClusterID == 0 || r.Header.Revision == 0 {
		t.Errorf("told of %+v", r)
	}
	l.StopKeepAlive()
	if err := lost(t, l, 10*time.Second); !errors.Is(err, etcd.ErrLeaseExpired) {
		t.Errorf("over because %v", err)
	}
	ctx := within(t, 20*time.Second)
	for {
		_, err := c.TTL(ctx, etcd.TTLRequest{ID: l.ID})
		if errors.Is(err, etcd.ErrLeaseNotFound) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	alive(t, other)
}

// Examples 7, 18 and 28: revoking deletes all keys of a lease at once.
func TestRevokeDeletesKeys(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	l := granted(t, c, time.Minute)
	for _, key := range []string{"revoke/a", "revoke/b", "revoke/c"} {
		attach(t, c, key, l.ID)
	}
	if n := get(t, c, etcd.GetRequest{Key: "revoke/", Prefix: true}).Count; n != 3 {
		t.Fatalf("%d keys before", n)
	}
	resp, err := c.Revoke(t.Context(), etcd.RevokeRequest{ID: l.ID})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Revision == 0 {
		t.Error("no header")
	}
	if n := get(t, c, etcd.GetRequest{Key: "revoke/", Prefix: true}).Count; n != 0 {
		t.Errorf("%d keys after", n)
	}
	_, err = c.Revoke(t.Context(), etcd.RevokeRequest{ID: l.ID})
	wants(t, err, etcd.ErrLeaseNotFound, etcd.OutcomeRejected)
}

// Example 8.
func TestTTL(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	l := granted(t, c, time.Minute)
	attach(t, c, "ttl/user1", l.ID)
	attach(t, c, "ttl/user2", l.ID)
	resp, err := c.TTL(t.Context(), etcd.TTLRequest{ID: l.ID, Keys: true})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(resp.Keys)
	if resp.ID != l.ID || resp.TTL > time.Minute || resp.TTL < 50*time.Second || resp.GrantedTTL != time.Minute ||
		strings.Join(resp.Keys, " ") != "ttl/user1 ttl/user2" || resp.Header.Revision == 0 {
		t.Errorf("%+v", resp)
	}
	resp, err = c.TTL(t.Context(), etcd.TTLRequest{ID: l.ID})
	if err != nil || resp.Keys != nil {
		t.Errorf("%+v, %v", resp, err)
	}
	revoke(t, c, l.ID)
	_, err = c.TTL(t.Context(), etcd.TTLRequest{ID: l.ID})
	wants(t, err, etcd.ErrLeaseNotFound, etcd.OutcomeRejected)
}

// Example 9.
func TestLeases(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	a, b := granted(t, c, time.Minute), granted(t, c, 2*time.Minute)
	resp, err := c.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(resp.Leases, a.ID) || !slices.Contains(resp.Leases, b.ID) || resp.Header.Revision == 0 {
		t.Errorf("%+v lacks %d or %d", resp, a.ID, b.ID)
	}
}

// Example 10.
func TestKeepAliveStream(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	ctx := within(t, 20*time.Second)
	l := granted(t, c, time.Minute)
	s, err := c.KeepAlive(ctx, etcd.KeepAliveRequest{ID: l.ID})
	if err != nil {
		t.Fatal(err)
	}
	before := l.Deadline()
	if err := s.Write(ctx, etcd.KeepAliveRequest{ID: l.ID}); err != nil {
		t.Fatal(err)
	}
	resp, err := s.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if resp.ID != l.ID || resp.TTL != time.Minute || resp.Header.Revision == 0 {
		t.Errorf("%+v", resp)
	}
	if !l.Deadline().After(before) {
		t.Error("the lease's deadline has not moved")
	}

	// A lease that does not exist is reported, and the stream continues.
	for _, id := range []etcd.LeaseID{12345, l.ID} {
		if err := s.Write(ctx, etcd.KeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.Read(ctx)
	wants(t, err, etcd.ErrLeaseNotFound, etcd.OutcomeRejected)
	if resp, err := s.Read(ctx); err != nil || resp.ID != l.ID {
		t.Errorf("%+v, %v", resp, err)
	}

	read := async(func() error { _, err := s.Read(ctx); return err })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := await(t, read); !errors.Is(err, etcd.ErrStreamClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if err := s.Write(ctx, etcd.KeepAliveRequest{ID: l.ID}); !errors.Is(err, etcd.ErrStreamClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestKeepAliveOnce(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	l, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute, NoKeepAlive: true})
	if err != nil {
		t.Fatal(err)
	}
	before := l.Deadline()
	resp, err := c.KeepAliveOnce(t.Context(), etcd.KeepAliveRequest{ID: l.ID})
	if err != nil || resp.ID != l.ID || resp.TTL != time.Minute || resp.Header.Revision == 0 {
		t.Fatalf("%+v, %v", resp, err)
	}
	if !l.Deadline().After(before) {
		t.Error("the lease's deadline has not moved")
	}
	_, err = c.KeepAliveOnce(t.Context(), etcd.KeepAliveRequest{ID: 12345})
	wants(t, err, etcd.ErrLeaseNotFound, etcd.OutcomeRejected)
}

func TestLeaseRequestsRefused(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	ctx := t.Context()
	grant := func(r etcd.GrantRequest) error { _, err := c.Grant(ctx, r); return err }
	refused(t, grant(etcd.GrantRequest{}), etcd.ErrInvalidRequest, "GrantRequest.TTL")
	refused(t, grant(etcd.GrantRequest{TTL: -time.Second}), etcd.ErrInvalidRequest, "GrantRequest.TTL")
	refused(t, grant(etcd.GrantRequest{TTL: 9_000_000_000*time.Second + 1}), etcd.ErrInvalidRequest, "GrantRequest.TTL")
	refused(t, grant(etcd.GrantRequest{TTL: 1<<63 - 1}), etcd.ErrInvalidRequest, "GrantRequest.TTL")
	//lint:ignore SA1012 it is what is tested
	_, err := c.Grant(nil, etcd.GrantRequest{TTL: time.Second})
	refused(t, err, etcd.ErrInvalidRequest, "context is nil")
	_, err = c.Revoke(ctx, etcd.RevokeRequest{})
	refused(t, err, etcd.ErrInvalidRequest, "RevokeRequest.ID")
	_, err = c.TTL(ctx, etcd.TTLRequest{})
	refused(t, err, etcd.ErrInvalidRequest, "TTLRequest.ID")
	_, err = c.KeepAlive(ctx, etcd.KeepAliveRequest{})
	refused(t, err, etcd.ErrInvalidRequest, "KeepAliveRequest.ID")
	_, err = c.KeepAliveOnce(ctx, etcd.KeepAliveRequest{})
	refused(t, err, etcd.ErrInvalidRequest, "KeepAliveRequest.ID")
	_, err = c.Adopt(ctx, 0)
	refused(t, err, etcd.ErrInvalidRequest, "ID is 0")

	// The largest TTL that etcd accepts, and rounding up.
	most, err := c.Grant(ctx, etcd.GrantRequest{TTL: 9_000_000_000 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer revoke(t, c, most.ID)
	if most.TTL != 9_000_000_000*time.Second {
		t.Errorf("TTL %v", most.TTL)
	}
	if l := granted(t, c, 20*time.Second+1); l.TTL != 21*time.Second {
		t.Errorf("TTL %v, want it rounded up to 21s", l.TTL)
	}
	// The server raises a TTL that is too short for its elections.
	if l := granted(t, c, time.Millisecond); l.TTL != 2*time.Second {
		t.Errorf("TTL %v, want the server's least", l.TTL)
	}
}

func TestGrantOwnID(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	l, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute, ID: 777})
	if err != nil || l.ID != 777 {
		t.Fatalf("%+v, %v", l, err)
	}
	_, err = c.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute, ID: 777})
	wants(t, err, etcd.ErrLeaseExists, etcd.OutcomeRejected)
	alive(t, l)
	revoke(t, c, 777)
}

// Bug: a lease's context ended in its own goroutine, so that a write with it was sent
// after Revoke had returned.
func TestLeaseContextEndsWithRevoke(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	key := ownKeys(t)
	for i := range 200 {
		lease, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		held, cancel := lease.Context(t.Context())
		if err := lease.Revoke(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = c.Put(held, etcd.PutRequest{Key: key, Value: []byte("x")})
		if !errors.Is(err, etcd.ErrLeaseRevoked) || etcd.MaybeApplied(err) || !errors.Is(context.Cause(held), etcd.ErrLeaseRevoked) {
			t.Fatalf("lease %d: a Put with the context of a revoked lease: %v, cause %v", i, err, context.Cause(held))
		}
		cancel()
	}
}
