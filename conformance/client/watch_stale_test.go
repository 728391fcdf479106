package client

import (
	"errors"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// No member can reach a majority. Members open the streams of watches for a moment and end
// them again, because they have no leader. Since stays what it was, and the client reports
// it once. When the members find each other, the watches go on.
func TestWatchStaleWithoutQuorum(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{PeerProxies: true})
	told := new(events)
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Hooks: told.hooks(), Retry: 100, RetrySleep: 50 * time.Millisecond})
	w := watch(t, c, etcd.WatchRequest{Key: "k"})
	put(t, c, "k", "1")
	read(t, w)
	for _, m := range cluster.Members() {
		if err := cluster.Isolate(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the watch to lose its member", func() bool { return w.State().Err != nil })
	lost := w.State().Since
	told.until(t, "a stale watch", func() bool { return len(told.stale) > 0 })
	for time.Since(lost) < 20*time.Second { // at most 2 s pass between two streams
		if state := w.State(); !errors.Is(state.Err, etcd.ErrNoLeader) || !state.Since.Equal(lost) || state.Endpoint != "" {
			t.Fatalf("%v after it lost its member: %+v", time.Since(lost), state)
		}
		if stats := c.Stats(); stats.Watches != 1 || stats.WatchesWaiting != 1 {
			t.Fatalf("the statistics are %+v", stats)
		}
		time.Sleep(5 * time.Millisecond)
	}
	told.mu.Lock()
	if len(told.stale) != 1 || len(told.resumed) != 0 {
		t.Errorf("stale: %+v, resumed: %+v", told.stale, told.resumed)
	}
	if s := told.stale[0]; s.Key != "k" || s.Revision != w.State().NextRevision || s.Interrupted < 10*time.Second || s.Interrupted > 15*time.Second || !errors.Is(s.Err, etcd.ErrNoLeader) {
		t.Errorf("stale: %+v", s)
	}
	told.mu.Unlock()

	cluster.Heal()
	told.until(t, "the watch", func() bool { return len(told.resumed) > 0 })
	if r := told.resumed[0]; r.Interrupted < 20*time.Second || r.Key != "k" {
		t.Errorf("resumed: %+v", r)
	}
	eventually(t, "its state to say so", func() bool {
		state := w.State()
		return state.Err == nil && state.Endpoint != "" && state.Since.IsZero()
	})
	put(t, c, "k", "2")
	if got := text(read(t, w).Events[0], ""); got != "PUT k=2" {
		t.Errorf("event %s", got)
	}
}
