package cache

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, append([]string{"silly.store/etcd/cache."}, leaktest.Ours...)...))
}

const scope = "in/"

// waits is how long a test waits for what should come at once.
const waits = 30 * time.Second

// connect makes a client that is closed with the test.
func connect(t testing.TB, config etcd.Config) *etcd.Client {
	t.Helper()
	c, err := etcd.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return namespaced.View(t, c, config)
}

// within is a context that ends a test's waits long before go test would.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// caching is a cache of the scope that is ready, and closed with the test.
func caching(t testing.TB, c *etcd.Client) *cache.Cache {
	t.Helper()
	return cachingOf(t, c, cache.Config{Key: scope, Prefix: true})
}

func cachingOf(t testing.TB, c *etcd.Client, config cache.Config) *cache.Cache {
	t.Helper()
	ca, err := cache.New(c, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	if err := ca.Ready(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	return ca
}

// get is an answer of a cache.
func get(t testing.TB, ca *cache.Cache, key string, f cache.Freshness) cache.Result {
	t.Helper()
	r, err := ca.Get(within(t, 30*time.Second), key, f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func snapshot(t testing.TB, ca *cache.Cache, f cache.Freshness) *cache.Snapshot {
	t.Helper()
	s, err := ca.Snapshot(within(t, 30*time.Second), f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put stores a pair and returns its revision.
func put(t testing.TB, c *etcd.Client, key, value string) int64 {
	t.Helper()
	resp, err := c.Put(t.Context(), etcd.PutRequest{Key: key, Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// drop deletes a key and returns the revision.
func drop(t testing.TB, c *etcd.Client, key string) int64 {
	t.Helper()
	resp, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// pair is a result in a form to compare.
func pair(r cache.Result) string {
	if !r.Found {
		return "-"
	}
	return fmt.Sprintf("%s=%s@%d", r.KV.Key, r.KV.Value, r.KV.ModRevision)
}

// mute is a dialer that can keep what members send on every connection but the first one,
// which is that of calls. Watches hear nothing meanwhile.
type mute struct {
	mu    sync.Mutex // guards the fields below
	dials int
	muted chan struct{} // not nil: until it is closed
}

type mutedConn struct {
	net.Conn
	m *mute
}

func (m *mute) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dials++; err != nil || m.dials == 1 {
		return conn, err
	}
	return &mutedConn{conn, m}, nil
}

func (c *mutedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.m.mu.Lock()
	muted := c.m.muted
	c.m.mu.Unlock()
	if muted != nil {
		<-muted
	}
	return n, err
}

func (m *mute) set(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if on {
		m.muted = make(chan struct{})
	} else if m.muted != nil {
		close(m.muted)
		m.muted = nil
	}
}

// backup is a copy of a server's data, to which it can be set back.
type backup struct {
	s   *etcdtest.Server
	dir string
}

// takeBackup restarts the server for it.
func takeBackup(t testing.TB, s *etcdtest.Server) *backup {
	t.Helper()
	b := &backup{s, filepath.Join(t.TempDir(), "data")}
	if err := s.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(b.dir, os.DirFS(s.DataDir())); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *backup) restore(t testing.TB) {
	t.Helper()
	if err := b.s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(b.s.DataDir(), "member")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(b.s.DataDir(), os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	if err := b.s.Restart(); err != nil {
		t.Fatal(err)
	}
}

// newHistory takes from a client the one error by which it tells of a reset.
func newHistory(t testing.TB, c *etcd.Client) {
	t.Helper()
	ctx := within(t, 30*time.Second)
	_, _ = c.Get(ctx, etcd.GetRequest{Key: "x"})
	if _, err := c.Get(ctx, etcd.GetRequest{Key: "x"}); err != nil {
		t.Fatal(err)
	}
}
