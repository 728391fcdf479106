package etcdtest_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/etcdtest"
)

// A running leader and then a crashed follower are replaced: the new members have
// the cluster's data and survive a restart, and nothing is left of the old ones.
func TestReplaceMember(t *testing.T) {
	t.Parallel() // etcd makes this test wait
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := etcdtest.StartCluster(t, etcdtest.ClusterConfig{PeerProxies: true})
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(ctx, leader, "k", "v"); err != nil {
		t.Fatal(err)
	}
	replace(ctx, t, c, leader)

	if leader, err = c.Leader(ctx); err != nil {
		t.Fatal(err)
	}
	follower := c.Members()[0]
	if follower == leader {
		follower = c.Members()[1]
	}
	if err := follower.Kill(); err != nil {
		t.Fatal(err)
	}
	added := replace(ctx, t, c, follower)
	if err := added.Restart(); err != nil {
		t.Fatal(err)
	}
	if v, err := get(ctx, added, "k"); v != "v" || err != nil {
		t.Errorf("after its restart the new member has %q, %v", v, err)
	}
	if added.Name() != "etcd5" || c.Members()[2] != added || len(c.Endpoints()) != 3 {
		t.Errorf("%s was added, the endpoints are %v", added.Name(), c.Endpoints())
	}
}

// replace removes a member and adds one. It checks that nothing is left of the old
// one and that the new one has the data.
func replace(ctx context.Context, t *testing.T, c *etcdtest.Cluster, m *etcdtest.Server) *etcdtest.Server {
	t.Helper()
	if err := c.Remove(ctx, m); err != nil {
		t.Fatal(err)
	}
	if len(c.Members()) != 2 {
		t.Errorf("after the removal there are %d members", len(c.Members()))
	}
	if _, err := os.Stat(m.DataDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data of the removed member: %v, want it gone", err)
	}
	refused(t, m)
	added, err := c.Add(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := get(ctx, added, "k"); v != "v" || err != nil {
		t.Errorf("the new member has %q, %v", v, err)
	}
	return added
}

// Members of a cluster with TLS are replaced too. An impossible change ends with
// its context and says why.
func TestReplaceMemberTLS(t *testing.T) {
	t.Parallel()
	c := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Size: 1, Config: etcdtest.Config{TLS: etcdtest.MutualTLS}})
	first := c.Members()[0]
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Remove(ctx, first); err == nil || !strings.Contains(err.Error(), "no other member") {
		t.Errorf("removing the only member: %v", err)
	}
	second, err := c.Add(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !usable(t, second, first.ClientTLS()) {
		t.Error("the new member refuses a client of the cluster's CA")
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if m, err := c.Add(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("added %v without a quorum: %v", m, err)
	}
}
