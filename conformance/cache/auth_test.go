package cache

import (
	"errors"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

const rootPassword = "root"

// must returns a function that takes what a call returns and fails the test on an error.
func must(t testing.TB) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// protect switches authentication on, with a user reader who may do nothing.
func protect(t testing.TB, c *etcd.Client) {
	t.Helper()
	ctx, a := testbed.Within(t, testbed.Patience), c.Auth()
	must(t)(a.UserAdd(ctx, etcd.UserAddRequest{Name: "root", Password: rootPassword}))
	must(t)(a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "root", Role: "root"}))
	must(t)(a.UserAdd(ctx, etcd.UserAddRequest{Name: "reader", Password: "pw"}))
	must(t)(a.RoleAdd(ctx, etcd.RoleAddRequest{Name: "reader"}))
	must(t)(a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "reader", Role: "reader"}))
	must(t)(a.Enable(ctx))
}

// allow gives the reader a permission.
func allow(t testing.TB, root *etcd.Client, grant etcd.RoleGrantPermissionRequest) {
	t.Helper()
	grant.Role, grant.Key = "reader", root.Prefix()+grant.Key
	must(t)(root.Auth().RoleGrantPermission(testbed.Within(t, testbed.Patience), grant))
}

// A cache whose user loses the permission keeps what it has until the next connection, then
// says why it is stale; what needs the store says so at once. It comes back by itself.
func TestPermissionLost(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	direct := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, direct, scope+"a", "1")
	protect(t, direct)
	root := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints(), Username: "root", Password: rootPassword})
	all := etcd.RoleGrantPermissionRequest{Key: scope, Prefix: true}
	allow(t, root, all)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	ca := caching(t, testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}, Username: "reader", Password: "pw"}))
	get(t, ca, scope+"a", cache.Linearizable)

	must(t)(root.Auth().RoleRevokePermission(testbed.Within(t, testbed.Patience), etcd.RoleRevokePermissionRequest{Role: "reader", Key: root.Prefix() + scope, Prefix: true}))
	if _, err := ca.Get(testbed.Within(t, testbed.Patience), scope+"a", cache.Linearizable); !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Errorf("Linearizable: %v", err)
	}
	if r := get(t, ca, scope+"a", cache.Local); string(r.KV.Value) != "1" || r.FromServer {
		t.Errorf("Local: %+v", r)
	}
	proxy.Reset()
	ctx := testbed.Within(t, testbed.Patience)
	for st := ca.Stats(); st.State != cache.StateStale || !errors.Is(st.Err, etcd.ErrPermissionDenied); st = ca.Stats() {
		if ctx.Err() != nil {
			t.Fatalf("%+v", st)
		}
		_, _ = ca.Get(ctx, scope+"a", cache.Linearizable) // takes a round trip
	}
	if r := get(t, ca, scope+"a", cache.Local); string(r.KV.Value) != "1" || r.FromServer {
		t.Errorf("Local, when the watch is refused: %+v", r)
	}
	allow(t, root, all)
	last := testbed.Put(t, root, scope+"a", "2")
	for r := get(t, ca, scope+"a", cache.Local); r.Revision < last; r = get(t, ca, scope+"a", cache.Local) {
		if ctx.Err() != nil {
			t.Fatalf("the cache stays at %d: %+v", r.Revision, ca.Stats())
		}
		get(t, ca, scope+"a", cache.Linearizable)
	}
	if st := ca.Stats(); st.State != cache.StateLive || st.Err != nil {
		t.Errorf("%+v", st)
	}
}
