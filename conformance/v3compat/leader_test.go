package v3compat

import (
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
)

// When there is no leader a watch with WithRequireLeader ends and says so; one
// without waits. Neither minds a follower's end.
func TestWatchRequireLeader(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Config: etcdtest.Config{Heartbeat: 30 * time.Millisecond}})
	leader := leads(t, cluster)
	follower := cluster.Members()[0]
	if follower == leader {
		follower = cluster.Members()[1]
	}
	client, c := connect(t, clientv3.Config{Endpoints: cluster.Endpoints()}), ours(t, cluster.Endpoints())
	required := client.Watch(clientv3.WithRequireLeader(t.Context()), "k")
	served := clientv3.NewWatcher(client) // with client/v3's own loop
	alsoRequired := served.Watch(clientv3.WithRequireLeader(t.Context()), "k")
	patient := client.Watch(t.Context(), "k")
	all := []clientv3.WatchChan{required, alsoRequired, patient}

	kill(t, follower)
	store(t, c, "k", "1")
	for _, ch := range all {
		if got := seen(t, ch, "", 1); got != "PUT k=1" {
			t.Error(got)
		}
	}
	kill(t, leader)
	if resp := next(t, required); !resp.Canceled || resp.Err() != rpctypes.ErrNoLeader {
		t.Errorf("%+v: %v", resp, resp.Err())
	}
	isClosed(t, required)
	isClosed(t, alsoRequired) // that loop does not pass on why one of its watches ends
	again := client.Watch(clientv3.WithRequireLeader(t.Context()), "k", clientv3.WithRev(1))
	if resp := next(t, again); resp.Err() != rpctypes.ErrNoLeader {
		t.Errorf("%+v: %v", resp, resp.Err())
	}

	if err := follower.Restart(); err != nil {
		t.Fatal(err)
	}
	leads(t, cluster)
	store(t, c, "k", "2")
	if got := seen(t, patient, "", 1); got != "PUT k=2" {
		t.Error(got)
	}
	if err := served.Close(); err != nil {
		t.Error(err)
	}
}

func kill(t testing.TB, s *etcdtest.Server) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
}

func leads(t testing.TB, cluster *etcdtest.Cluster) *etcdtest.Server {
	t.Helper()
	leader, err := cluster.Leader(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return leader
}
