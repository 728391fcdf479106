package client

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// proxied is a cluster whose members a client reaches through proxies.
type proxied struct {
	*etcdtest.Cluster
	proxies map[*etcdtest.Server]*etcdtest.Proxy
}

func startProxied(t *testing.T) *proxied {
	t.Helper()
	p := &proxied{
		etcdtest.StartCluster(t, etcdtest.ClusterConfig{PeerProxies: true, Config: etcdtest.Config{
			Heartbeat: 50 * time.Millisecond, Election: 500 * time.Millisecond, QuotaBytes: 8e9,
		}}),
		make(map[*etcdtest.Server]*etcdtest.Proxy),
	}
	for _, m := range p.Members() {
		p.proxies[m] = etcdtest.StartProxy(t, m.Endpoints()[0])
	}
	return p
}

// endpoints returns the proxies' endpoints, that of first before the others.
func (p *proxied) endpoints(first *etcdtest.Server) []string {
	all := []string{p.proxies[first].Endpoint()}
	for _, m := range p.Members() {
		if m != first {
			all = append(all, p.proxies[m].Endpoint())
		}
	}
	return all
}

func (p *proxied) theLeader(t *testing.T) *etcdtest.Server {
	t.Helper()
	leader, err := p.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return leader
}

func (p *proxied) aFollower(t *testing.T) *etcdtest.Server {
	t.Helper()
	leader := p.theLeader(t)
	for _, m := range p.Members() {
		if m != leader {
			return m
		}
	}
	return nil
}

