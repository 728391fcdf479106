package cache

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, append([]string{"silly.store/etcd/cache."}, leaktest.Ours...)...))
}

const scope = "in/"

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
	if err := ca.Ready(testbed.Within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	return ca
}

// get is an answer of a cache.
func get(t testing.TB, ca *cache.Cache, key string, f cache.Freshness) cache.Result {
	t.Helper()
	r, err := ca.Get(testbed.Within(t, 30*time.Second), key, f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func snapshot(t testing.TB, ca *cache.Cache, f cache.Freshness) *cache.Snapshot {
	t.Helper()
	s, err := ca.Snapshot(testbed.Within(t, 30*time.Second), f)
	if err != nil {
		t.Fatal(err)
	}
	return s
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
