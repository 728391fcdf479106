package etcd

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// Prefer says which member calls go to.
type Prefer uint8

const (
	// PreferAny spreads calls over all members that are fit.
	PreferAny Prefer = iota
	// PreferNearest sends calls to the member that answers soonest. Another one
	// takes its place when it is clearly sooner.
	PreferNearest
	// PreferLeader sends writes, linearizable reads and lease renewals to the
	// leader, to which the others would forward them: one way between members
	// less for each. Serializable reads are spread.
	PreferLeader
)

// scout finds out which member is to be preferred, while calls are made. It asks
// all of them when it starts, when the raft term rises, which every change of the
// leader does, when the preferred one is not fit, and now and then.
type scout struct {
	c      *Client
	prefer Prefer
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended
	wake   chan struct{} // capacity 1: look now

	term atomic.Uint64 // the highest in any answer
	used atomic.Bool   // calls were made since it was cleared
}

const (
	// scoutEvery is the time between two looks when nothing happens.
	scoutEvery = 5 * time.Second
	// scoutSoon is the least time between two looks. It doubles, up to scoutEvery,
	// while nothing is found.
	scoutSoon = 100 * time.Millisecond
	// scoutPatience is how long a member may take to answer.
	scoutPatience = 2 * time.Second
)

// rpcLook learns who leads and how long a member takes to answer.
var rpcLook = rpc{op: "Status", path: rpcStatus.path, class: read, local: true}

func newScout(c *Client, prefer Prefer) *scout {
	if prefer == PreferAny {
		return nil
	}
	s := &scout{c: c, prefer: prefer, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s
}

func (s *scout) close() {
	if s != nil {
		s.cancel()
		<-s.done
	}
}

// up is the connection to the preferred member, for calls of r that prefer it.
func (s *scout) up(r *rpc) (balance.Picked, bool) {
	if s == nil || r.lane != balance.Unary || r.local && s.prefer == PreferLeader {
		return balance.Picked{}, false
	}
	if !s.used.Load() {
		s.used.Store(true)
	}
	p, ok := s.c.set.Preferred(r.lane)
	if !ok {
		signal(s.wake)
	}
	return p, ok
}

// heard notes the raft term of an answer.
func (s *scout) heard(term uint64) {
	if s == nil || term <= s.term.Load() {
		return
	}
	s.term.Store(term)
	signal(s.wake)
}

// run is the scout's goroutine.
func (s *scout) run() {
	defer close(s.done)
	pause := time.NewTimer(scoutEvery)
	defer pause.Stop()
	for failures := 0; ; {
		select {
		case <-s.wake:
		case <-pause.C:
		case <-s.ctx.Done():
			return
		}
		next := scoutEvery
		if s.used.Swap(false) {
			rest := scoutSoon
			if s.look() {
				failures = 0
			} else {
				next = 0
				rest = min(scoutSoon<<min(failures, 10), scoutEvery)
				failures++
			}
			// Not sooner, whatever wakes it: calls go to any member meanwhile.
			if !sleep(s.ctx, jitter(rest, rest/2)) {
				return
			}
		}
		pause.Reset(next)
	}
}

// sighting is what a member has answered.
type sighting struct {
	endpoint     string
	took         time.Duration
	member       uint64
	leader, term uint64
}

// look asks every member at once and prefers what it finds. It reports whether it
// has found one.
func (s *scout) look() bool {
	ctx, cancel := context.WithTimeout(s.ctx, scoutPatience)
	defer cancel()
	members := s.c.set.Members()
	answers := make(chan *sighting, len(members))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for _, e := range members {
		asking.Go(func() { answers <- s.ask(ctx, e) })
	}
	var seen []*sighting
	for range members {
		if a := <-answers; a != nil {
			seen = append(seen, a)
		}
		if s.prefer == PreferLeader {
			if leader := leaderOf(seen, s.term.Load()); leader != nil {
				s.c.set.Prefer(leader.endpoint)
				return true
			}
		}
	}
	if s.prefer == PreferNearest {
		return s.nearest(seen)
	}
	s.c.set.Prefer("")
	return false
}

// ask asks one member; nil when it does not answer. It asks twice, for the first
// answer may take the time that it takes to connect.
func (s *scout) ask(ctx context.Context, e balance.Endpoint) *sighting {
	conn, err := s.c.set.PickNamed(ctx, balance.Unary, e)
	if err != nil {
		return nil
	}
	token, noToken := s.c.tokens.get(ctx, &rpcLook)
	if noToken != nil {
		return nil
	}
	a := &sighting{endpoint: conn.Endpoint, took: scoutPatience}
	for range 2 {
		began := time.Now()
		reply, err := conn.Call(ctx, transport.Request{Path: rpcLook.path, Message: []byte{}, Token: token.value()})
		if err != nil {
			return nil
		}
		a.took = min(a.took, time.Since(began))
		var status StatusResponse
		if status.decodeWire(reply) != nil || status.IsLearner {
			return nil
		}
		a.member, a.leader, a.term = status.Header.MemberID, status.Leader, status.RaftTerm
	}
	return a
}

// leaderOf is the sighting of the leader, if some member knows it at the term at
// least and it has answered itself.
func leaderOf(seen []*sighting, term uint64) *sighting {
	var leader uint64
	for _, a := range seen {
		if a.leader != 0 && a.term >= term {
			leader, term = a.leader, a.term
		}
	}
	for _, a := range seen {
		if leader != 0 && a.member == leader {
			return a
		}
	}
	return nil
}

// nearest prefers the quickest member; one that is preferred already stays unless
// another takes less than two thirds of its time.
func (s *scout) nearest(seen []*sighting) bool {
	var best, now *sighting
	p, _ := s.c.set.Preferred(balance.Unary)
	for _, a := range seen {
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
		s.c.set.Prefer(best.endpoint)
	}
	return true
}
