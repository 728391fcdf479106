package group

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/group"
)

// settle is short, since no test has processes that start slowly.
const settle = 20 * time.Millisecond

// Members share the partitions by weight; a member that leaves hands its own to the others at
// once, and nothing is left in etcd when all have left.
func TestJoinAndLeave(t *testing.T) {
	t.Parallel()
	c, o, name := testbed.Connect(t, etcd.Config{}), newOwners(), testbed.OwnName(t)
	config := func(member string, weight int) group.Config {
		return group.Config{Name: name, Partitions: 12, Member: member, Weight: weight, Settle: settle}
	}
	a := o.join(t, config("a", 0))
	o.shares(t, map[string]int{"a": 12})
	b := o.join(t, config("b", 1))
	o.shares(t, map[string]int{"a": 6, "b": 6})
	heavy := o.join(t, config("heavy", 2))
	o.shares(t, map[string]int{"a": 3, "b": 3, "heavy": 6})
	testbed.Eventually(t, "the statistics", func() bool {
		n := heavy.Stats()
		return n.Members == 3 && n.Wanted == 6 && n.Owned == 6 && len(heavy.Owned()) == 6
	})
	if m := a.Members(); len(m) != 3 || m[2] != (group.Member{Name: "heavy", Weight: 2}) {
		t.Errorf("members %v", m)
	}
	if err := a.Leave(testbed.Within(t, testbed.Patience)); err != nil {
		t.Error(err)
	}
	o.shares(t, map[string]int{"b": 4, "heavy": 8})
	if err := a.Err(); !errors.Is(err, group.ErrLeft) {
		t.Errorf("after Leave: %v", err)
	}
	for _, g := range []*group.Group{b, heavy, a} {
		if err := g.Leave(testbed.Within(t, testbed.Patience)); err != nil {
			t.Error(err)
		}
	}
	o.check(t)
	resp, err := c.Get(t.Context(), etcd.GetRequest{Key: name, Prefix: true})
	if err != nil || resp.Count != 0 {
		t.Errorf("left: %v, %v", resp, err)
	}
}

// A member that loses its lease loses its partitions to the others, and comes back.
func TestLeaseRevoked(t *testing.T) {
	t.Parallel()
	o, name := newOwners(), testbed.OwnName(t)
	co := coordinate(t, testbed.Connect(t, etcd.Config{}))
	config := group.Config{Name: name, Partitions: 8, Member: "a", Settle: settle}
	o.joinOn(t, co, config)
	config.Member = "b"
	o.join(t, config)
	for range 3 {
		o.shares(t, map[string]int{"a": 4, "b": 4})
		s, err := co.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := testbed.Connect(t, etcd.Config{}).Revoke(t.Context(), etcd.RevokeRequest{ID: s.Lease().ID}); err != nil {
			t.Fatal(err)
		}
		<-s.Done()
	}
	o.shares(t, map[string]int{"a": 4, "b": 4})
}

// When a partition's key is deleted, its owner loses it: the context ends and
// transactions are refused.
func TestPartitionDeleted(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	type call struct {
		p   *group.Partition
		ctx context.Context
	}
	calls := make(chan call, 10)
	g, err := group.Join(testbed.Within(t, testbed.Patience), coordinate(t, testbed.Connect(t, etcd.Config{})),
		group.Config{Name: name, Partitions: 1, Settle: -1},
		func(ctx context.Context, p *group.Partition) error {
			calls <- call{p, ctx}
			<-ctx.Done()
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Leave(testbed.Ending(t)) })
	first := <-calls
	write := etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: name + "-written"}}}
	if _, err := first.p.Txn(t.Context(), write); err != nil {
		t.Errorf("a Txn of the owner: %v", err)
	}
	if resp, err := c.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{first.p.Guard()}}); err != nil || !resp.Succeeded {
		t.Errorf("the guard: %v, %v", resp, err)
	}
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: name + "/p/", Prefix: true}); err != nil {
		t.Fatal(err)
	}
	second := <-calls
	if second.p.Token() <= first.p.Token() {
		t.Errorf("token %d after %d", second.p.Token(), first.p.Token())
	}
	if cause := context.Cause(first.ctx); !errors.Is(cause, concurrency.ErrLockLost) {
		t.Errorf("the first call's context: %v", cause)
	}
	if _, err := first.p.Txn(t.Context(), write); !errors.Is(err, concurrency.ErrNotHeld) {
		t.Errorf("a Txn of the first: %v", err)
	}
}

// Deleting a member's key does not move its partitions: the key is back before the change
// has settled.
func TestMemberDeleted(t *testing.T) {
	t.Parallel()
	c, o, name := testbed.Connect(t, etcd.Config{}), newOwners(), testbed.OwnName(t)
	config := group.Config{Name: name, Partitions: 8, Member: "a", Settle: 2 * time.Second}
	o.join(t, config)
	o.shares(t, map[string]int{"a": 8})
	before := o.moves
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: name + "/m/", Prefix: true}); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "the member to be back", func() bool {
		resp, err := c.Get(t.Context(), etcd.GetRequest{Key: name + "/m/", Prefix: true})
		return err == nil && resp.Count == 1
	})
	config.Member = "b"
	o.join(t, config)
	o.shares(t, map[string]int{"a": 4, "b": 4})
	if moved := o.moves - before; moved != 4 {
		t.Errorf("%d partitions moved", moved)
	}
	o.check(t)
}

