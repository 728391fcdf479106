package group

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/group"
	"silly.store/etcd/internal/leaktest"
)

// The server that most tests share: a child process, so that it does not run with the race
// detector. A test uses only names that begin with its ownName, and compacts nothing.
var shared *etcdtest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if endpoints := os.Getenv(childEnv); endpoints != "" {
		return childMain(endpoints)
	}
	var err error
	shared, err = etcdtest.NewProcess(etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = shared.Close() }()
	return leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/concurrency.", "silly.store/etcd/group.")...)
}

// connect makes a client that is closed with the test, of the shared server unless the
// configuration has endpoints.
func connect(t testing.TB, config etcd.Config) *etcd.Client {
	t.Helper()
	if config.Endpoints == nil {
		config.Endpoints = shared.Endpoints()
	}
	c, err := etcd.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// coordinate makes a coordinator that is closed with the test, if it can be.
func coordinate(t testing.TB, c *etcd.Client) *concurrency.Coordinator {
	t.Helper()
	co, err := concurrency.New(c, concurrency.Config{TTL: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = co.Close(soon(t)) })
	return co
}

// soon is a context for what a test cleans up.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// within is a context that ends a test's waits long before go test would.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

var runs atomic.Int64

// ownName is the name for one run of one test.
func ownName(t testing.TB) string {
	name := strings.NewReplacer("/", ".", " ", "-").Replace(t.Name())
	return fmt.Sprintf("%s.%d", name, runs.Add(1))
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// owners watches over who owns which partition.
type owners struct {
	mu     sync.Mutex // guards the fields below
	of     map[int]string
	tokens map[int]int64
	faults []string
	moves  int
}

func newOwners() *owners { return &owners{of: make(map[int]string), tokens: make(map[int]int64)} }

// own is a group's function: it notes what it has until its context ends.
func (o *owners) own(member string) func(context.Context, *group.Partition) error {
	return func(ctx context.Context, p *group.Partition) error {
		o.mu.Lock()
		if other, taken := o.of[p.Index]; taken {
			o.faults = append(o.faults, fmt.Sprintf("%s has partition %d, which is %s's", member, p.Index, other))
		}
		if p.Token() < o.tokens[p.Index] {
			o.faults = append(o.faults, fmt.Sprintf("the token of partition %d goes back", p.Index))
		}
		o.of[p.Index], o.tokens[p.Index] = member, p.Token()
		o.moves++
		o.mu.Unlock()
		<-ctx.Done()
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.of, p.Index)
		return nil
	}
}

// counts is how many partitions each member has.
func (o *owners) counts() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := make(map[string]int)
	for _, member := range o.of {
		n[member]++
	}
	return n
}

func (o *owners) check(t testing.TB) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, fault := range o.faults {
		t.Error(fault)
	}
}

// shares waits until the members have so many partitions.
func (o *owners) shares(t testing.TB, want map[string]int) {
	t.Helper()
	eventually(t, fmt.Sprint(want), func() bool {
		n := o.counts()
		if len(n) != len(want) {
			return false
		}
		for member, share := range want {
			if n[member] != share {
				return false
			}
		}
		return true
	})
}

// join makes a member on its own client. It leaves with the test.
func (o *owners) join(t testing.TB, config group.Config) *group.Group {
	t.Helper()
	return o.joinOn(t, coordinate(t, connect(t, etcd.Config{})), config)
}

func (o *owners) joinOn(t testing.TB, co *concurrency.Coordinator, config group.Config) *group.Group {
	t.Helper()
	g, err := group.Join(within(t, patience), co, config, o.own(config.Member))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Leave(soon(t)) })
	return g
}
