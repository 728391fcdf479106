package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// actor is a member in memory that does to every call what it is told to.
type actor struct {
	name string

	mu        sync.Mutex // guards the fields below
	does      reply      // to calls and probes
	refuses   bool       // connections
	calls     int
	open      int // calls that wait
	cancelled int
}

func (a *actor) become(r reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.does = r
}

func (a *actor) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// actorConn is a connection to an actor. It ends with the first call that it loses.
type actorConn struct {
	*actor
	done  chan struct{}
	state transport.State // guarded by actor.mu
}

// lateAfter is when the fake's calls are late, like those of the real transport.
const lateAfter = 1600 * time.Millisecond

func (c *actorConn) Call(ctx context.Context, req transport.Request) ([]byte, error) {
	c.mu.Lock()
	c.calls++
	c.open++
	does := c.does
	c.mu.Unlock()
	p := &actorPending{c: c, does: does, answer: time.After(does.after)}
	if req.Timeout > 0 {
		p.expired = time.After(req.Timeout)
	}
	if !req.NotifyLate {
		return p.Wait(ctx, nil)
	}
	late := make(chan struct{})
	wait := lateAfter
	if p.early = req.LateAfter > 0 && req.LateAfter < wait; p.early {
		wait = req.LateAfter
	}
	t := time.AfterFunc(wait, func() { close(late) })
	defer t.Stop()
	return p.Wait(ctx, late)
}

func (c *actorConn) Open(context.Context, transport.Request) (transport.Stream, error) {
	return nil, &transport.Error{Code: transport.Unimplemented, Outcome: transport.Answered}
}

func (c *actorConn) State() transport.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *actorConn) Done() <-chan struct{} { return c.done }
func (c *actorConn) Err() error            { return lost.err }
func (c *actorConn) Close() error          { c.end(); return nil }
func (c *actorConn) Answered() bool        { return true }
func (c *actorConn) Drain()                { c.end() }

func (c *actorConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != transport.Closed {
		c.state = transport.Closed
		close(c.done)
	}
}

type actorPending struct {
	c       *actorConn
	does    reply
	early   bool
	answer  <-chan time.Time
	expired <-chan time.Time
}

func (p *actorPending) Error() string { return "late" }
func (p *actorPending) Early() bool   { return p.early }

func (p *actorPending) Wait(ctx context.Context, other <-chan struct{}) ([]byte, error) {
	select {
	case <-p.answer:
		p.over(false)
		if p.does.err != nil {
			if p.does.err == lost.err {
				p.c.end()
			}
			return nil, p.does.err
		}
		return p.does.body, nil
	case <-other:
		return nil, p
	case <-ctx.Done():
		p.over(true)
		return nil, &transport.Error{Code: transport.DeadlineExceeded, Cause: ctx.Err()}
	case <-p.expired:
		p.over(true)
		return nil, &transport.Error{Code: transport.DeadlineExceeded, Cause: transport.ErrTimeout}
	}
}

func (p *actorPending) Cancel() { p.over(true) }

func (p *actorPending) over(cancelled bool) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.open--
	if cancelled {
		p.c.cancelled++
	}
}

// troupe is a client of actors a, b, c and so on, one for each reply. Each has
// been called before.
func troupe(t *testing.T, config Config, does ...reply) (*Client, []*actor) {
	t.Helper()
	var actors []*actor
	for i := range does {
		a := &actor{name: string(rune('a'+i)) + ":1"}
		actors = append(actors, a)
		config.Endpoints = append(config.Endpoints, a.name)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	endpoints, err := config.validate()
	if err != nil {
		t.Fatal(err)
	}
	c.set.Close()
	c.set = balance.New(balance.Config{
		Endpoints: endpoints, Probe: c.probe,
		Dial: func(_ context.Context, target transport.Target) (transport.Conn, error) {
			a := actors[target.Address[0]-'a']
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.refuses {
				return nil, &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: a.name + " refuses"}
			}
			return &actorConn{actor: a, done: make(chan struct{})}, nil
		},
	})
	t.Cleanup(func() { _ = c.Close() })
	for _, a := range actors {
		for a.count() == 0 {
			_ = tryGet(c)
			synctest.Wait()
		}
	}
	for i, a := range actors {
		a.become(does[i])
		a.mu.Lock()
		a.calls, a.cancelled = 0, 0
		a.mu.Unlock()
	}
	time.Sleep(time.Minute) // connections have lived, and all is forgotten
	return c, actors
}

