package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Faults of a member affect calls that share requests no more than calls that go
// alone.
func TestCoalescedMembers(t *testing.T) {
	t.Parallel()
	p := startProxied(t)
	silent := p.aFollower(t)
	t.Run("silent", func(t *testing.T) { silentMember(t, p, silent) })
	p.ready(t)
	t.Run("leader killed", func(t *testing.T) { killedLeader(t, p) })
	t.Run("no majority", func(t *testing.T) { noMajority(t, p) })
}

// silentMember: one member stops answering.
func silentMember(t *testing.T, p *proxied, victim *etcdtest.Server) {
	var shared, alone *memberLoad
	for way, load := range map[etcd.Coalesce]**memberLoad{etcd.CoalesceAll: &shared, etcd.CoalesceOff: &alone} {
		c := connect(t, etcd.Config{Endpoints: p.endpoints(victim), Coalesce: way})
		*load = &memberLoad{c: c, prefix: ownKeys(t), limit: 2500 * time.Millisecond}
		p.useAll(t, func() { put(t, c, (*load).prefix, "v") })
	}
	if err := victim.Stop(); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() { shared.run(t) })
	both.Go(func() { alone.run(t) })
	both.Wait()
	if err := victim.Continue(); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]*memberLoad{"together": shared, "alone": alone} {
		t.Logf("%s: slowest Get %v, slowest Put %v, %d of them unknown; %d at once",
			name, time.Duration(l.slowest[0].Load()), time.Duration(l.slowest[1].Load()), l.unknown.Load(), l.prompt.Load())
		if l.prompt.Load() < loadCallers {
			t.Errorf("%s: only %d calls went on", name, l.prompt.Load())
		}
		l.checkVersions(t)
	}
	if a, b := time.Duration(shared.slowest[0].Load()), time.Duration(alone.slowest[0].Load()); a > b+time.Second {
		t.Errorf("the slowest Get took %v, alone %v", a, b)
	}
}

// killedLeader: there is no leader for a while.
func killedLeader(t *testing.T, p *proxied) {
	c := connect(t, etcd.Config{
		Endpoints: p.endpoints(p.aFollower(t)), Coalesce: etcd.CoalesceAll, RetryWrites: etcd.AtLeastOnce,
		Timeout: 1500 * time.Millisecond, RetrySleep: 50 * time.Millisecond,
	})
	l := &memberLoad{c: c, prefix: ownKeys(t)}
	p.useAll(t, func() { put(t, c, l.prefix, "v") })
	leader := p.theLeader(t)
	time.AfterFunc(20*time.Millisecond, func() {
		if err := leader.Kill(); err != nil {
			t.Error(err)
		}
	})
	l.run(t)
	if n := l.unknown.Load(); n > 0 {
		t.Errorf("%d calls failed", n)
	}
	if s := c.Stats(); s.Batches == 0 {
		t.Error("no request was shared")
	}
	t.Logf("slowest Get %v, slowest Put %v", time.Duration(l.slowest[0].Load()), time.Duration(l.slowest[1].Load()))
}

// noMajority: the last member answers serializable reads, and no others.
func noMajority(t *testing.T, p *proxied) {
	var alive []*etcdtest.Server
	for _, m := range p.Members() {
		if m.PID() != 0 {
			alive = append(alive, m)
		}
	}
	c := connect(t, etcd.Config{Endpoints: alive[0].Endpoints()})
	key := ownKeys(t)
	put(t, c, key, "v")
	get(t, c, etcd.GetRequest{Key: key})
	if err := alive[1].Kill(); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, time.Minute)
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			short, cancel := context.WithTimeout(ctx, 500*time.Millisecond) // there is no answer to wait for
			defer cancel()
			if _, err := c.Get(short, etcd.GetRequest{Key: key}); err == nil || etcd.MaybeApplied(err) {
				t.Errorf("a linearizable read: %v", err)
			}
		})
		callers.Go(func() {
			for range 10 {
				if resp, err := c.Get(ctx, etcd.GetRequest{Key: key, Serializable: true}); err != nil || len(resp.KVs) != 1 {
					t.Errorf("a serializable read: %+v, %v", resp, err)
				}
			}
		})
	}
	callers.Wait()
	if s := c.Stats(); s.Batches == 0 {
		t.Error("no request was shared")
	}
}

