package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// endOf reads until the watch ends.
func endOf(t testing.TB, w *etcd.Watcher) error {
	t.Helper()
	ctx := within(t, 30*time.Second)
	for {
		if _, err := w.Read(ctx); err != nil {
			if ctx.Err() != nil {
				t.Fatal("the watch does not end")
			}
			if _, again := w.Read(ctx); again != err {
				t.Errorf("it ended with %v, and then with %v", err, again)
			}
			return err
		}
	}
}

// wantCompacted checks a compaction's error, which names the oldest revision left.
func wantCompacted(t testing.TB, err error, revision int64) {
	t.Helper()
	var c *etcd.CompactedError
	if !errors.As(err, &c) || !errors.Is(err, etcd.ErrCompacted) || c.Revision != revision {
		t.Errorf("error %v (%+v), want a compaction to %d", err, c, revision)
	}
	if text := err.Error(); !strings.Contains(text, "compacted") || !strings.Contains(text, fmt.Sprint(revision)) || strings.Contains(text, "no reason") {
		t.Errorf("the error does not name the compaction and its revision %d: %s", revision, text)
	}
}

// A compaction ends the watches whose next revision it removed, and no others.
func TestWatchCompaction(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	d := newDialer()
	away := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial})
	idle := watch(t, away, etcd.WatchRequest{Key: "idle"})
	behind := watch(t, away, etcd.WatchRequest{Key: "k"})
	live := watch(t, c, etcd.WatchRequest{Key: "k"})
	var last int64
	for i := range 10 {
		last = put(t, c, "k", fmt.Sprint(i))
	}
	compact := func(revision int64) {
		t.Helper()
		if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: revision, Physical: true}); err != nil {
			t.Fatal(err)
		}
	}
	// Connected watches lose nothing.
	compact(last - 5)
	old := watch(t, c, etcd.WatchRequest{Key: "k", Revision: last - 8})
	wantCompacted(t, endOf(t, old), last-5)
	oldest := watch(t, c, etcd.WatchRequest{Key: "k", Revision: last - 5})
	for n := 0; n < 6; {
		n += len(read(t, oldest).Events)
	}

	// Disconnected during the compaction: events received before it come first.
	d.goAway()
	for i := range 10 {
		last = put(t, c, "k", fmt.Sprint("late ", i))
	}
	compact(last - 2)
	d.comeBack()
	wantCompacted(t, endOf(t, behind), last-2)
	wantCompacted(t, endOf(t, idle), last-2)
	for n := 0; n < 20; {
		n += len(read(t, live).Events)
	}
}

// Progress keeps a watch without events alive across a compaction during which it
// is disconnected.
func TestWatchIdleSurvivesCompaction(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{WatchProgressInterval: 100 * time.Millisecond}, etcd.Config{})
	d := newDialer()
	away := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial})
	idle := watch(t, away, etcd.WatchRequest{Key: "idle", ProgressNotify: true})
	var last int64
	for i := range 10 {
		last = put(t, c, "k", fmt.Sprint(i))
	}
	for read(t, idle).Header.Revision < last {
	}
	d.goAway()
	if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: last, Physical: true}); err != nil {
		t.Fatal(err)
	}
	d.comeBack()
	put(t, c, "idle", "1")
	for {
		if resp := read(t, idle); len(resp.Events) > 0 {
			break
		}
	}
}

