package v3compat

import (
	"context"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
)

// Without a leader a watch with WithRequireLeader ends with that error, and one
// without waits. Neither is affected by the end of a follower.
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
	isClosed(t, alsoRequired) // that loop does not report why one of its watches ends
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

// leaderless is the one member that is left of a cluster, and has noticed it.
func leaderless(t *testing.T) *etcdtest.Server {
	t.Helper()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Config: etcdtest.Config{Heartbeat: 30 * time.Millisecond}})
	left := cluster.Members()[0]
	for _, m := range cluster.Members()[1:] {
		kill(t, m)
	}
	theirs, err := clientv3.New(clientv3.Config{Endpoints: left.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	for ctx := within(t, 30*time.Second); ; {
		status, err := theirs.Status(ctx, left.Endpoints()[0])
		if err != nil {
			t.Fatal(err)
		}
		if status.Leader == 0 {
			return left
		}
	}
}

// What a member without a leader refuses ends soon when it asks for one, without a
// deadline after as long as the server would take, and what it can answer it answers.
func TestCallsWithoutLeader(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{Endpoints: leaderless(t).Endpoints()})
	long := within(t, 60*time.Second)
	required := clientv3.WithRequireLeader(long)
	const soon = 20 * time.Second
	for name, do := range map[string]func() error{
		"Get":            func() error { return second(client.Get(required, "k")) },
		"Put":            func() error { return second(client.Put(required, "k", "v")) },
		"Txn":            func() error { return second(client.Txn(required).Then(clientv3.OpPut("k", "v")).Commit()) },
		"Grant":          func() error { return second(client.Grant(required, 60)) },
		"KeepAliveOnce":  func() error { return second(client.KeepAliveOnce(required, 1)) },
		"MemberList":     func() error { return second(client.MemberList(required)) },
		"AuthEnable":     func() error { return second(client.AuthEnable(required)) },
		"AlarmList":      func() error { return second(client.AlarmList(required)) },
		"MoveLeader":     func() error { return second(client.MoveLeader(long, 1)) },
		"unbounded Put":  func() error { return second(client.Put(context.Background(), "k", "v")) },
		"on NewKV":       func() error { return second(clientv3.NewKV(client).Put(required, "k", "v")) },
		"unbounded Auth": func() error { return second(client.Authenticate(context.Background(), "u", "p")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			if err := do(); err != rpctypes.ErrNoLeader || time.Since(began) > soon {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	}
	if _, err := client.Get(long, "k", clientv3.WithSerializable()); err != nil {
		t.Errorf("a serializable Get: %v", err)
	}
	local := clientv3.OpGet("k", clientv3.WithSerializable())
	if _, err := client.Txn(long).If(clientv3.Compare(clientv3.Version("k"), "=", 0)).Then(local).Else(local, local).Commit(); err != nil {
		t.Errorf("a Txn of serializable reads: %v", err)
	}
}

// A KeepAlive that requires a leader ends when there is none, and another one of the same
// lease does not.
func TestKeepAliveRequireLeader(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Config: etcdtest.Config{Heartbeat: 30 * time.Millisecond}})
	client := connect(t, clientv3.Config{Endpoints: cluster.Endpoints()})
	ctx := within(t, 60*time.Second)
	lease, err := client.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	required, err := client.KeepAlive(clientv3.WithRequireLeader(ctx), lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	patient, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := <-required; !ok {
		t.Fatal("the lease is not kept")
	}
	leader := leads(t, cluster)
	var follower *etcdtest.Server
	for _, m := range cluster.Members() {
		if m != leader {
			follower = m
		}
	}
	kill(t, follower)
	if _, err := client.KeepAliveOnce(ctx, lease.ID); err != nil {
		t.Fatal(err)
	}
	stillOpen(t, required)
	kill(t, leader)
	for ok := true; ok; {
		select {
		case _, ok = <-required:
		case <-ctx.Done():
			t.Fatal("the channel is not closed")
		}
	}
	stillOpen(t, patient)
	if err := follower.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.KeepAliveOnce(ctx, lease.ID); err != nil {
		t.Errorf("with a leader: %v", err)
	}
}

// stillOpen takes what a channel has, which is not closed.
func stillOpen(t *testing.T, ch <-chan *clientv3.LeaseKeepAliveResponse) {
	t.Helper()
	for {
		select {
		case _, ok := <-ch:
			if !ok {
				t.Fatal("the channel is closed")
			}
		default:
			return
		}
	}
}

// A follower refuses MoveLeader when the leader cannot be reached from here.
func TestMoveLeaderFromAFollower(t *testing.T) {
	t.Parallel()
	nowhere := etcdtest.Config{Args: []string{"--advertise-client-urls=http://127.0.0.1:1"}}
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Config: nowhere})
	leader := leads(t, cluster)
	client, ctx := connect(t, clientv3.Config{Endpoints: cluster.Endpoints()}), within(t, 60*time.Second)
	status, err := client.Status(ctx, leader.Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range cluster.Members() {
		if m == leader {
			continue
		}
		follower := connect(t, clientv3.Config{Endpoints: m.Endpoints()})
		if _, err := follower.MoveLeader(ctx, status.Leader); err != rpctypes.ErrNotLeader {
			t.Errorf("the error is %v", err)
		}
		return
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
