package client

import (
	"context"
	"iter"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// crowd is a client behind a proxy whose calls should share a request. hold makes
// the proxy hold up traffic until a call has to wait, queue adds calls behind that
// one, and release lets all of them go.
type crowd struct {
	*etcd.Client
	t     *testing.T
	proxy *etcdtest.Proxy
	told  *attempts

	queued  int // calls that should be waiting
	fillers []<-chan error
	late    bool // a call that should be waiting is not
	met     bool // all calls that should wait do
}

// crowds makes crowds until in one of them all calls share a request. A client
// sends waiting calls after a while without answers, which on a slow machine may be
// before all calls have joined.
func crowds(t *testing.T, s *etcdtest.Server, config etcd.Config) iter.Seq[*crowd] {
	t.Helper()
	return func(yield func(*crowd) bool) {
		for range 20 {
			w := newCrowd(t, s, config)
			if !yield(w) || t.Failed() {
				return
			}
			if w.met {
				return
			}
			_ = w.Close()
		}
		t.Error("the calls never met: is the machine very slow?")
	}
}

func newCrowd(t *testing.T, s *etcdtest.Server, config etcd.Config) *crowd {
	t.Helper()
	w := &crowd{t: t, proxy: etcdtest.StartProxy(t, s.Endpoints()[0]), told: new(attempts)}
	config.Endpoints = []string{w.proxy.Endpoint()}
	config.Hooks.Attempt = w.told.attempt
	w.Client = connect(t, config)
	if err := w.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.told.forget()
	return w
}

// hold holds up the traffic in the given direction, and makes calls until one
// waits. They must be of the same kind as those that will be queued, because each
// kind has its own queue.
func (w *crowd) hold(ways etcdtest.Way, call func() error) {
	w.t.Helper()
	w.proxy.Set(ways, etcdtest.Fault{Stall: true})
	w.fillers = nil
	for w.queued = 0; w.queued == 0; w.queued = w.Stats().CallsWaiting {
		before := w.told.count()
		w.fillers = append(w.fillers, async(call))
		w.until("a call to be sent, or to wait", func() bool { return w.told.count() > before || w.Stats().CallsWaiting > 0 })
	}
}

// queue begins a call and returns when it waits behind the earlier ones.
func (w *crowd) queue(call func() error) <-chan error {
	w.t.Helper()
	w.late = w.late || w.Stats().CallsWaiting != w.queued
	w.queued++
	done := async(call)
	for end := time.Now().Add(5 * time.Second); !w.late && w.Stats().CallsWaiting != w.queued; {
		w.late = time.Now().After(end) || w.Stats().CallsWaiting == 0
		time.Sleep(20 * time.Microsecond)
	}
	return done
}

// together reports whether all calls wait; if not, another crowd must try.
func (w *crowd) together() bool {
	w.met = !w.late && w.Stats().CallsWaiting == w.queued
	if !w.met {
		w.release()
	}
	return w.met
}

// sent waits until the waiting calls have been sent as one request, although
// nothing was answered, and returns its attempt.
func (w *crowd) sent() *attempt {
	w.t.Helper()
	var found *attempt
	w.until("the calls to be sent", func() bool {
		found = w.told.find(func(a *attempt) bool { return a.Calls == w.queued })
		return found != nil
	})
	return found
}

func (w *crowd) release() { w.proxy.Heal() }

// made returns how many calls have been made while the traffic was held up: each waits, or is one
// of an attempt's.
func (w *crowd) made() int { return w.Stats().CallsWaiting + w.told.calls() }

// until is eventually, for conditions that take no time.
func (w *crowd) until(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(20 * time.Microsecond) {
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// attempts are a client's attempts, as reported by its hook.
type attempts struct {
	mu  sync.Mutex // guards the field below, and what the attempts hold
	all []*attempt
}

type attempt struct {
	etcd.AttemptInfo
	ended bool
	etcd.AttemptResult
}

func (as *attempts) attempt(_ context.Context, info etcd.AttemptInfo) func(etcd.AttemptResult) {
	a := &attempt{AttemptInfo: info}
	as.mu.Lock()
	defer as.mu.Unlock()
	as.all = append(as.all, a)
	return func(r etcd.AttemptResult) {
		as.mu.Lock()
		defer as.mu.Unlock()
		a.ended, a.AttemptResult = true, r
	}
}

func (as *attempts) forget() {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.all = nil
}

func (as *attempts) count() int {
	as.mu.Lock()
	defer as.mu.Unlock()
	return len(as.all)
}

// calls returns how many calls the attempts are of.
func (as *attempts) calls() (n int) {
	as.mu.Lock()
	defer as.mu.Unlock()
	for _, a := range as.all {
		n += a.Calls
	}
	return n
}

// find returns an attempt for which f holds, or nil.
func (as *attempts) find(f func(*attempt) bool) *attempt {
	as.mu.Lock()
	defer as.mu.Unlock()
	for _, a := range as.all {
		if f(a) {
			copied := *a
			return &copied
		}
	}
	return nil
}

// since returns the attempts after the first n.
func (as *attempts) since(n int) []attempt {
	as.mu.Lock()
	defer as.mu.Unlock()
	var list []attempt
	for _, a := range as.all[n:] {
		list = append(list, *a)
	}
	return list
}

// succeed waits for the calls, and reports each error.
func succeed(t *testing.T, calls ...<-chan error) {
	t.Helper()
	for _, done := range calls {
		if err := await(t, done); err != nil {
			t.Error(err)
		}
	}
}