func tryGet(c *Client) error {
	_, err := c.Get(context.Background(), GetRequest{Key: "k"})
	return err
}

func tryPut(c *Client) error {
	_, err := c.Put(context.Background(), PutRequest{Key: "k"})
	return err
}

// took runs f and reports how long it took.
func took(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

// What one of three members cannot do another one does, inside one attempt and
// without a pause; and what may have been applied is not sent again.
func TestMovesToAnotherMember(t *testing.T) {
	learner := says(transport.FailedPrecondition, "etcdserver: rpc not supported for learner")
	timedOut := says(transport.Unavailable, "etcdserver: request timed out")
	for name, test := range map[string]struct {
		bad       reply
		read      bool // a read moves
		write     bool // a write moves
		avoidedBy int  // the most calls of 400 that still meet it; 0: all may
	}{
		"connection lost":   {lost, true, false, 0},
		"no leader":         {noLeader, true, true, 20},
		"learner":           {learner, true, true, 20},
		"too many requests": {busy, true, true, 20},
		"stopped":           {stopped, true, false, 20},
		"timed out":         {timedOut, true, false, 20},
		"for good":          {noLease, false, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, call := range []struct {
					kind  string
					f     func(*Client) error
					moves bool
				}{{"read", tryGet, test.read}, {"write", tryPut, test.write}} {
					c, members := troupe(t, Config{Retry: -1}, test.bad, ok, ok)
					met := 0
					for range 400 {
						before := members[0].count()
						d, err := took(func() error { return call.f(c) })
						synctest.Wait()
						if members[0].count() == before {
							continue
						}
						met++
						if call.moves && err != nil || d > 0 {
							t.Errorf("%s after %v: %v", call.kind, d, err)
						}
						if !call.moves && err == nil && test.avoidedBy == 0 && test.bad.err != lost.err {
							t.Errorf("%s succeeded", call.kind)
						}
						time.Sleep(10 * time.Millisecond)
					}
					if met == 0 || test.avoidedBy > 0 && met > test.avoidedBy {
						t.Errorf("%d of 400 %ss met the bad member", met, call.kind)
					}
					_ = c.Close()
				}
			})
		})
	}
}

// When every member refuses an attempt fails at once and names each.
func TestEveryMemberRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, members := troupe(t, Config{Retry: -1}, lost, lost, lost)
		for _, a := range members {
			a.mu.Lock()
			a.refuses = true
			a.mu.Unlock()
		}
		d, err := took(func() error { return tryGet(c) })
		if !errors.Is(err, ErrUnavailable) || d > 0 {
			t.Errorf("%v after %v", err, d)
		}
		for range 5 { // until each was found to be down
			d, err = took(func() error { return tryPut(c) })
			if d > 500*time.Millisecond {
				t.Errorf("%v after %v", err, d)
			}
		}
		for _, a := range members {
			if !strings.Contains(err.Error(), a.name+" refuses") {
				t.Errorf("%v does not name %s", err, a.name)
			}
		}
	})
}

