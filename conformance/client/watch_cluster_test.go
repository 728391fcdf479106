package client

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

// Members are stopped, killed and restarted under a watch that any of them may
// serve: it moves on and misses nothing.
func TestWatchMovesOn(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Config: etcdtest.Config{Heartbeat: 30 * time.Millisecond, Election: 300 * time.Millisecond}})
	members := cluster.Members()
	watching := connect(t, etcd.Config{Endpoints: cluster.Endpoints()})
	// Enough clients that some watch is on each member.
	watches := []*etcd.Watcher{watch(t, watching, etcd.WatchRequest{Key: "k", Prefix: true})}
	for range 6 {
		c := connect(t, etcd.Config{Endpoints: cluster.Endpoints()})
		watches = append(watches, watch(t, c, etcd.WatchRequest{Key: "k", Prefix: true}))
	}
	written := 0
	// writing puts some keys through the remaining members.
	writing := func(left ...*etcdtest.Server) {
		t.Helper()
		var endpoints []string
		for _, m := range left {
			endpoints = append(endpoints, m.Endpoints()...)
		}
		c, err := etcd.New(etcd.Config{Endpoints: endpoints, Retry: 100, RetrySleep: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		view := c.Namespace(namespaced.Prefix)
		for range 20 {
			// Each put is repeated until it succeeds. An unknown outcome does no
			// harm, because a second put is just a second version.
			for {
				resp, err := view.Txn(t.Context(), etcd.TxnRequest{
					If:   []etcd.Compare{etcd.CompareVersion(fmt.Sprintf("k/%04d", written), etcd.Equal, 0)},
					Then: []etcd.Op{etcd.PutRequest{Key: fmt.Sprintf("k/%04d", written)}},
				})
				if err == nil {
					_ = resp
					break
				}
				if !etcd.MaybeApplied(err) && !errors.Is(err, etcd.ErrUnavailable) {
					t.Fatal(err)
				}
			}
			written++
		}
	}
	seen := make([]int, len(watches))
	// reading reads the written keys from every watch, and returns how long that
	// took.
	reading := func(what string) {
		t.Helper()
		began := time.Now()
		for i, w := range watches {
			for seen[i] < written {
				resp, err := w.Read(within(t, 40*time.Second))
				if err != nil {
					t.Fatalf("%s: watch %d after %d of %d events: %v", what, i, seen[i], written, err)
				}
				for _, ev := range resp.Events {
					if want := fmt.Sprintf("k/%04d", seen[i]); ev.KV.Key != want || ev.Type != etcd.EventPut {
						t.Fatalf("%s: watch %d: event %s, want %s", what, i, ev.KV.Key, want)
					}
					seen[i]++
				}
			}
		}
		t.Logf("%s: all events after %v", what, time.Since(began).Round(time.Millisecond))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	writing(members...)
	reading("at rest")
	for i, m := range members {
		others := append(append([]*etcdtest.Server{}, members[:i]...), members[i+1:]...)
		must(m.Kill())
		writing(others...)
		reading("a member was killed")
		must(m.Restart())
	}
	leader, err := cluster.Leader(within(t, 30*time.Second))
	must(err)
	must(leader.Stop())
	var others []*etcdtest.Server
	for _, m := range members {
		if m != leader {
			others = append(others, m)
		}
	}
	writing(others...)
	reading("the leader was stopped")
	must(leader.Continue())
	writing(members...)
	reading("it goes on")
}

// The member of a watch goes silent. The watch is on another one after a second or
// two, long before the silent one counts as dead, and has missed nothing.
func TestWatchLeavesSilentMember(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	leader, err := cluster.Leader(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, etcd.Config{Endpoints: leader.Endpoints()})
	// A client that watches on a follower, so that no election delays it.
	var watches []*etcd.Watcher
	var silent *etcdtest.Server
	for silent == nil {
		watching := connect(t, etcd.Config{Endpoints: cluster.Endpoints()})
		watches = []*etcd.Watcher{watch(t, watching, etcd.WatchRequest{Key: "k"})}
		for _, m := range cluster.Members() {
			if m != leader && m.Endpoints()[0] == watches[0].State().Endpoint {
				silent = m
			}
		}
		for range 250 {
			watches = append(watches, watch(t, watching, etcd.WatchRequest{Key: "k"}))
		}
	}
	put(t, c, "k", "1")
	for _, w := range watches {
		read(t, w)
	}
	if err := silent.Stop(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	put(t, c, "k", "2")
	for _, w := range watches {
		if got := text(read(t, w).Events[0], ""); got != "PUT k=2" {
			t.Errorf("event %s", got)
		}
	}
	took := time.Since(began)
	t.Logf("it took %v", took)
	if took > 8*time.Second { // 9 to 10 s until the connection counts as dead
		t.Errorf("the watches took %v to move", took)
	}
	// The member wakes up, and its late messages change nothing.
	if err := silent.Continue(); err != nil {
		t.Fatal(err)
	}
	put(t, c, "k", "3")
	for _, w := range watches {
		if got := text(read(t, w).Events[0], ""); got != "PUT k=3" {
			t.Errorf("event %s", got)
		}
	}
}

// A watch from a future revision moves from member to member and delivers nothing
// below it.
func TestWatchFutureRevisionAcrossMembers(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Retry: 100, RetrySleep: 50 * time.Millisecond})
	d := newDialer()
	faulty := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), DialContext: d.dial})
	now := put(t, c, "k", "0")
	w := watch(t, faulty, etcd.WatchRequest{Key: "k", Revision: now + 30})
	for i := 1; i <= 40; i++ {
		if i%7 == 0 {
			d.cutAll()
		}
		if rev := put(t, c, "k", fmt.Sprint(i)); rev != now+int64(i) {
			t.Fatalf("put %d is revision %d, want %d", i, rev, now+int64(i))
		}
	}
	for i := 30; i <= 40; {
		resp, err := w.Read(within(t, 30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			if ev.KV.ModRevision != now+int64(i) {
				t.Fatalf("an event of revision %d, want %d", ev.KV.ModRevision, now+int64(i))
			}
			i++
		}
	}
}
