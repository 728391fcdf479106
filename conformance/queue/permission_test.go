package queue

import (
	"errors"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/queue"
)

// A claim is watched also when the items could not be read meanwhile, and nobody takes again:
// its context ends when its key is deleted.
func TestClaimDeletedAfterAFailure(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	direct := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	name := testbed.OwnName(t)
	allow := protect(t, direct, name+"/")
	root := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints(), Username: "root", Password: "root"})
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	worker := testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}, Username: "worker", Password: "pw"})
	q := open(t, testbed.Coordinate(t, worker, concurrency.Config{}), queue.Config{Name: name})
	add(t, q, named("x")...)
	cl := take(t, q)
	ctx := testbed.Within(t, testbed.Patience)

	waits := testbed.Async(func() (*queue.Claim, error) { return q.Take(ctx) })
	forbid := etcd.RoleRevokePermissionRequest{Role: "worker", Key: allow.Key, Prefix: true}
	if _, err := root.Auth().RoleRevokePermission(ctx, forbid); err != nil {
		t.Fatal(err)
	}
	proxy.Reset()
	if _, err := testbed.Await(t, waits); !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Fatalf("Take without permission: %v", err)
	}
	if _, err := root.Delete(ctx, etcd.DeleteRequest{Key: cl.Key()}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Take(ctx); !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Errorf("Take without permission: %v", err)
	}
	if err := cl.Context().Err(); err != nil {
		t.Fatalf("the claim ended before its deletion could be seen: %v", err)
	}
	if _, err := root.Auth().RoleGrantPermission(ctx, allow); err != nil {
		t.Fatal(err)
	}
	if cause := lost(t, cl); !errors.Is(cause, queue.ErrClaimLost) {
		t.Errorf("the context: %v", cause)
	}
	ack(t, take(t, q))
}

// protect switches authentication on, with a user worker who may use the keys below a prefix.
// It returns that permission.
func protect(t testing.TB, c *etcd.Client, prefix string) etcd.RoleGrantPermissionRequest {
	t.Helper()
	ctx, a := testbed.Within(t, testbed.Patience), c.Auth()
	may := etcd.RoleGrantPermissionRequest{Role: "worker", Type: etcd.PermissionReadWrite, Key: prefix, Prefix: true}
	for _, do := range []func() error{
		func() error {
			_, err := a.UserAdd(ctx, etcd.UserAddRequest{Name: "root", Password: "root"})
			return err
		},
		func() error {
			_, err := a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "root", Role: "root"})
			return err
		},
		func() error {
			_, err := a.UserAdd(ctx, etcd.UserAddRequest{Name: "worker", Password: "pw"})
			return err
		},
		func() error { _, err := a.RoleAdd(ctx, etcd.RoleAddRequest{Name: "worker"}); return err },
		func() error { _, err := a.RoleGrantPermission(ctx, may); return err },
		func() error {
			_, err := a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "worker", Role: "worker"})
			return err
		},
		func() error { _, err := a.Enable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	return may
}
