package client

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// setBack sets a server back to the copy of its data that was made at first.
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

// A store that was set back is reported to one read, and then accepted. A write
// is done all the same; the watches end.
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
	// A serializable read is no proof, and Ready is not about the past.
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
	wants(t, err, etcd.ErrHistoryReset, etcd.Rejected)
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
	// Who was told by the watch reads anew, and watches from there.
	now := get(t, c, etcd.GetRequest{Key: "k"})
	next := watch(t, c, etcd.WatchRequest{Key: "k", Revision: now.Header.Revision + 1})
	put(t, c, "k", "newer")
	if got := text(read(t, next).Events[0], ""); got != "PUT k=newer" {
		t.Errorf("event %s", got)
	}
}
