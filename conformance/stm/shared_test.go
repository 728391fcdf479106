package stm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/stm"
)

// inFlight is how many commits are sent before others wait for their answers.
const inFlight = 16

// commits holds back the commits of a client that are sent alone, until it is opened, and
// notes how many of them each other request carries.
type commits struct {
	open   chan struct{}
	held   atomic.Int64
	mu     sync.Mutex // guards shared
	shared []int
}

func (h *commits) attempt(_ context.Context, a etcd.AttemptInfo) func(etcd.AttemptResult) {
	switch {
	case a.Op != "Txn":
	case a.Calls > 1:
		h.mu.Lock()
		h.shared = append(h.shared, a.Calls)
		h.mu.Unlock()
	default:
		h.held.Add(1)
		<-h.open
	}
	return nil
}

// waited is transactions of one client whose commits have waited for others', all at the same
// time.
type waited struct {
	at      string // the prefix of their keys
	shared  []int  // how many of them each request carried
	results []*stm.Result
	errs    []error
}

// waiting runs n transactions, each by f, whose commits wait for others'. Meanwhile is called
// while they do.
func waiting(t *testing.T, s *etcdtest.Server, n int, f func(tx *stm.Tx, at string, i int) error, meanwhile func(at string)) *waited {
	t.Helper()
	for try := 0; ; try++ {
		w := &waited{at: fmt.Sprint("try", try, "/"), results: make([]*stm.Result, n), errs: make([]error, n)}
		if w.wait(t, s, f, meanwhile) {
			return w
		}
	}
}

// wait returns false when a commit has not waited: requests that are held for half a second
// count as stalled, and others go on.
func (w *waited) wait(t *testing.T, s *etcdtest.Server, f func(tx *stm.Tx, at string, i int) error, meanwhile func(at string)) bool {
	t.Helper()
	h := &commits{open: make(chan struct{})}
	release := sync.OnceFunc(func() { close(h.open) })
	defer release() // the client waits for its hooks when it is closed
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints(), Hooks: etcd.Hooks{Attempt: h.attempt}})
	var all sync.WaitGroup
	for i := range inFlight {
		all.Go(func() {
			if _, err := stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error {
				return increment(tx, fmt.Sprint(w.at, "first/", i))
			}); err != nil {
				t.Error(err)
			}
		})
	}
	testbed.Eventually(t, "commits fill the window", func() bool { return h.held.Load() == inFlight })
	for i := range w.errs {
		all.Go(func() {
			w.results[i], w.errs[i] = stm.Run(t.Context(), c, stm.Config{}, func(tx *stm.Tx) error { return f(tx, w.at, i) })
		})
	}
	wait := func() bool { return c.Stats().CallsWaiting == len(w.errs) }
	testbed.Eventually(t, "commits wait", func() bool { return wait() || h.passed() })
	meanwhile(w.at)
	together := wait()
	release()
	all.Wait()
	w.shared = h.shared
	return together
}

// passed reports whether a commit has not waited.
func (h *commits) passed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held.Load() > inFlight || len(h.shared) > 0
}

func nothing(string) {}

// TestSharedCommits: transactions over different keys that wait for others' commits share one.
// A conflict of one does not make the others run again.
func TestSharedCommits(t *testing.T) {
	t.Parallel()
	const n, conflicted = 20, 7
	s := etcdtest.Start(t)
	other := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	w := waiting(t, s, n, func(tx *stm.Tx, at string, i int) error {
		return increment(tx, fmt.Sprint(at, i))
	}, func(at string) { testbed.Put(t, other, fmt.Sprint(at, conflicted), "10") })
	if !slices.Equal(w.shared, []int{n}) {
		t.Errorf("requests that %v commits share", w.shared)
	}
	if err := errors.Join(w.errs...); err != nil {
		t.Fatal(err)
	}
	for i, result := range w.results {
		want, attempts := "1", 1
		if i == conflicted {
			want, attempts = "11", 2
		}
		kv := testbed.Get(t, other, fmt.Sprint(w.at, i))
		if string(kv.Value) != want || result.Attempts != attempts || result.Revision != kv.ModRevision {
			t.Errorf("%d: %+v, result %+v", i, kv, result)
		}
		if i != conflicted && result.Revision != w.results[0].Revision {
			t.Errorf("%d has revision %d, the first one %d", i, result.Revision, w.results[0].Revision)
		}
	}
}

