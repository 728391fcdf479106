package sequence

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
	"silly.store/etcd/sequence"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/sequence.")...))
}

func connect(t *testing.T, config etcd.Config, endpoints ...string) *etcd.Client {
	t.Helper()
	config.Endpoints = endpoints
	return testbed.Connect(t, config)
}

func open(t *testing.T, c *etcd.Client, block int) *sequence.Sequence {
	t.Helper()
	s, err := sequence.New(c, sequence.Config{Name: "seq", Block: block})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func next(t *testing.T, s *sequence.Sequence) int64 {
	t.Helper()
	n, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// counted returns a client of a server of the test's own, and a count of its requests.
func counted(t *testing.T) (*etcd.Client, *atomic.Int64) {
	t.Helper()
	requests := new(atomic.Int64)
	return connect(t, etcd.Config{Hooks: etcd.Hooks{Attempt: func(context.Context, etcd.AttemptInfo) func(etcd.AttemptResult) {
		requests.Add(1)
		return nil
	}}}, etcdtest.Start(t).Endpoints()...), requests
}

// TestBlocks: numbers begin at 1, grow, and are those of whole blocks, taken in turn.
func TestBlocks(t *testing.T) {
	t.Parallel()
	c, requests := counted(t)
	a, b := open(t, c, 3), open(t, c, 3)
	var got []int64
	for _, s := range []*sequence.Sequence{a, a, b, a, a, b, b, b} {
		got = append(got, next(t, s))
	}
	if want := []int64{1, 2, 4, 3, 7, 5, 6, 10}; !slices.Equal(got, want) {
		t.Errorf("%d, want %d", got, want)
	}
	if n := requests.Load(); n != 4 {
		t.Errorf("%d requests for four blocks", n)
	}
}

// TestSharedBlock: callers that come at the same time share one request.
func TestSharedBlock(t *testing.T) {
	t.Parallel()
	c, requests := counted(t)
	s := open(t, c, 64)
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			if n, err := s.Next(t.Context()); err != nil || n > 64 {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	callers.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestUniqueUnderFaults: however many callers and clients there are, and whatever is
// cut, no number is given twice, and those of a Sequence grow.
func TestUniqueUnderFaults(t *testing.T) {
	t.Parallel()
	const clients, callers, each = 3, 8, 150
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	var (
		mu   sync.Mutex
		seen = make(map[int64]bool)
		all  sync.WaitGroup
	)
	for range clients {
		sq := open(t, connect(t, etcd.Config{}, proxy.Endpoint()), 7)
		for range callers {
			all.Go(func() {
				last := int64(0)
				for range each {
					n, err := sq.Next(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if seen[n] || n <= last {
						t.Errorf("%d after %d, given before: %v", n, last, seen[n])
					}
					seen[n] = true
					mu.Unlock()
					last = n
				}
			})
		}
	}
	endCuts := testbed.Cuts(proxy, 10*time.Millisecond)
	all.Wait()
	endCuts()
	if len(seen) != clients*callers*each {
		t.Errorf("%d numbers", len(seen))
	}
}

// TestReset: a Sequence that finds its key re-created, or older than it was, gives out
// nothing any more.
func TestReset(t *testing.T) {
	t.Parallel()
	for name, reset := range map[string]func(*testing.T, *etcd.Client){
		"deleted": func(*testing.T, *etcd.Client) {},
		"re-created by another": func(t *testing.T, c *etcd.Client) {
			other := open(t, c, 1)
			for range 5 {
				next(t, other)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, etcd.Config{}, etcdtest.Start(t).Endpoints()...)
			s := open(t, c, 1)
			next(t, s)
			next(t, s)
			if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: "seq"}); err != nil {
				t.Fatal(err)
			}
			reset(t, c)
			for range 2 {
				if n, err := s.Next(t.Context()); !errors.Is(err, sequence.ErrReset) {
					t.Errorf("%d, %v", n, err)
				}
			}
		})
	}
}

// TestMismatch: another block size, or a key that is something else, is refused and not
// changed.
func TestMismatch(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{}, etcdtest.Start(t).Endpoints()...)
	next(t, open(t, c, 5))
	before, err := c.Get(t.Context(), etcd.GetRequest{Key: "seq"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t, c, 6).Next(t.Context())
	if !errors.Is(err, sequence.ErrConfigMismatch) || !strings.Contains(err.Error(), `its key holds "5", Config.Block is 6`) {
		t.Error(err)
	}
	after, err := c.Get(t.Context(), etcd.GetRequest{Key: "seq"})
	if err != nil || after.KVs[0].ModRevision != before.KVs[0].ModRevision {
		t.Errorf("%+v, %v", after, err)
	}
}

// TestContext: a caller that waits for the block of another, and one whose own request
// hangs, are let go when their contexts end; then the next caller takes a block.
func TestContext(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	sq := open(t, connect(t, etcd.Config{}, proxy.Endpoint()), 1)
	next(t, sq)
	proxy.Set(etcdtest.BothWays, etcdtest.Fault{Stall: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			if n, err := sq.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	callers.Wait()
	proxy.Heal()
	if n := next(t, sq); n < 2 {
		t.Errorf("%d again", n)
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{}, "127.0.0.1:1")
	for field, test := range map[string]struct {
		c      *etcd.Client
		config sequence.Config
	}{
		"client":       {nil, sequence.Config{Name: "seq"}},
		"Config.Name":  {c, sequence.Config{}},
		"Config.Block": {c, sequence.Config{Name: "seq", Block: -1}},
		"1048577":      {c, sequence.Config{Name: "seq", Block: sequence.MaxBlock + 1}},
	} {
		if _, err := sequence.New(test.c, test.config); !errors.Is(err, etcd.ErrInvalidRequest) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	var none context.Context
	if _, err := open(t, c, 0).Next(none); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Errorf("no context: %v", err)
	}
}
