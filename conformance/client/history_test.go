package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// setBack restores a server from the first copy of its data.
type setBack struct {
	s      *etcdtest.Server
	backup string
}

func newSetBack(t *testing.T, s *etcdtest.Server) *setBack {
	t.Helper()
	b := &setBack{s, t.TempDir()}
	if err := s.Terminate(); err != nil {
		t.Fatal(err)
	}
	copyDir(t, s.DataDir(), b.backup)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *setBack) restore(t *testing.T) {
	t.Helper()
	if err := b.s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(b.s.DataDir(), "member")); err != nil {
		t.Fatal(err)
	}
	copyDir(t, b.backup, b.s.DataDir())
	if err := b.s.Restart(); err != nil {
		t.Fatal(err)
	}
}

// wipe replaces a server's store by an empty one. The cluster's ID stays: it depends on the
// members' addresses and the token.
func wipe(t *testing.T, s *etcdtest.Server) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.DataDir(), "member")); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
}

// A store is wiped between a read and the watch from the revision after that. The new store
// has the revisions 2 to 6 again, of which the watch would deliver none.
func TestWatchBeginsAfterAWipe(t *testing.T) {
	t.Parallel()
	for name, told := range map[string]bool{"the watch finds out": false, "a read has found out": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := private(t, etcdtest.Config{}, etcd.Config{})
			for range 5 {
				put(t, c, "k", "old")
			}
			list := get(t, c, etcd.GetRequest{Key: "k"})
			wipe(t, s)
			if told {
				_, err := c.Get(t.Context(), etcd.GetRequest{Key: "other"})
				wants(t, err, etcd.ErrHistoryReset, etcd.OutcomeRejected)
			}
			w := watch(t, c, etcd.WatchRequest{Key: "k", Revision: list.Header.Revision + 1})
			if err := endOf(t, w); !errors.Is(err, etcd.ErrHistoryReset) || !etcd.HistoryLost(err) {
				t.Errorf("the watch ended with %v, want ErrHistoryReset", err)
			}
			list = get(t, c, etcd.GetRequest{Key: "k"})
			if list.Header.Revision != 1 || len(list.KVs) != 0 {
				t.Fatalf("the wiped store has %+v", list)
			}
			w = watch(t, c, etcd.WatchRequest{Key: "k", Revision: 2})
			put(t, c, "k", "new")
			if ev := read(t, w).Events[0]; ev.KV.ModRevision != 2 {
				t.Errorf("event %s at revision %d, want 2", text(ev, ""), ev.KV.ModRevision)
			}
		})
	}
}

// A member that is behind the others confirms a watch at a revision below the one that the
// client has seen. That is no lost history: the watch lives and misses nothing.
func TestWatchBeginsOnAMemberBehind(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{PeerProxies: true})
	writer := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Prefer: etcd.PreferLeader})
	put(t, writer, "k", "0")
	if err := cluster.FaultPeers(etcdtest.Fault{Delay: 300 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		if try > 50 {
			t.Fatal("no watch began on a member that is behind")
		}
		c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Prefer: etcd.PreferLeader})
		seen := put(t, c, "k", fmt.Sprint(try)) // the leader's answer; the others learn of it later
		w := watch(t, c, etcd.WatchRequest{Key: "k", Revision: seen + 1})
		if w.Header().Revision >= seen {
			continue
		}
		t.Logf("try %d: confirmed at %d, seen %d", try, w.Header().Revision, seen)
		w.RequestProgress() // answered by the read that tells the two apart
		if resp := read(t, w); !resp.IsProgress() || resp.Header.Revision < seen {
			t.Errorf("response %+v, want progress at %d", resp, seen)
		}
		next := put(t, writer, "k", "next")
		if ev := read(t, w).Events[0]; ev.KV.ModRevision != next {
			t.Errorf("event %s at revision %d, want %d", text(ev, ""), ev.KV.ModRevision, next)
		}
		if state := w.State(); state.Err != nil {
			t.Errorf("its state is %+v", state)
		}
		return
	}
}

// A restored store is reported by one read, and then accepted. A write still
// succeeds; the watches end.
func TestHistoryReset(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	put(t, c, "k", "kept")
	back := newSetBack(t, s)
	later := func() {
		for range 20 {
			put(t, c, "k", "lost")
		}
	}

	later()
	back.restore(t)
	// A serializable read proves nothing, and Ready does not care about the past.
	get(t, c, etcd.GetRequest{Key: "k", Serializable: true})
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	var told atomic.Int64
	var readers sync.WaitGroup
	for range 50 {
		readers.Go(func() {
			_, err := c.Get(t.Context(), etcd.GetRequest{Key: "k"})
			switch {
			case err == nil:
			case errors.Is(err, etcd.ErrHistoryReset) && !etcd.MaybeApplied(err):
				told.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	readers.Wait()
	if n := told.Load(); n != 1 {
		t.Errorf("%d of 50 reads were told of the reset, want one", n)
	}
	if kv := stored(t, c, "k"); string(kv.Value) != "kept" {
		t.Errorf("the value is %s", kv.Value)
	}

	later()
	back.restore(t)
	put(t, c, "k", "new")
	_, err := c.Get(t.Context(), etcd.GetRequest{Key: "k"})
	wants(t, err, etcd.ErrHistoryReset, etcd.OutcomeRejected)
	if kv := stored(t, c, "k"); string(kv.Value) != "new" {
		t.Errorf("the value is %s", kv.Value)
	}

	later()
	w := watch(t, c, etcd.WatchRequest{Key: "k", Revision: 1})
	for n := 0; n < 20; {
		n += len(read(t, w).Events)
	}
	back.restore(t)
	put(t, c, "k", "new") // it or the watch finds out
	if err := endOf(t, w); !errors.Is(err, etcd.ErrHistoryReset) {
		t.Errorf("the watch ended with %v, want ErrHistoryReset", err)
	}
	// A caller whose watch ended reads again, and watches from there.
	now := get(t, c, etcd.GetRequest{Key: "k"})
	next := watch(t, c, etcd.WatchRequest{Key: "k", Revision: now.Header.Revision + 1})
	put(t, c, "k", "newer")
	if got := text(read(t, next).Events[0], ""); got != "PUT k=newer" {
		t.Errorf("event %s", got)
	}
}
