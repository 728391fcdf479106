package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// A member falls silent while eight callers read and write. A read takes well under half a
// second and fails nowhere, and a write that begins after that is served elsewhere. The
// suspicion, which takes a second and a half, is not waited for. TestHalfDead has the rest.
func TestSilentMemberCostsReadsLittle(t *testing.T) {
	t.Parallel()
	p := startProxied(t)
	victim := p.aFollower(t)
	c := connect(t, etcd.Config{Endpoints: p.endpoints(victim), Coalesce: etcd.CoalesceOff})
	read := func() error { _, err := c.Get(within(t, 20*time.Second), etcd.GetRequest{Key: "quiet"}); return err }
	p.useAll(t, func() { _ = read() })
	p.proxies[victim].Set(etcdtest.BothWays, etcdtest.Fault{Stall: true})
	began := time.Now()
	var calls sync.WaitGroup
	var mu sync.Mutex
	worst := time.Duration(0)
	for range 8 {
		calls.Go(func() {
			for time.Since(began) < 1200*time.Millisecond {
				asked := time.Now()
				if err := read(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				worst = max(worst, time.Since(asked))
				mu.Unlock()
			}
		})
	}
	eventually(t, "a read to go elsewhere", func() bool { return c.Stats().Hedges > 0 })
	for time.Since(began) < 1200*time.Millisecond {
		asked := time.Now()
		if _, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: ownKeys(t) + "k"}); err != nil {
			t.Error(err)
		}
		if took := time.Since(asked); took > raceFactor*400*time.Millisecond {
			t.Errorf("a write took %v", took)
		}
	}
	calls.Wait()
	t.Logf("the slowest read took %v; %d hedges", worst, c.Stats().Hedges)
	if worst > raceFactor*600*time.Millisecond {
		t.Errorf("the slowest read took %v", worst)
	}
}

// With HedgeReads, many more reads than there is a budget for meet a member that has fallen
// silent. Those that are not hedged early become late, and are answered elsewhere then.
func TestHedgeReadsBeyondTheirBudget(t *testing.T) {
	t.Parallel()
	p := startProxied(t)
	victim := p.aFollower(t)
	c := connect(t, etcd.Config{Endpoints: p.endpoints(victim), Coalesce: etcd.CoalesceOff, HedgeReads: 50 * time.Millisecond})
	read := func() error { _, err := c.Get(within(t, 8*time.Second), etcd.GetRequest{Key: "quiet"}); return err }
	p.useAll(t, func() { _ = read() })
	p.proxies[victim].Set(etcdtest.BothWays, etcdtest.Fault{Stall: true})
	var calls sync.WaitGroup
	var failed atomic.Int32
	for range 900 {
		calls.Go(func() {
			if err := read(); err != nil && failed.Add(1) == 1 {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	t.Logf("%d hedges", c.Stats().Hedges)
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of 900 reads failed", n)
	}
	if n := c.Stats().Hedges; n < 100 {
		t.Errorf("%d hedges: the member was not silent, or the budget not used", n)
	}
}

// A cluster that is healthy, and one that is slow as a whole, gets a read in fifty more, and
// twenty, at the most.
func TestSlowClusterIsHedgedLittle(t *testing.T) {
	t.Parallel()
	const callers, each = 20, 20
	const healthy = 10 * callers * each
	p := startProxied(t)
	c := connect(t, etcd.Config{Endpoints: p.endpoints(p.aFollower(t)), Coalesce: etcd.CoalesceOff})
	read := func() error { _, err := c.Get(within(t, 20*time.Second), etcd.GetRequest{Key: "quiet"}); return err }
	p.useAll(t, func() { _ = read() })
	for range healthy {
		if err := read(); err != nil {
			t.Error(err)
		}
	}
	if more := c.Stats().Hedges; more > 20+healthy/50 {
		t.Errorf("%d reads more for %d of a healthy cluster", more, healthy)
	}
	for _, proxy := range p.proxies {
		proxy.Set(etcdtest.ToClient, etcdtest.Fault{Delay: 200 * time.Millisecond})
	}
	before := c.Stats().Hedges
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() {
			for range each {
				if err := read(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	calls.Wait()
	if more := c.Stats().Hedges - before; more > 20+callers*each/50 {
		t.Errorf("%d reads more for %d", more, callers*each)
	}
}

// pausedReport is what the client's process of TestPausedClient has seen.
type pausedReport struct {
	Reads, Hedges, Failures int64
	Unfit                   string // endpoints that are not ready
}

// A process that stands still for two seconds holds no member for silent afterwards: no time
// counts that the client has not lived through.
func TestPausedClient(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	child := testbed.StartChild(t, "paused", cluster.Endpoints()...)
	reports := json.NewDecoder(child.Out)
	// report has the client tell what it has seen by now.
	report := func() (r pausedReport) {
		t.Helper()
		child.Go(t)
		if err := reports.Decode(&r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	eventually(t, "the client to read", func() bool { return report().Reads > 500 })
	// A machine that is busy lets members wait for their turn, and then reads go elsewhere as well.
	// If the pause counted, all 16 reads that it meets would, each time: so the best pause tells.
	fewest := int64(math.MaxInt64)
	for range 4 {
		before := report()
		child.Stop(t)
		time.Sleep(2 * time.Second) // the pause itself
		child.Continue(t)
		eventually(t, "the client to read on", func() bool { return report().Reads > before.Reads+1000 })
		after := report()
		hedges, failures := after.Hedges-before.Hedges, after.Failures-before.Failures
		if failures > hedges {
			t.Errorf("before the pause %+v, after it %+v", before, after)
		}
		t.Logf("%d reads went elsewhere after the pause; %s", hedges, after.Unfit)
		if after.Unfit == "" {
			fewest = min(fewest, hedges)
		}
	}
	if fewest > 8 {
		t.Errorf("after each pause members were held for silent, or %d reads and more went elsewhere", fewest)
	}
}

// pausedClient is the child process of TestPausedClient. It reads until its parent is gone,
// and reports when asked.
func pausedClient(ctx context.Context, endpoints []string) error {
	c, err := etcd.New(etcd.Config{Endpoints: endpoints, Coalesce: etcd.CoalesceOff})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for range 16 {
		go func() {
			for ctx.Err() == nil {
				_, _ = c.Get(ctx, etcd.GetRequest{Key: "quiet"})
			}
		}()
	}
	say := json.NewEncoder(os.Stdout)
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		s := c.Stats()
		r := pausedReport{Reads: s.Attempts, Hedges: s.Hedges, Failures: s.Failures}
		for _, e := range s.Endpoints {
			if e.State != etcd.EndpointReady {
				r.Unfit += fmt.Sprint(e.Endpoint, " is ", e.State, " ")
			}
		}
		if say.Encode(r) != nil {
			break
		}
	}
	return nil
}