// A name is one member's. Join waits for it until its context ends, and takes it over.
func TestMemberExists(t *testing.T) {
	t.Parallel()
	o, name := newOwners(), testbed.OwnName(t)
	config := group.Config{Name: name, Partitions: 4, Member: "a", Settle: settle}
	first := o.join(t, config)
	o.shares(t, map[string]int{"a": 4})
	co := coordinate(t, testbed.Connect(t, etcd.Config{}))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := group.Join(ctx, co, config, o.own("a"))
	if !errors.Is(err, group.ErrMemberExists) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second: %v", err)
	}
	joined := make(chan *group.Group)
	go func() {
		g, err := group.Join(testbed.Within(t, testbed.Patience), co, config, o.own("a"))
		if err != nil {
			t.Error(err)
		}
		joined <- g
	}()
	if err := first.Leave(testbed.Within(t, testbed.Patience)); err != nil {
		t.Error(err)
	}
	second := <-joined
	o.shares(t, map[string]int{"a": 4})
	if err := second.Leave(testbed.Within(t, testbed.Patience)); err != nil {
		t.Error(err)
	}
	o.check(t)
}

// A function that returns early is called again; one that ignores its context keeps its
// partition, and Leave says that it goes on.
func TestFunction(t *testing.T) {
	t.Parallel()
	calls, release := make(chan int, 100), make(chan struct{})
	g, err := group.Join(testbed.Within(t, testbed.Patience), coordinate(t, testbed.Connect(t, etcd.Config{})),
		group.Config{Name: testbed.OwnName(t), Partitions: 1, Settle: -1},
		func(_ context.Context, p *group.Partition) error {
			calls <- p.Index
			if len(calls) < 3 {
				return errors.New("no luck")
			}
			<-release
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "three calls", func() bool { return len(calls) == 3 })
	if n := g.Stats(); n.Failed != 2 {
		t.Errorf("%+v", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := g.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Leave while it works: %v", err)
	}
	if len(g.Owned()) != 1 {
		t.Error("the partition was given up")
	}
	close(release)
	if err := g.Leave(testbed.Within(t, testbed.Patience)); err != nil {
		t.Errorf("Leave: %v", err)
	}
}

// The end of the coordinator ends the membership.
func TestCoordinatorCloses(t *testing.T) {
	t.Parallel()
	o := newOwners()
	co := coordinate(t, testbed.Connect(t, etcd.Config{}))
	g := o.joinOn(t, co, group.Config{Name: testbed.OwnName(t), Partitions: 4, Member: "a", Settle: settle})
	o.shares(t, map[string]int{"a": 4})
	if err := co.Close(testbed.Within(t, testbed.Patience)); err != nil {
		t.Fatal(err)
	}
	<-g.Done()
	if err := g.Err(); !errors.Is(err, concurrency.ErrClosed) {
		t.Errorf("Err: %v", err)
	}
	if err := g.Leave(t.Context()); !errors.Is(err, concurrency.ErrClosed) {
		t.Errorf("Leave: %v", err)
	}
	if n := o.counts(); len(n) > 0 {
		t.Errorf("owned: %v", n)
	}
}

// What cannot be meant is refused, and the error says what to do.
func TestBadInput(t *testing.T) {
	t.Parallel()
	co, f := coordinate(t, testbed.Connect(t, etcd.Config{})), newOwners().own("a")
	for _, config := range []group.Config{
		{}, {Name: "a"}, {Name: "a/", Partitions: 1}, {Name: "a", Partitions: 4097}, {Name: "a", Partitions: -1},
		{Name: "a", Partitions: 1, Member: "x/y"}, {Name: "a", Partitions: 1, Weight: -1}, {Name: "a", Partitions: 1, Weight: 1001},
		{Name: "a", Partitions: 1, Settle: 5},
	} {
		if _, err := group.Join(t.Context(), co, config, f); !errors.Is(err, etcd.ErrInvalidConfig) {
			t.Errorf("%+v: %v", config, err)
		}
	}
	good := group.Config{Name: "a", Partitions: 1}
	if _, err := group.Join(t.Context(), nil, good, f); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Errorf("no coordinator: %v", err)
	}
	if _, err := group.Join(t.Context(), co, good, nil); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Errorf("no function: %v", err)
	}
}

// A panic of the function, and the end of its goroutine, are errors that it returns.
func TestFunctionMayPanic(t *testing.T) {
	t.Parallel()
	log := &lockedBuffer{}
	calls, again := 0, make(chan struct{})
	g, err := group.Join(testbed.Within(t, testbed.Patience), coordinate(t, testbed.Connect(t, etcd.Config{})),
		group.Config{Name: testbed.OwnName(t), Partitions: 1, Settle: -1, Logger: slog.New(slog.NewTextHandler(log, nil))},
		func(ctx context.Context, _ *group.Partition) error {
			switch calls++; calls {
			case 1:
				panic("no luck")
			case 2:
				runtime.Goexit()
			}
			close(again)
			<-ctx.Done()
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	<-again
	if n := g.Stats(); n.Failed != 2 || n.Owned != 1 {
		t.Errorf("%+v", n)
	}
	if err := g.Leave(testbed.Within(t, testbed.Patience)); err != nil {
		t.Errorf("Leave: %v", err)
	}
	for _, text := range []string{"the function has panicked", "TestFunctionMayPanic", "the function of Join panicked at group_test.go:", "the function of Join ended its goroutine"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log does not say %q:\n%s", text, log.String())
		}
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