// serverWatches is how many watches the server has.
func serverWatches(t testing.TB, s *etcdtest.Server) int {
	t.Helper()
	n, err := s.Metric(t.Context(), "etcd_debugging_mvcc_watcher_total")
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// Regression: a watch that its user gave up while the server confirmed it stayed on the
// server as long as its stream, here that of a watch which goes on.
func TestWatchGivenUpOnServer(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	stays := watch(t, c, etcd.WatchRequest{Key: "stays"})
	var givingUp sync.WaitGroup
	for range 8 {
		givingUp.Go(func() {
			for range 250 {
				ctx, cancel := testbed.Impatient(t, time.Millisecond)
				if w, err := c.Watch(ctx, etcd.WatchRequest{Key: "k"}); err == nil {
					_ = w.Close()
				}
				cancel()
			}
		})
	}
	givingUp.Wait()
	eventually(t, "the server to forget all but one", func() bool { return serverWatches(t, s) == 1 })
	put(t, c, "stays", "1")
	read(t, stays)
}

// Close ends a waiting Read and leaves nothing on the server.
func TestWatchClose(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	var all []*etcd.Watcher
	for i := range 250 {
		all = append(all, watch(t, c, etcd.WatchRequest{Key: fmt.Sprintf("k/%d", i)}))
	}
	if n := serverWatches(t, s); n != 250 {
		t.Fatalf("the server has %d watchers of 250", n)
	}
	ended := async(func() error {
		_, err := all[0].Read(context.Background())
		return err
	})
	for _, w := range all {
		for range 2 {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := await(t, ended); !errors.Is(err, etcd.ErrWatchClosed) {
		t.Errorf("a Read that waited ended with %v", err)
	}
	eventually(t, "the server to forget", func() bool { return serverWatches(t, s) == 0 })

	// The client's Close does the same for all watches.
	other := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	w := watch(t, other, etcd.WatchRequest{Key: "k", Prefix: true})
	ended = async(func() error {
		_, err := w.Read(context.Background())
		return err
	})
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := await(t, ended); !errors.Is(err, etcd.ErrClosed) {
		t.Errorf("a Read that waited ended with %v", err)
	}
	eventually(t, "the server to forget", func() bool { return serverWatches(t, s) == 0 })
}

// The contexts of Watch, Read and All end only these calls.
func TestWatchContexts(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	key := t.Name()
	ctx, cancel := context.WithCancel(t.Context())
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with a context that has ended: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := w.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read: %v", err)
	}
	for i := range 3 {
		put(t, c, key, fmt.Sprint(i))
	}
	// After a break the rest can still be read.
	next := 0
	for next < 3 {
		for resp, err := range w.All(within(t, 20*time.Second)) {
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range resp.Events {
				if string(ev.KV.Value) != fmt.Sprint(next) {
					t.Errorf("value %s, want %d", ev.KV.Value, next)
				}
				next++
			}
			break
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	errs := 0
	for resp, err := range w.All(t.Context()) {
		if !errors.Is(err, etcd.ErrWatchClosed) || resp != nil {
			t.Errorf("All of a closed watch yields %v, %v", resp, err)
		}
		errs++
	}
	if errs != 1 {
		t.Errorf("All of a closed watch yields %d times", errs)
	}
}

// authority is a raw client of etcd's authentication.
type authority struct {
	t *testing.T
	pb.AuthClient
}

func (a authority) must(_ any, err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// enable switches authentication on: from then on a client without a user may not
// watch anything.
func (a authority) enable() {
	ctx := a.t.Context()
	a.must(a.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "r"}))
	a.must(a.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "root"}))
	a.must(a.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"}))
	a.must(a.AuthEnable(ctx, &pb.AuthEnableRequest{}))
}

// Authentication is switched on under a live watch. The watch continues until it
// has to resume, and then ends with the missing permission. A new watch is refused
// at once.
func TestWatchAuthenticationSwitchedOn(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	d := newDialer()
	faulty := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial})
	w := watch(t, faulty, etcd.WatchRequest{Key: "k"})
	put(t, c, "k", "1")
	authority{t, pb.NewAuthClient(official(t, s))}.enable()
	for _, req := range []etcd.WatchRequest{{Key: "k"}, {Key: "k", Revision: 1}} {
		_, err := c.Watch(within(t, 20*time.Second), req)
		if !errors.Is(err, etcd.ErrUnauthenticated) {
			t.Errorf("Watch %+v: %v, want ErrUnauthenticated", req, err)
		}
	}
	read(t, w)
	d.cutAll()
	if err := endOf(t, w); !errors.Is(err, etcd.ErrUnauthenticated) {
		t.Errorf("the watch ended with %v, want ErrUnauthenticated", err)
	}
}