// memberLoad is Gets and Puts of many callers, each Put of the caller's own key.
type memberLoad struct {
	c      *etcd.Client
	prefix string
	limit  time.Duration // of a call; 0: none

	slowest [2]atomic.Int64 // Get, Put
	unknown atomic.Int64    // Puts
	prompt  atomic.Int64    // calls that took no longer than usual
	puts    [loadCallers]struct{ made, unknown int64 }
}

const (
	loadCallers = 48
	loadCalls   = 20 // of each caller and kind
)

func (l *memberLoad) key(caller int) string { return fmt.Sprint(l.prefix, caller) }

func (l *memberLoad) run(t *testing.T) {
	var callers sync.WaitGroup
	for caller := range loadCallers {
		callers.Go(func() {
			for range loadCalls {
				l.call(t, 0, func(ctx context.Context) error {
					_, err := l.c.Get(ctx, etcd.GetRequest{Key: l.prefix})
					return err
				})
			}
		})
		callers.Go(func() {
			for range loadCalls {
				l.puts[caller].made++
				err := l.call(t, 1, func(ctx context.Context) error {
					_, err := l.c.Put(ctx, etcd.PutRequest{Key: l.key(caller)})
					return err
				})
				if err != nil {
					l.puts[caller].unknown++
				}
			}
		})
	}
	callers.Wait()
}

// call makes a call that may fail only if it is a put with an unknown outcome, and
// must end when its context does.
func (l *memberLoad) call(t *testing.T, kind int, call func(context.Context) error) error {
	ctx := t.Context()
	if l.limit > 0 {
		limited, cancel := context.WithTimeout(ctx, l.limit)
		defer cancel()
		ctx = limited
	}
	began := time.Now()
	err := call(ctx)
	took := time.Since(began)
	for old := l.slowest[kind].Load(); int64(took) > old && !l.slowest[kind].CompareAndSwap(old, int64(took)); {
		old = l.slowest[kind].Load()
	}
	switch {
	case l.limit > 0 && took > l.limit+promptly:
		t.Errorf("a call took %v", took)
	case took < slowRead:
		l.prompt.Add(1)
	}
	if err != nil {
		l.unknown.Add(1)
		if !etcd.MaybeApplied(err) {
			t.Errorf("after %v: %v", took, err)
		}
	}
	return err
}

func (l *memberLoad) checkVersions(t *testing.T) {
	t.Helper()
	for caller := range loadCallers {
		made := l.puts[caller]
		if v := stored(t, l.c, l.key(caller)).Version; v > made.made || v < made.made-made.unknown {
			t.Errorf("version %d after %d puts, of them %d unknown", v, made.made, made.unknown)
		}
	}
}

// A learner answers serializable reads, but accepts no transactions.
func TestCoalescedLearner(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond}, etcd.Config{})
	put(t, c, "k", "v")
	s, _ := startLearner(t, c)
	learner := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	eventually(t, "the learner to have caught up", func() bool {
		resp, err := learner.Get(t.Context(), etcd.GetRequest{Key: "k", Serializable: true})
		return err == nil && len(resp.KVs) == 1
	})
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			for range 5 {
				resp, err := learner.Get(t.Context(), etcd.GetRequest{Key: "k", Serializable: true})
				if err != nil || len(resp.KVs) != 1 {
					t.Errorf("%+v, %v", resp, err)
				}
			}
		})
		callers.Go(func() {
			resp, err := learner.Get(t.Context(), etcd.GetRequest{Key: fmt.Sprint("k", runs.Add(1)), Serializable: true})
			if err != nil || len(resp.KVs) != 0 {
				t.Errorf("%+v, %v", resp, err)
			}
		})
	}
	callers.Wait()
	// The learner refuses the first transactions that the reads share; then they go alone.
	if n := learner.Stats().Failures; n > 20 {
		t.Errorf("%d requests were refused", n)
	}
	if _, err := learner.Get(within(t, 20*time.Second), etcd.GetRequest{Key: "k"}); !errors.Is(err, etcd.ErrNotSupportedForLearner) {
		t.Errorf("a linearizable read: %v", err)
	}
}
