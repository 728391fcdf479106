package client

import (
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Members of an idle watch fall silent one after the other, or two at once. The watch
// leaves each of them soon, though nothing is written and no call is made, and misses
// nothing.
func TestIdleWatchLeavesSilentMembers(t *testing.T) {
	t.Parallel()
	cluster := startProxied(t)
	// A member counts as silent after 1.5 s to 1.75 s, and its connection as dead after ten. The
	// rest is for a busy machine.
	const limit = 4 * time.Second
	for name, leave := range map[string]func(t *testing.T, i *idleWatch){
		"one after the other": func(t *testing.T, i *idleWatch) {
			for range 2 {
				i.leaves(t, limit, i.w.State().Endpoint)
			}
		},
		"two at once": func(t *testing.T, i *idleWatch) {
			first := i.w.State().Endpoint
			for other := range i.proxies {
				if other != first {
					i.leaves(t, 2*limit, first, other) // the other one may be tried first
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := &idleWatch{proxies: make(map[string]*etcdtest.Proxy), silent: make(map[string]bool)}
			var endpoints []string
			for _, m := range cluster.Members() {
				p := etcdtest.StartProxy(t, m.Endpoints()[0])
				i.proxies[p.Endpoint()] = p
				endpoints = append(endpoints, p.Endpoint())
			}
			key := ownKeys(t)
			direct := connect(t, etcd.Config{Endpoints: cluster.Endpoints()})
			i.w = watch(t, connect(t, etcd.Config{Endpoints: endpoints}), etcd.WatchRequest{Key: key})
			put(t, direct, key, "1")
			read(t, i.w)
			leave(t, i)
			put(t, direct, key, "2")
			if got := text(read(t, i.w).Events[0], key); got != "PUT =2" {
				t.Errorf("event %s", got)
			}
		})
	}
}

// idleWatch is a watch whose client reaches each member through a proxy.
type idleWatch struct {
	w       *etcd.Watcher
	proxies map[string]*etcdtest.Proxy // by endpoint
	silent  map[string]bool
}

// leaves has members fall silent, and waits until another one serves the watch.
func (i *idleWatch) leaves(t *testing.T, limit time.Duration, members ...string) {
	t.Helper()
	// Without traffic for a while: etcd would count another PING against the client.
	<-time.After(1500 * time.Millisecond)
	began := time.Now()
	for _, m := range members {
		i.silent[m] = true
		i.proxies[m].Set(etcdtest.BothWays, etcdtest.Fault{Discard: true})
	}
	eventually(t, "another member", func() bool {
		s := i.w.State()
		return s.Err == nil && !i.silent[s.Endpoint]
	})
	took := time.Since(began)
	t.Logf("it took %v", took)
	if took > limit {
		t.Errorf("the watch left silent members after %v, want at most %v", took, limit)
	}
}