// TestSharedCommitsDepend: two transactions, each of which writes what the other has read, do
// not share a commit, and one of them runs again.
func TestSharedCommitsDepend(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	w := waiting(t, s, 4, func(tx *stm.Tx, at string, i int) error {
		if i > 1 {
			return increment(tx, fmt.Sprint(at, "n/", i))
		}
		mine, theirs := fmt.Sprint(at, "set/", i), fmt.Sprint(at, "set/", 1-i) // at most one may be set
		if _, set, err := tx.Get(theirs); set || err != nil {
			return err
		}
		return tx.Put(etcd.PutRequest{Key: mine})
	}, nothing)
	if err := errors.Join(w.errs...); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.shared, []int{3}) {
		t.Errorf("requests that %v commits share", w.shared)
	}
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	if set := stored(t, c, w.at+"set/"); len(set) != 1 || w.results[0].Attempts+w.results[1].Attempts != 3 {
		t.Errorf("set: %q, after %d and %d attempts", set, w.results[0].Attempts, w.results[1].Attempts)
	}
}

// TestSharedCommitsBlind: two transactions that put one key without reading it share no commit,
// and both are applied.
func TestSharedCommitsBlind(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	w := waiting(t, s, 2, func(tx *stm.Tx, at string, i int) error {
		return tx.Put(etcd.PutRequest{Key: at + "blind", Value: []byte(strconv.Itoa(i))})
	}, nothing)
	if err := errors.Join(w.errs...); err != nil {
		t.Fatal(err)
	}
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	if kv := testbed.Get(t, c, w.at+"blind"); kv.Version != 2 || w.results[0].Revision == w.results[1].Revision {
		t.Errorf("%+v, put at %d and %d", kv, w.results[0].Revision, w.results[1].Revision)
	}
}

// TestSharedCommitsRefused: when etcd refuses one of the transactions, it alone fails.
func TestSharedCommitsRefused(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	w := waiting(t, s, 5, func(tx *stm.Tx, at string, i int) error {
		put := etcd.PutRequest{Key: fmt.Sprint(at, "n/", i)}
		if i == 2 {
			put.Lease = 77 // which does not exist
		}
		return tx.Put(put)
	}, nothing)
	for i, err := range w.errs {
		if refused := errors.Is(err, etcd.ErrLeaseNotFound); refused != (i == 2) || err != nil && !refused {
			t.Errorf("%d: %v", i, err)
		}
	}
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	if got := stored(t, c, w.at+"n/"); len(got) != 4 {
		t.Errorf("stored: %q", got)
	}
}

// TestUnsharedCommits: transactions share no commit where one is alone by its Config, where
// the client shares no request at all, and where it has a name: older etcd does not check
// permissions inside a transaction of transactions (GHSA-rfx7-8w68-q57q).
func TestUnsharedCommits(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	for name, test := range map[string]struct {
		client etcd.Config
		run    stm.Config
	}{
		"alone":       {run: stm.Config{Alone: true}},
		"attempts":    {run: stm.Config{Attempts: 3}},
		"off":         {client: etcd.Config{Coalesce: etcd.CoalesceOff}},
		"a name":      {client: etcd.Config{Credentials: nobody}},
		"large reads": {client: etcd.Config{MaxResponseBytes: 1 << 20}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = inFlight + 8
			var sent atomic.Int64
			open := make(chan struct{})
			release := sync.OnceFunc(func() { close(open) })
			defer release()
			test.client.Endpoints = s.Endpoints()
			test.client.Hooks.Attempt = func(_ context.Context, a etcd.AttemptInfo) func(etcd.AttemptResult) {
				if a.Op == "Txn" {
					sent.Add(1)
					<-open
				}
				return nil
			}
			c := testbed.Connect(t, test.client)
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					if _, err := stm.Run(t.Context(), c, test.run, func(tx *stm.Tx) error {
						return tx.Put(etcd.PutRequest{Key: fmt.Sprint(name, "/", i)})
					}); err != nil {
						t.Error(err)
					}
				})
			}
			testbed.Eventually(t, "each commit is sent alone", func() bool { return sent.Load() == n })
			release()
			all.Wait()
		})
	}
}

// nobody gives a token that a server without authentication ignores.
func nobody(context.Context) (etcd.Credentials, error) { return etcd.Credentials{Token: "x"}, nil }
