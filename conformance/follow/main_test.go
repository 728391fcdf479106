package follow

import (
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/follow"
	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// away makes a client behind a proxy.
func away(t testing.TB, s *etcdtest.Server) (*etcd.Client, *etcdtest.Proxy) {
	t.Helper()
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	return testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}), proxy
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
	step, err := f.Next(testbed.Within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return step
}

func compact(t testing.TB, c *etcd.Client, revision int64) {
	t.Helper()
	if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: revision, Physical: true}); err != nil {
		t.Fatal(err)
	}
}

func restart(t testing.TB, s *etcdtest.Server) {
	t.Helper()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
}