// ready waits until every member serves.
func (p *proxied) ready(t *testing.T) {
	t.Helper()
	for _, m := range p.Members() {
		if err := m.Ready(within(t, 30*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
}

// useAll makes calls until each member has received one.
func (p *proxied) useAll(t *testing.T, call func()) {
	t.Helper()
	before := make(map[*etcdtest.Proxy]int64)
	for _, proxy := range p.proxies {
		before[proxy] = proxy.Carried(etcdtest.ToClient)
	}
	const answer = 100 // bytes; more than a new connection sends without a request
	eventually(t, "each member to be used", func() bool {
		call()
		for proxy, carried := range before {
			if proxy.Carried(etcdtest.ToClient) < carried+answer {
				return false
			}
		}
		return true
	})
}

// halfDead is a state that a member can be in while a majority lives.
type halfDead struct {
	name   string
	leader bool // the state hits the leader
	begin  func(t *testing.T, p *proxied, victim *etcdtest.Server) error
	end    func(p *proxied, victim *etcdtest.Server) error
}

// slowReads is how many reads of one caller may be slow: the one that finds the
// member silent, and if a leader ends also those that wait for the next leader.
func (h *halfDead) slowReads() int {
	if h.leader {
		return 3
	}
	return 1
}

func healProxy(p *proxied, victim *etcdtest.Server) error {
	p.proxies[victim].Heal()
	return nil
}

func onProxy(ways etcdtest.Way, f etcdtest.Fault) func(*testing.T, *proxied, *etcdtest.Server) error {
	return func(_ *testing.T, p *proxied, victim *etcdtest.Server) error {
		p.proxies[victim].Set(ways, f)
		return nil
	}
}

func kill(_ *testing.T, _ *proxied, victim *etcdtest.Server) error { return victim.Kill() }
func stop(_ *testing.T, _ *proxied, victim *etcdtest.Server) error { return victim.Stop() }
func restart(_ *proxied, victim *etcdtest.Server) error            { return victim.Restart() }
func proceed(_ *proxied, victim *etcdtest.Server) error            { return victim.Continue() }

func isolate(t *testing.T, p *proxied, victim *etcdtest.Server) error {
	return p.Isolate(t.Context(), victim)
}

func join(p *proxied, _ *etcdtest.Server) error {
	p.Heal()
	return nil
}

var halfDeads = []halfDead{
	{name: "killed", begin: kill, end: restart},
	{name: "leader killed", leader: true, begin: kill, end: restart},
	{name: "stopped", begin: stop, end: proceed},
	{name: "leader stopped", leader: true, begin: stop, end: proceed},
	{name: "black hole", begin: onProxy(etcdtest.BothWays, etcdtest.Fault{Discard: true}), end: healProxy},
	{name: "black hole to the client", begin: onProxy(etcdtest.ToClient, etcdtest.Fault{Discard: true}), end: healProxy},
	{name: "stalled", begin: onProxy(etcdtest.BothWays, etcdtest.Fault{Stall: true}), end: healProxy},
	// Its keep-alive works: the only symptom is that requests wait.
	{name: "stuck", begin: onProxy(etcdtest.ToServer, etcdtest.Fault{DiscardRequests: true}), end: healProxy},
	{name: "silent", begin: func(_ *testing.T, p *proxied, victim *etcdtest.Server) error {
		p.proxies[victim].Silence(true)
		p.proxies[victim].Reset()
		return nil
	}, end: healProxy},
	// At first it assumes that there is a leader, then it knows none.
	{name: "in a minority", begin: isolate, end: join},
	{name: "leader in a minority", leader: true, begin: isolate, end: join},
	{name: "defragmenting", begin: defragment, end: func(*proxied, *etcdtest.Server) error { return nil }},
}

// defragment makes a database whose defragmentation takes a while, and starts it.
func defragment(t *testing.T, p *proxied, victim *etcdtest.Server) error {
	c := connect(t, etcd.Config{Endpoints: p.Endpoints()})
	megabytes := 50
	if *slow {
		megabytes = 500
	}
	value := []byte(strings.Repeat("v", 1<<20))
	for i := range megabytes {
		if _, err := c.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprint("large/", i), Value: value}); err != nil {
			return err
		}
	}
	maintenance := pb.NewMaintenanceClient(official(t, victim))
	done := make(chan struct{})
	go func() {
		defer close(done)
		began := time.Now()
		if _, err := maintenance.Defragment(context.Background(), &pb.DefragmentRequest{}); err != nil {
			t.Errorf("defragmenting: %v", err)
		}
		t.Logf("%d MB took %v", megabytes, time.Since(began))
	}()
	t.Cleanup(func() { <-done })
	return nil
}

// Whatever happens to one member, a read with a context of 5 s succeeds, both on an
// existing client and on a new one. A write either succeeds or is reported as
// unknown.
func TestHalfDeadMember(t *testing.T) {
	t.Parallel()
	p := startProxied(t)
	for _, h := range halfDeads {
		t.Run(h.name, func(t *testing.T) {
			p.ready(t)
			victim := p.aFollower(t)
			if h.leader {
				victim = p.theLeader(t)
			}
			c := connect(t, etcd.Config{Endpoints: p.endpoints(victim)})
			key := ownKeys(t)
			put(t, c, key, "v")
			p.useAll(t, func() { get(t, c, etcd.GetRequest{Key: key}) })
			if err := h.begin(t, p, victim); err != nil {
				t.Fatal(err)
			}
			load := newHalfDeadLoad(key)
			load.run(t, c)
			late := newHalfDeadLoad(key)
			late.run(t, connect(t, etcd.Config{Endpoints: p.endpoints(victim)}))
			if load.slowReads > h.slowReads() || late.slowReads > 0 {
				t.Errorf("one reader had %d slow reads, one of a new client %d", load.slowReads, late.slowReads)
			}
			t.Logf("slowest read %v of %d, slowest write %v of %d (%d unknown); of a new client %v and %v",
				load.slowestRead, load.reads.Load(), load.slowestWrite, load.writes, load.unknown, late.slowestRead, late.slowestWrite)
			if err := h.end(p, victim); err != nil {
				t.Fatal(err)
			}
			p.ready(t)
			load.checkVersion(t, c)
			late.checkVersion(t, c)
		})
	}
}

// halfDeadLoad reads from several goroutines and writes from one.
type halfDeadLoad struct {
	key   string // is read
	write string // is written

	reads           atomic.Int64
	writes, unknown int64

	mu           sync.Mutex // guards the fields below
	slowestRead  time.Duration
	slowReads    int // maximum per reader
	slowestWrite time.Duration
}

var halfDeadLoads atomic.Int64

func newHalfDeadLoad(key string) *halfDeadLoad {
	return &halfDeadLoad{key: key, write: fmt.Sprint(key, "written/", halfDeadLoads.Add(1))}
}

const (
	halfDeadReaders = 8
	// slowRead is less than the time to detect a silent member, and more than a
	// read takes on a busy machine.
	slowRead = 1400 * time.Millisecond
)

// run makes enough calls to reach each member, or with -slow as many as fit in 10
// s.
func (l *halfDeadLoad) run(t *testing.T, c *etcd.Client) {
	t.Helper()
	ends := time.Now()
	if *slow {
		ends = ends.Add(10 * time.Second)
	}
	more := func(n int) bool { return n < 20 || time.Now().Before(ends) }
	var callers sync.WaitGroup
	for range halfDeadReaders {
		callers.Go(func() {
			slow := 0
			for n := 0; more(n); n++ {
				took, err := limited(t, 5*time.Second, func(ctx context.Context) error {
					resp, err := c.Get(ctx, etcd.GetRequest{Key: l.key})
					if err == nil && len(resp.KVs) != 1 {
						err = fmt.Errorf("%d pairs", len(resp.KVs))
					}
					return err
				})
				if err != nil {
					t.Errorf("read %d after %v: %v", n, took, err)
					return
				}
				if took > slowRead {
					slow++
				}
				l.reads.Add(1)
				l.mu.Lock()
				l.slowestRead = max(l.slowestRead, took)
				l.mu.Unlock()
			}
			l.mu.Lock()
			l.slowReads = max(l.slowReads, slow)
			l.mu.Unlock()
		})
	}
	for n := 0; n < 5 || *slow && time.Now().Before(ends); n++ {
		took, err := limited(t, 2*time.Second, func(ctx context.Context) error {
			_, err := c.Put(ctx, etcd.PutRequest{Key: l.write})
			return err
		})
		l.slowestWrite = max(l.slowestWrite, took)
		l.writes++
		if err != nil {
			l.unknown++
			if !etcd.MaybeApplied(err) {
				t.Errorf("write %d after %v: %v", n, took, err)
			}
		}
	}
	callers.Wait()
}

// limited makes a call with a deadline and returns how long it took.
func limited(t *testing.T, limit time.Duration, call func(context.Context) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	err := call(ctx)
	return time.Since(began), err
}

// checkVersion checks that each successful write was applied once, and each unknown
// one at most once.
func (l *halfDeadLoad) checkVersion(t *testing.T, c *etcd.Client) {
	t.Helper()
	v := stored(t, c, l.write).Version
	if v > l.writes || v < l.writes-l.unknown {
		t.Errorf("version %d after %d writes, of them %d unknown", v, l.writes, l.unknown)
	}
}
