package call

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Preference says which member gets the calls while it is fit.
type Preference uint8

const (
	// PreferAny spreads calls over all fit members.
	PreferAny Preference = iota
	// PreferNearest sends calls to the member that answers fastest.
	PreferNearest
	// PreferLeader sends calls to the leader, except those that any member answers
	// by itself.
	PreferLeader
)

// leaderTracker finds the preferred member, the leader or the nearest one, while
// calls are made. It asks all members when it starts, when the raft term rises (as
// it does with every change of the leader), when the preferred member is not fit,
// and every lookEvery.
type leaderTracker struct {
	engine *Engine
	prefer Preference
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended
	wake   chan struct{} // capacity 1: look now

	term atomic.Uint64 // the highest in any answer
	used atomic.Bool   // calls were made since the last look cleared it
}

const (
	// lookEvery is the time between two looks if nothing happens.
	lookEvery = 5 * time.Second
	// lookSoon is the minimum time between two looks.
	lookSoon = 100 * time.Millisecond
	// lookPatience is how long a look waits for a member's answer.
	lookPatience = 2 * time.Second
)

// lookBackoff is the minimum time between two looks while they find nothing.
var lookBackoff = backoff.Backoff{First: lookSoon, Cap: lookEvery}

func newLeaderTracker(e *Engine, prefer Preference) *leaderTracker {
	if prefer == PreferAny {
		return nil
	}
	t := &leaderTracker{engine: e, prefer: prefer, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	go t.run()
	return t
}

func (t *leaderTracker) close() {
	if t != nil {
		t.cancel()
		<-t.done
	}
}

// up returns the connection to the preferred member, if calls of m prefer one.
func (t *leaderTracker) up(m *rpc.Method) (balance.Picked, bool) {
	if t == nil || m.Lane != balance.Unary || m.Local && t.prefer == PreferLeader {
		return balance.Picked{}, false
	}
	if !t.used.Load() {
		t.used.Store(true)
	}
	p, ok := t.engine.Set.Preferred(m.Lane)
	if !ok {
		Signal(t.wake)
	}
	return p, ok
}

// heard records the raft term of an answer.
func (t *leaderTracker) heard(term uint64) {
	if t == nil || term <= t.term.Load() {
		return
	}
	t.term.Store(term)
	Signal(t.wake)
}

// run is the tracker's goroutine.
func (t *leaderTracker) run() {
	defer close(t.done)
	pause := time.NewTimer(lookEvery)
	defer pause.Stop()
	for failures := 0; ; {
		select {
		case <-t.wake:
		case <-pause.C:
		case <-t.ctx.Done():
			return
		}
		next := lookEvery
		if t.used.Swap(false) {
			rest := lookSoon
			if t.look() {
				failures = 0
			} else {
				next = 0
				rest = lookBackoff.Span(failures)
				failures++
			}
			// No sooner, whatever wakes it: meanwhile calls go to any member.
			if !Sleep(t.ctx, backoff.Jitter(rest, rest/2)) {
				return
			}
		}
		pause.Reset(next)
	}
}

// probeResult is a member's answer.
type probeResult struct {
	endpoint     string
	took         time.Duration
	member       uint64
	leader, term uint64
}

// look asks all members at once and prefers the one that it finds. It reports
// whether it found one.
func (t *leaderTracker) look() bool {
	ctx, cancel := context.WithTimeout(t.ctx, lookPatience)
	defer cancel()
	members := t.engine.Set.Members()
	answers := make(chan *probeResult, len(members))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for _, e := range members {
		asking.Go(func() { answers <- t.ask(ctx, e) })
	}
	var results []*probeResult
	for range members {
		if a := <-answers; a != nil {
			results = append(results, a)
		}
		if t.prefer == PreferLeader {
			if leader := leaderOf(results, t.term.Load()); leader != nil {
				t.engine.Set.Prefer(leader.endpoint)
				return true
			}
		}
	}
	if t.prefer == PreferNearest {
		return t.nearest(results)
	}
	t.engine.Set.Prefer("")
	return false
}

// ask asks one member and returns nil if it does not answer. It asks twice, because
// the first answer may include the time to connect.
func (t *leaderTracker) ask(ctx context.Context, e balance.Endpoint) *probeResult {
	conn, err := t.engine.Set.PickNamed(ctx, balance.Unary, e)
	if err != nil {
		return nil
	}
	token, noToken := t.engine.tokens.get(ctx, rpc.FindPreferred, Bound{})
	if noToken != nil {
		return nil
	}
	a := &probeResult{endpoint: conn.Endpoint, took: lookPatience}
	for range 2 {
		began := time.Now()
		reply, err := conn.Call(ctx, transport.Request{Path: rpc.FindPreferred.Path, Message: []byte{}, Token: token.value()})
		if err != nil {
			return nil
		}
		a.took = min(a.took, time.Since(began))
		status, malformed := decodeStatus(reply)
		if malformed != nil || status.Learner {
			return nil
		}
		a.member, a.leader, a.term = status.Header.MemberID, status.Leader, status.RaftTerm
	}
	return a
}

// leaderOf returns the leader's own probeResult. It returns nil if the leader did
// not answer, or if no member of at least the given term knows the leader.
func leaderOf(results []*probeResult, term uint64) *probeResult {
	var leader uint64
	for _, a := range results {
		if a.leader != 0 && a.term >= term {
			leader, term = a.leader, a.term
		}
	}
	for _, a := range results {
		if leader != 0 && a.member == leader {
			return a
		}
	}
	return nil
}

// nearest prefers the fastest member. The current one stays preferred unless
// another takes less than two thirds of its time.
func (t *leaderTracker) nearest(results []*probeResult) bool {
	var best, now *probeResult
	p, _ := t.engine.Set.Preferred(balance.Unary)
	for _, a := range results {
		if best == nil || a.took < best.took {
			best = a
		}
		if a.endpoint == p.Endpoint {
			now = a
		}
	}
	if best == nil {
		return false
	}
	if now == nil || best.took < now.took*2/3 {
		t.engine.Set.Prefer(best.endpoint)
	}
	return true
}