// A member that does not serve is left alone, and load comes back to it soon
// after it serves again.
func TestSetAsideAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, members := troupe(t, Config{}, noLeader, ok, ok)
		calls := func(n int) (toBad int) {
			before := members[0].count()
			for range n {
				if err := tryGet(c); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Millisecond)
			}
			return members[0].count() - before
		}
		if n := calls(60_000); n > 100 { // a minute's: probes, about one a second
			t.Errorf("%d of 60,000 calls met a member without leader", n)
		}
		members[0].become(ok)
		calls(2100)
		if n := calls(3000); n < 800 || n > 1200 {
			t.Errorf("%d of 3000 calls went to a member that is back", n)
		}
	})
}

// A member that holds what it gets: reads on it are answered by another one after
// a second and a half, later calls are not affected at all, and writes that wait
// there stay, with an unknown end.
func TestSilentMemberIsHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, members := troupe(t, Config{Retry: -1}, silence, ok, ok)
		var calls sync.WaitGroup
		slow, unknown := 0, 0
		var mu sync.Mutex
		for i := range 60 {
			calls.Go(func() {
				f := tryGet
				if i%2 == 0 {
					f = tryPut
				}
				d, err := took(func() error { return f(c) })
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil && MaybeApplied(err) && errors.Is(err, ErrTimeout) && d == 10*time.Second:
					unknown++
				case err != nil:
					t.Errorf("%v after %v", err, d)
				case d > 0:
					slow++
					if d > 2*time.Second {
						t.Errorf("took %v", d)
					}
				}
			})
		}
		time.Sleep(2 * time.Second)
		for range 500 {
			if d, err := took(func() error { return tryPut(c) }); err != nil || d > 0 {
				t.Errorf("a later call: %v after %v", err, d)
			}
		}
		calls.Wait()
		a := members[0]
		a.mu.Lock()
		defer a.mu.Unlock()
		if slow < 2 || unknown < 2 || a.calls > 60+15 || a.open > 1 { // a probe may wait
			t.Errorf("%d reads were hedged, %d writes are unknown, %d calls met it, %d wait", slow, unknown, a.calls, a.open)
		}
	})
}

// A cluster that is slow as a whole gets next to no second load.
func TestSlowClusterIsNotHedged(t *testing.T) {
	for name, config := range map[string]Config{"late": {}, "early": {HedgeReads: 50 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			slow := reply{after: 3 * time.Second}
			c, members := troupe(t, config, slow, slow, slow)
			const reads = 2000
			var calls sync.WaitGroup
			for range 20 {
				calls.Go(func() {
					for range reads / 20 {
						if d, err := took(func() error { return tryGet(c) }); err != nil || d > 5*time.Second {
							t.Errorf("%v after %v", err, d)
						}
					}
				})
			}
			calls.Wait()
			total := 0
			for _, a := range members {
				total += a.count()
			}
			if total > reads+reads*3/10 {
				t.Errorf("%s: %d calls for %d reads", name, total, reads)
			}
		})
	}
}

// All members were late in an election, and all were set aside: the reads on the one
// that never answers are answered once others serve again. In robustness' stop-leader
// some waited until their contexts ended.
func TestLateReadsAfterAnElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const election = lateAfter + 100*time.Millisecond
		slow := reply{after: election}
		c, members := troupe(t, Config{Retry: -1}, silence, slow, slow)
		time.AfterFunc(election, func() {
			members[1].become(ok)
			members[2].become(ok)
		})
		var calls sync.WaitGroup
		for range 30 {
			calls.Go(func() {
				if d, err := took(func() error { return tryGet(c) }); err != nil || d > 5*time.Second {
					t.Errorf("%v after %v", err, d)
				}
			})
		}
		calls.Wait()
	})
}