// A server that is restored from an older copy of its data has lost revisions.
// Watches that knew them report it at once, with or without events.
func TestWatchHistoryReset(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	put(t, c, "k", "kept")
	backup := t.TempDir()
	if err := s.Terminate(); err != nil {
		t.Fatal(err)
	}
	copyDir(t, s.DataDir(), backup)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	with := watch(t, c, etcd.WatchRequest{Key: "k", Revision: 1})
	for i := range 20 {
		put(t, c, "k", fmt.Sprint(i))
	}
	without := watch(t, c, etcd.WatchRequest{Key: "other"})
	for n := 0; n < 21; {
		n += len(read(t, with).Events)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.DataDir(), "member")); err != nil {
		t.Fatal(err)
	}
	copyDir(t, backup, s.DataDir())
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]*etcd.Watcher{"with events": with, "without": without} {
		if err := endOf(t, w); !errors.Is(err, etcd.ErrHistoryReset) {
			t.Errorf("the watch %s ended with %v, want ErrHistoryReset", name, err)
		}
	}
	// The new history can be watched.
	fresh := watch(t, c, etcd.WatchRequest{Key: "k"})
	put(t, c, "k", "new")
	if got := text(read(t, fresh).Events[0], ""); got != "PUT k=new" {
		t.Errorf("event %s", got)
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Bad requests are refused before anything is sent, and the errors name the field.
func TestWatchInvalid(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{Endpoints: []string{"127.0.0.1:1"}})
	for want, req := range map[string]etcd.WatchRequest{
		"Key":          {},
		"Prefix":       {Key: "a", Prefix: true, FromKey: true},
		"Prefix and":   {Key: "a", Prefix: true, RangeEnd: "b"},
		"RangeEnd":     {Key: "b", RangeEnd: "a"},
		"RangeEnd \"b": {Key: "b", RangeEnd: "b"},
		"Revision":     {Key: "a", Revision: -1},
		"BufferBytes":  {Key: "a", BufferBytes: -1},
	} {
		_, err := c.Watch(t.Context(), req)
		refused(t, err, etcd.ErrInvalidRequest, want)
	}
	var none context.Context
	_, err := c.Watch(none, etcd.WatchRequest{Key: "a"})
	refused(t, err, etcd.ErrInvalidRequest, "context")
}

// A live watch loses its permission. It ends when it has to resume, with that error
// and after all the events that it was sent. Its neighbor on the stream, whose keys
// are still allowed, continues.
func TestWatchPermissionGone(t *testing.T) {
	t.Parallel()
	s := quickAuth(t, etcdtest.Config{})
	root := authOn(t, s)
	addUser(t, root, "u", "p", "u/")
	must(t)(root.Auth().RoleGrantPermission(t.Context(), etcd.RoleGrantPermissionRequest{Role: "u", Type: etcd.PermissionRead, Key: root.Prefix() + "v/", Prefix: true}))
	d := newDialer()
	c := connect(t, etcd.Config{Endpoints: s.Endpoints(), Username: "u", Password: "p", DialContext: d.dial})
	gone := watch(t, c, etcd.WatchRequest{Key: "u/", Prefix: true})
	stays := watch(t, c, etcd.WatchRequest{Key: "v/", Prefix: true})
	must(t)(root.Auth().RoleRevokePermission(t.Context(), etcd.RoleRevokePermissionRequest{Role: "u", Key: root.Prefix() + "u/", Prefix: true}))
	put(t, root, "u/k", "1")
	put(t, root, "v/k", "1")
	read(t, stays)
	d.cutAll()
	put(t, root, "u/k", "2")
	put(t, root, "v/k", "2")
	if got := text(read(t, stays).Events[0], ""); got != "PUT v/k=2" {
		t.Errorf("the neighbour's event is %s", got)
	}
	if got := text(read(t, gone).Events[0], ""); got != "PUT u/k=1" {
		t.Errorf("event %s", got)
	}
	if err := endOf(t, gone); !errors.Is(err, etcd.ErrPermissionDenied) || etcd.HistoryLost(err) {
		t.Errorf("the watch ended with %v, want ErrPermissionDenied", err)
	}
	if state := gone.State(); !errors.Is(state.Err, etcd.ErrPermissionDenied) || state.Endpoint != "" {
		t.Errorf("its state is %+v", state)
	}
}
