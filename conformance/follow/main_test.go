package follow

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/follow"
	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

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

// away makes a client behind a proxy.
func away(t testing.TB, s *etcdtest.Server) (*etcd.Client, *etcdtest.Proxy) {
	t.Helper()
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	return connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}), proxy
}

// cutOff has the proxy's clients lose their connections and get no others until rejoin.
func cutOff(proxy *etcdtest.Proxy) {
	proxy.Silence(true)
	proxy.Reset()
}

func rejoin(proxy *etcdtest.Proxy) {
	proxy.Silence(false)
	proxy.Reset()
}

// within is a context that ends a test's waits long before go test would.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// following is a follower that is closed with the test, before its client.
func following(t testing.TB, c *etcd.Client, config follow.Config) *follow.Follower {
	t.Helper()
	f := follow.New(c, config)
	t.Cleanup(f.Close)
	return f
}

// next is the next step of a follower.
func next(t testing.TB, f *follow.Follower) follow.Step {
	t.Helper()
	step, err := f.Next(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return step
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

func compact(t testing.TB, c *etcd.Client, revision int64) {
	t.Helper()
	if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: revision, Physical: true}); err != nil {
		t.Fatal(err)
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
	restart(t, s)
	return b
}

func restart(t testing.TB, s *etcdtest.Server) {
	t.Helper()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
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
	restart(t, b.s)
}

// newHistory takes from a client the one error by which it tells of a reset, so that
// nobody else gets it.
func newHistory(t testing.TB, c *etcd.Client) int64 {
	t.Helper()
	ctx := within(t, 30*time.Second)
	_, _ = c.Get(ctx, etcd.GetRequest{Key: "x"})
	resp, err := c.Get(ctx, etcd.GetRequest{Key: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}