// HedgeReads hedges as early as it says; the loser is cancelled, and a member that
// loses again and again is set aside.
func TestHedgeReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, members := troupe(t, Config{HedgeReads: 30 * time.Millisecond}, silence, ok, ok)
		slow := 0
		for range 200 {
			d, err := took(func() error { return tryGet(c) })
			if err != nil || d != 0 && d != 30*time.Millisecond {
				t.Errorf("%v after %v", err, d)
			}
			if d > 0 {
				slow++
			}
		}
		a := members[0]
		if slow < 3 || slow > 10 {
			t.Errorf("%d reads of 200 were hedged", slow)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.cancelled != slow || a.open > 1 {
			t.Errorf("%d calls were cancelled, %d wait", a.cancelled, a.open)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c, _ := troupe(t, Config{HedgeReads: -1, Retry: -1, Timeout: 5 * time.Second}, silence, ok, ok)
		failed := 0
		for range 100 {
			if d, err := took(func() error { return tryGet(c) }); err != nil {
				if failed++; d != 5*time.Second || !errors.Is(err, ErrTimeout) {
					t.Errorf("%v after %v", err, d)
				}
			}
		}
		if failed == 0 || failed > 5 {
			t.Errorf("%d reads failed without hedging", failed)
		}
	})
}

// The first member fails while the second is asked, or answers after all; the
// second one fails.
func TestHedgeOutcomes(t *testing.T) {
	late := func(r reply, after time.Duration) reply { r.after = after; return r }
	for name, test := range map[string]struct {
		first, second reply
		took          time.Duration
		is            error
	}{
		"the first answers":        {late(ok, 2*time.Second), late(ok, time.Second), 2 * time.Second, nil},
		"the second answers":       {silence, late(ok, time.Second), lateAfter + time.Second, nil},
		"the first is lost":        {late(lost, 2*time.Second), late(ok, time.Second), lateAfter + time.Second, nil},
		"the second is lost":       {late(ok, 4*time.Second), late(lost, time.Second), 4 * time.Second, nil},
		"the second has no leader": {late(ok, 4*time.Second), late(noLeader, time.Second), 4 * time.Second, nil},
		"the second decides":       {silence, late(noLease, time.Second), lateAfter + time.Second, ErrLeaseNotFound},
		"neither":                  {silence, silence, 10 * time.Second, ErrTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, members := troupe(t, Config{Retry: -1}, test.first, test.second)
			for members[0].count() == 0 { // until the first is the first
				members[1].become(ok)
				members[0].become(test.first)
				go func() {
					if p, up := c.set.Up(balance.Unary); up && strings.HasPrefix(p.Endpoint, "a") {
						s := sending{c: c, r: &rpcRange, conn: p, bound: c.bound(t.Context(), &rpcRange)}
						members[1].become(test.second)
						d, err := took(func() error {
							if _, err := s.send(t.Context(), false); err != nil {
								return err
							}
							return nil
						})
						if d != test.took || !errors.Is(err, test.is) {
							t.Errorf("%s: %v after %v, want %v after %v", name, err, d, test.is, test.took)
						}
					}
				}()
				synctest.Wait()
			}
			time.Sleep(time.Minute)
			for _, a := range members {
				a.mu.Lock()
				if a.open > 0 {
					t.Errorf("%s: %d calls are left at %s", name, a.open, a.name)
				}
				a.mu.Unlock()
			}
		})
	}
}

// The end of time during an election tells of both.
func TestTimeoutInElection(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		limit  time.Duration // of the context; 0: none
		is     error
	}{
		"Timeout":  {Config{Retry: -1, Timeout: time.Second}, 0, ErrTimeout},
		"deadline": {Config{Retry: -1}, time.Second, context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{replies: append(repeat(noLeader, 5), silence)}
			c := s.client(test.config)
			defer c.set.Close()
			ctx, cancel := context.WithCancel(t.Context())
			if test.limit > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), test.limit)
			}
			defer cancel()
			_, err := c.Put(ctx, PutRequest{Key: "k"})
			if !errors.Is(err, test.is) || !errors.Is(err, ErrNoLeader) || !MaybeApplied(err) {
				t.Errorf("%s: %v", name, err)
			}
			if text := fmt.Sprint(err); !strings.Contains(text, "no leader") {
				t.Errorf("%s: %s", name, text)
			}
		})
	}
}
