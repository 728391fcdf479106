package concurrency

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
)

// etcd counts in whole seconds: a TTL between two is the longer one, and what a Coordinator says
// of it is what its lease has.
func TestTTLIsRoundedUp(t *testing.T) {
	t.Parallel()
	co := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{TTL: 4500 * time.Millisecond})
	s, err := co.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if granted := s.Lease().TTL; co.TTL() != 5*time.Second || granted != co.TTL() {
		t.Errorf("the TTL is %v, the lease's %v; want 5s", co.TTL(), granted)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	if _, err := concurrency.New(nil, concurrency.Config{}); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Errorf("no client: %v", err)
	}
	for text, config := range map[string]concurrency.Config{
		"did you mean 5 * time.Second": {TTL: 5},
		"etcd's leases live":           {TTL: 500 * time.Millisecond},
		"must be positive":             {TTL: -1},
		"etcd takes at most":           {TTL: math.MaxInt64},
		"did you mean 1 * time.Second": {Grace: 1},
		"less than half of TTL":        {TTL: 10 * time.Second, Grace: 5 * time.Second},
		"MaxKeys is negative":          {MaxKeys: -1},
		"Logger has no handler":        {Logger: &slog.Logger{}},
	} {
		if _, err := concurrency.New(c, config); !errors.Is(err, etcd.ErrInvalidConfig) || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", config, err, text)
		}
	}
	co := testbed.Coordinate(t, c, concurrency.Config{})
	m := co.Mutex("", concurrency.MutexConfig{})
	var none context.Context
	for what, call := range map[string]func() error{
		"Lock":         func() error { _, err := m.Lock(t.Context()); return err },
		"TryLock":      func() error { _, err := m.TryLock(t.Context()); return err },
		"Holder":       func() error { _, _, err := m.Holder(t.Context()); return err },
		"nil function": func() error { return co.Mutex("x", concurrency.MutexConfig{}).Do(t.Context(), nil) },
		"no unit": func() error {
			_, err := co.Mutex("x", concurrency.MutexConfig{Linger: 5}).Lock(t.Context())
			return err
		},
		"nil context": func() error { _, err := co.Mutex("x", concurrency.MutexConfig{}).Lock(none); return err },
		"nil Session": func() error { _, err := co.Session(none); return err },
	} {
		if err := call(); !errors.Is(err, etcd.ErrInvalidRequest) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var zero concurrency.Lock
	if err := zero.Unlock(t.Context()); !errors.Is(err, concurrency.ErrNotHeld) {
		t.Errorf("a lock that is nobody's: %v", err)
	}
	if _, err := zero.Txn(t.Context(), etcd.TxnRequest{}); !errors.Is(err, concurrency.ErrNotHeld) || zero.Token() != 0 || zero.Key() != "" || zero.Context().Err() == nil {
		t.Errorf("a lock that is nobody's: %v", err)
	}
	if n := co.Stats(); n != (concurrency.Stats{}) {
		t.Errorf("%+v", n)
	}
}

