package cache

import (
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// Another watch of the client that is ahead of the store keeps the server silent on its own
// stream only: the cache still learns how far it is.
func TestProgressBesideAWatchOfTheFuture(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	now := testbed.Put(t, c, "out", "1")
	w, err := c.Watch(testbed.Within(t, testbed.Patience), etcd.WatchRequest{Key: "out", Revision: now + 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	ca := caching(t, c)
	caught := 0 // by the cache itself, on a busy machine too
	for range 20 {
		revision := testbed.Put(t, c, "out", "1")
		r := get(t, ca, scope+"a", cache.Linearizable)
		if r.Revision < revision {
			t.Fatalf("an answer of %d after a write at %d", r.Revision, revision)
		}
		if !r.FromServer {
			caught++
		}
	}
	if caught == 0 {
		t.Error("the cache learns nothing of other keys")
	}
}

// A server whose progress is not to be trusted is asked for the key; events still count.
func TestDistrustProgress(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	ca := cachingOf(t, c, cache.Config{Key: scope, Prefix: true, DistrustProgress: true})
	revision := testbed.Put(t, c, scope+"a", "1")
	if sn := snapshot(t, ca, cache.AtLeast(revision)); sn.Len() != 1 {
		t.Errorf("%d keys", sn.Len())
	}
	revision = testbed.Put(t, c, "out", "1")
	if r := get(t, ca, scope+"a", cache.Linearizable); !r.FromServer || r.Revision < revision {
		t.Errorf("an answer of %d after a write at %d, from the server: %v", r.Revision, revision, r.FromServer)
	}
	if sn := snapshot(t, ca, cache.Local); sn.Revision() >= revision {
		t.Errorf("the cache is at %d", sn.Revision())
	}
	if st := ca.Stats(); st.Fallbacks == 0 {
		t.Errorf("%+v", st)
	}
}
