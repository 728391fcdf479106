package client

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Leases are kept through a follower that is 5 ms away in each direction. Another
// client revokes one of them, and one has a key that the user may no longer write.
// Both are reported, and no other lapses. With -slow 50,000 leases of a minute are
// kept for three minutes.
func TestManyLeasesThroughAFollower(t *testing.T) {
	t.Parallel()
	n, ttl, length := 1000, 6*time.Second, 12*time.Second
	if *slow {
		n, ttl, length = 50_000, time.Minute, 3*time.Minute
	}
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	leader, err := cluster.Leader(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	members := cluster.Members()
	follower := members[slices.IndexFunc(members, func(m *etcdtest.Server) bool { return m != leader })]
	way := etcdtest.StartProxy(t, follower.Endpoints()[0])
	way.Set(etcdtest.BothWays, etcdtest.Fault{Delay: 5 * time.Millisecond})

	root := authOn(t, leader)
	addUser(t, root, "app", "secret", "app/")
	must(t)(root.Auth().RoleGrantPermission(t.Context(), etcd.RoleGrantPermissionRequest{Role: "app", Type: etcd.PermissionReadWrite, Key: root.Prefix() + "barred"}))
	app := connect(t, etcd.Config{Endpoints: []string{way.Endpoint()}, Username: "app", Password: "secret"})
	began := time.Now()
	leases := grantMany(t, app, n, ttl)
	granting := time.Since(began)
	for i := 0; i < n; i += n / 100 {
		attach(t, app, "app/"+strconv.Itoa(i), leases[i].ID)
	}

	poisoned, barred := leases[n/3], leases[n/2+1]
	attach(t, app, "barred", barred.ID)
	leases[n/3], leases[n/2+1] = leases[0], leases[0]
	renewed := renewals(t, members)
	began = time.Now()
	revoke(t, root, poisoned.ID)
	must(t)(root.Auth().RoleRevokePermission(t.Context(), etcd.RoleRevokePermissionRequest{Role: "app", Key: root.Prefix() + "barred"}))

	least := ttl
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(began) < length {
		<-tick.C
		for _, l := range leases {
			least = min(least, time.Until(l.Deadline()))
		}
	}
	took := time.Since(began)
	if err := lost(t, poisoned, ttl); !errors.Is(err, etcd.ErrLeaseExpired) {
		t.Errorf("the one that was revoked is lost because %v", err)
	}
	if err := lost(t, barred, ttl); !errors.Is(err, etcd.ErrLeaseNotRenewed) || !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Errorf("the one that may not be renewed is lost because %v", err)
	}
	lapsed := 0
	for _, l := range leases {
		if l.Err() != nil {
			lapsed++
			t.Log(l.Err())
		}
	}
	if lapsed > 0 {
		t.Errorf("%d of %d leases lapsed", lapsed, n)
	}
	resp, err := root.Leases(t.Context())
	if err != nil || len(resp.Leases) < n-2 || len(resp.Leases) > n-1 {
		t.Errorf("the server has %d leases, %v", len(resp.Leases), err)
	}
	t.Logf("%d leases of %v, granted in %v, kept for %v: %d lapsed, %.0f renewals a second, the nearest to its end had %v left",
		n, ttl, granting.Round(time.Millisecond), took.Round(time.Millisecond), lapsed,
		(renewals(t, members)-renewed)/took.Seconds(), least.Round(time.Millisecond))
	runtime.KeepAlive(leases)
}

// grantMany grants leases, many at a time.
func grantMany(t testing.TB, c *etcd.Client, n int, ttl time.Duration) []*etcd.Lease {
	t.Helper()
	leases := make([]*etcd.Lease, n)
	var next atomic.Int64
	var callers sync.WaitGroup
	for range 128 {
		callers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && !t.Failed(); i = next.Add(1) - 1 {
				l, err := c.Grant(t.Context(), etcd.GrantRequest{TTL: ttl})
				if err != nil {
					t.Error(err)
				}
				leases[i] = l
			}
		})
	}
	callers.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return leases
}

// renewals returns how many renewals the members have made so far.
func renewals(t testing.TB, members []*etcdtest.Server) (sum float64) {
	t.Helper()
	for _, m := range members {
		sum += metric(t, m, "etcd_debugging_lease_renewed_total")
	}
	return sum
}

// metric returns the value of a metric without labels.
func metric(t testing.TB, s *etcdtest.Server, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + s.Addr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseFloat(value, 64)
	if !found || err != nil {
		t.Fatalf("metric %s: found %v, %v", name, found, err)
	}
	return v
}