// The coordinator shares one lease, replaces it when it is lost, and revokes it at its end,
// which ends what is held and what waits.
func TestCoordinator(t *testing.T) {
	t.Parallel()
	c, other, name := testbed.Connect(t, etcd.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	var log bytes.Buffer
	co := testbed.Coordinate(t, c, concurrency.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	ctx := testbed.Within(t, 20*time.Second)
	one := must[*concurrency.Session](t)(co.Session(ctx))
	if s := must[*concurrency.Session](t)(co.Session(ctx)); s != one {
		t.Error("another session")
	}
	l := must[*concurrency.Lock](t)(co.Mutex(name, concurrency.MutexConfig{Value: []byte("secret")}).Lock(ctx))
	if kvs := keys(t, other, name); len(kvs) != 1 || kvs[0].Lease != one.Lease().ID {
		t.Errorf("keys %v", kvs)
	}
	child, cancel := one.Context(ctx)
	defer cancel()
	if err := one.Lease().Revoke(ctx); err != nil {
		t.Fatal(err)
	}
	<-one.Done()
	<-child.Done()
	if err := context.Cause(child); !errors.Is(err, concurrency.ErrSessionLost) || !errors.Is(err, etcd.ErrLeaseRevoked) || !errors.Is(one.Err(), concurrency.ErrSessionLost) {
		t.Errorf("the session's context: %v", err)
	}
	if err := lost(t, l, time.Second); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("the lock: %v", err)
	}
	ended, cancel := one.Context(ctx)
	defer cancel()
	if ended.Err() == nil {
		t.Error("a context of an ended session lives")
	}

	two := must[*concurrency.Session](t)(co.Session(ctx))
	if two == one || two.Lease().ID == one.Lease().ID {
		t.Error("the same session")
	}
	m := co.Mutex(name, concurrency.MutexConfig{})
	l = must[*concurrency.Lock](t)(m.Lock(ctx))
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(ctx) })
	waiters(t, other, name, 2)
	if err := co.Close(ctx); err != nil {
		t.Error(err)
	}
	if kvs := keys(t, other, name); len(kvs) != 0 {
		t.Errorf("keys %v are left", kvs)
	}
	if err := lost(t, l, time.Second); !errors.Is(err, concurrency.ErrClosed) {
		t.Errorf("what was held: %v", err)
	}
	if _, err := testbed.Await(t, waiting); !errors.Is(err, concurrency.ErrClosed) {
		t.Errorf("what waited: %v", err)
	}
	if _, err := m.Lock(ctx); !errors.Is(err, concurrency.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := co.Session(ctx); !errors.Is(err, concurrency.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := co.Close(ctx); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	if text := log.String(); !strings.Contains(text, "session lost") || !strings.Contains(text, name) || strings.Contains(text, "secret") {
		t.Errorf("the log: %s", text)
	}
}

// An abandoned session leaves its keys, for the program that adopts the lease.
func TestAbandon(t *testing.T) {
	t.Parallel()
	c, other, name := testbed.Connect(t, etcd.Config{}), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	s := must[*concurrency.Session](t)(co.Session(t.Context()))
	l := must[*concurrency.Lock](t)(co.Mutex(name, concurrency.MutexConfig{}).Lock(testbed.Within(t, 20*time.Second)))
	s.Abandon()
	s.Abandon()
	if err := lost(t, l, time.Second); !errors.Is(err, concurrency.ErrSessionLost) {
		t.Errorf("the lock: %v", err)
	}
	if err := co.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if kvs := keys(t, other, name); len(kvs) != 1 {
		t.Errorf("keys %v", kvs)
	}
	lease := must[*etcd.Lease](t)(other.Adopt(t.Context(), s.Lease().ID))
	if err := lease.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
}

// The client is closed before the coordinator: everything ends, nothing hangs.
func TestClientClosed(t *testing.T) {
	t.Parallel()
	c, err := etcd.New(etcd.Config{Endpoints: testbed.Shared.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	co := testbed.Coordinate(t, c, concurrency.Config{TTL: 2 * time.Second})
	m := co.Mutex(testbed.OwnName(t), concurrency.MutexConfig{})
	l := must[*concurrency.Lock](t)(m.Lock(testbed.Within(t, 20*time.Second)))
	watched(t, c)
	waiting := testbed.Async(func() (*concurrency.Lock, error) { return m.Lock(testbed.Within(t, 20*time.Second)) })
	testbed.Eventually(t, "the waiter", func() bool { return co.Stats().Waiting == 1 })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := lost(t, l, time.Second); !errors.Is(err, etcd.ErrClosed) {
		t.Errorf("what was held: %v", err)
	}
	if _, err := testbed.Await(t, waiting); !errors.Is(err, etcd.ErrClosed) {
		t.Errorf("what waited: %v", err)
	}
	if _, err := m.Lock(testbed.Within(t, 20*time.Second)); !errors.Is(err, etcd.ErrClosed) {
		t.Errorf("afterwards: %v", err)
	}
	if err := l.Unlock(t.Context()); !errors.Is(err, concurrency.ErrLockLost) {
		t.Errorf("Unlock: %v", err)
	}
}

// A user who may not touch the sessions' keys gets a session, and the hint in the error of
// what needs them.
func TestForbiddenSessionKey(t *testing.T) {
	t.Parallel()
	s, root := testbed.Private(t)
	ctx := testbed.Within(t, 30*time.Second)
	auth := root.Auth()
	for _, err := range []error{
		second(auth.RoleAdd(ctx, etcd.RoleAddRequest{Name: "root"})),
		second(auth.RoleAdd(ctx, etcd.RoleAddRequest{Name: "locks"})),
		second(auth.RoleGrantPermission(ctx, etcd.RoleGrantPermissionRequest{Role: "locks", Type: etcd.PermissionReadWrite, Key: root.Prefix() + "locks/", Prefix: true})),
		second(auth.UserAdd(ctx, etcd.UserAddRequest{Name: "root", Password: "r"})),
		second(auth.UserAdd(ctx, etcd.UserAddRequest{Name: "u", Password: "u"})),
		second(auth.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "root", Role: "root"})),
		second(auth.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "u", Role: "locks"})),
		second(auth.Enable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints(), Username: "u", Password: "u"})
	co := testbed.Coordinate(t, c, concurrency.Config{})
	sess := must[*concurrency.Session](t)(co.Session(ctx))
	if _, err := sess.Guard(ctx); !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Errorf("the guard: %v", err)
	}
	if _, err := co.Mutex("locks/a", concurrency.MutexConfig{}).Lock(ctx); !errors.Is(err, etcd.ErrPermissionDenied) || !strings.Contains(err.Error(), "Config.Name") {
		t.Errorf("a lock: %v", err)
	}
	co = testbed.Coordinate(t, c, concurrency.Config{Name: "locks/sessions"})
	unlock(t, must[*concurrency.Lock](t)(co.Mutex("locks/a", concurrency.MutexConfig{}).Lock(ctx)))
}
