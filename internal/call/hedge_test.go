package call

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
)

// hedging is usual with early hedges.
func hedging(after time.Duration) Config {
	config := usual
	config.HedgeAfter = after
	return config
}

// One member never answers. Another one answers its reads after a second and a
// half, later calls are not affected at all, and the writes that wait there end
// with an unknown outcome.
func TestSilentMemberIsHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, members := many(t, once, silence, ok, ok)
		var calls sync.WaitGroup
		slow, unknown := 0, 0
		var mu sync.Mutex
		// With so many, fewer than two reads or two writes on a member have a probability of 1e-15.
		for i := range 200 {
			calls.Go(func() {
				f := tryGet
				if i%2 == 0 {
					f = tryPut
				}
				d, err := took(func() error { return f(e) })
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil && maybeApplied(err) && errors.Is(err, ErrTimeout) && d == 10*time.Second:
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
		before := members[0].Counts().Calls
		for range 500 {
			if d, err := took(func() error { return tryPut(e) }); err != nil || d > 0 {
				t.Errorf("a later call: %v after %v", err, d)
			}
		}
		calls.Wait()
		n := members[0].Counts()
		if slow < 2 || unknown < 2 || n.Calls > before+15 || n.Waiting > 1 { // probes, of which one may wait
			t.Errorf("%d reads were hedged, %d writes are unknown, %d later calls met it, %d wait", slow, unknown, n.Calls-before, n.Waiting)
		}
	})
}

// A cluster that is slow as a whole gets almost no extra load.
func TestSlowClusterIsNotHedged(t *testing.T) {
	for name, config := range map[string]Config{"late": usual, "early": hedging(50 * time.Millisecond)} {
		synctest.Test(t, func(t *testing.T) {
			slow := reply{After: 3 * time.Second}
			e, members := many(t, config, slow, slow, slow)
			const reads = 2000
			var calls sync.WaitGroup
			for range 20 {
				calls.Go(func() {
					for range reads / 20 {
						if d, err := took(func() error { return tryGet(e) }); err != nil || d > 5*time.Second {
							t.Errorf("%v after %v", err, d)
						}
					}
				})
			}
			calls.Wait()
			total := 0
			for _, m := range members {
				total += m.Counts().Calls
			}
			if total > reads+reads*3/10 {
				t.Errorf("%s: %d calls for %d reads", name, total, reads)
			}
		})
	}
}

// All members were late in an election, and all were set aside. The reads on the one
// that never answers are answered once others serve again. In the robustness scenario
// stop-leader some waited until their contexts ended.
func TestLateReadsAfterAnElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const election = peertest.LateAfter + 100*time.Millisecond
		slow := reply{After: election}
		e, members := many(t, once, silence, slow, slow)
		time.AfterFunc(election, func() {
			members[1].Answer(ok)
			members[2].Answer(ok)
		})
		var calls sync.WaitGroup
		for range 30 {
			calls.Go(func() {
				if d, err := took(func() error { return tryGet(e) }); err != nil || d > 5*time.Second {
					t.Errorf("%v after %v", err, d)
				}
			})
		}
		calls.Wait()
	})
}

// A connection on which calls wait in silence is quiet: its reads go to a second member at
// once, its writes wait on, and calls that begin go elsewhere.
func TestQuietMemberIsHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const quiet = 150 * time.Millisecond
		e, members := many(t, usual, silence, ok, ok)
		var calls sync.WaitGroup
		hedged, writes := 0, 0
		var mu sync.Mutex  // guards these and ended
		var waiting [2]int // writes and reads on the silent member
		// The members are chosen at random: until both kinds wait, and fewer reads than the budget.
		for i := 0; min(waiting[0], waiting[1]) < 2; i++ {
			kind, f, ended := i%2, tryPut, false
			if kind == 1 {
				f = tryGet
			}
			calls.Go(func() {
				d, err := took(func() error { return f(e) })
				mu.Lock()
				defer mu.Unlock()
				ended = true
				switch {
				case err != nil && maybeApplied(err):
					writes++
				case err != nil || d != 0 && d != quiet:
					t.Errorf("%v after %v", err, d)
				case d == quiet:
					hedged++
				}
			})
			synctest.Wait()
			mu.Lock()
			if !ended {
				waiting[kind]++
			}
			mu.Unlock()
		}
		time.Sleep(quiet)
		members[0].LastConn().TurnQuiet()
		synctest.Wait()
		before := got(members[0])
		for range 500 {
			if d, err := took(func() error { return tryPut(e) }); err != nil || d > 0 {
				t.Errorf("a write afterwards: %v after %v", err, d)
			}
		}
		if after := got(members[0]); after > before {
			t.Errorf("%d calls went to the quiet member", after-before)
		}
		calls.Wait()
		if hedged != waiting[1] || writes != waiting[0] || counted(e).hedges != hedged {
			t.Errorf("%d of %d reads were late, %d were hedged, %d of %d writes are unknown", hedged, waiting[1], counted(e).hedges, writes, waiting[0])
		}
		members[0].Answer(ok)
		members[0].LastConn().Recover()
		before = got(members[0])
		for range 200 {
			_ = tryGet(e)
			time.Sleep(20 * time.Millisecond) // its probes are spaced
		}
		if got(members[0]) == before {
			t.Error("no call goes to the member that is back")
		}
	})
}

// The first reads of a client have only the connection to a member that turns quiet. They
// wait for the dial of another member, which answers them; they used to wait until they were
// late, since a second member was not up when the hedge was due.
func TestQuietFirstMemberIsHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const quiet, others = 150 * time.Millisecond, 200 * time.Millisecond
		cluster := peertest.NewCluster("a:1", "b:1", "c:1")
		var up atomic.Pointer[peertest.Member]
		began := time.Now()
		for _, m := range cluster.Members() {
			m.Handle(peertest.Script(ok), rpc.Identify.Path)
			m.OnDial(func(ctx context.Context) error {
				if up.CompareAndSwap(nil, m) {
					m.Answer(silence)
					return nil
				}
				m.Answer(ok)
				return peertest.Sleep(ctx, time.Until(began.Add(others)))
			})
		}
		e := newEngine(t, cluster, usual)
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				if d, err := took(func() error { return tryGet(e) }); err != nil || d != others {
					t.Errorf("%v after %v", err, d)
				}
			})
		}
		time.Sleep(quiet)
		up.Load().LastConn().TurnQuiet()
		calls.Wait()
		if n := counted(e).hedges; n != 8 {
			t.Errorf("%d of 8 reads were hedged", n)
		}
	})
}

// A hedge that waits for a dial ends when its read does: with the context or with
// Config.Timeout.
func TestHedgeEndsWithItsRead(t *testing.T) {
	const limit = 300 * time.Millisecond
	for name, byContext := range map[string]bool{"context": true, "Timeout": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := once
				config.Timeout = limit
				e, members := many(t, config, silence, silence)
				members[1].OnDial(peertest.Ignore)
				members[1].Cut(nil)
				time.AfterFunc(150*time.Millisecond, func() { members[0].LastConn().TurnQuiet() })
				ctx := t.Context()
				if byContext {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, limit)
					defer cancel()
				}
				if d, err := took(func() error { return do(ctx, e, rpc.Get) }); err == nil || d != limit {
					t.Errorf("%v after %v", err, d)
				}
			})
		})
	}
}

// When all connections are quiet, the fault is the client's own network, or the cluster is
// slow as a whole: nothing is hedged.
func TestAllQuietIsNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := ok.Delayed(time.Second)
		e, members := many(t, usual, slow, slow, slow)
		turnQuiet := func() {
			for _, m := range members {
				m.LastConn().TurnQuiet()
			}
		}
		turnQuiet()
		var calls sync.WaitGroup
		for range 300 {
			calls.Go(func() {
				if d, err := took(func() error { return tryGet(e) }); err != nil || d != time.Second {
					t.Errorf("%v after %v", err, d)
				}
			})
		}
		time.Sleep(150 * time.Millisecond)
		turnQuiet()
		calls.Wait()
		if n := counted(e).hedges; n > 0 {
			t.Errorf("%d of 300 reads were hedged", n)
		}
	})
}

// Quiet connections hedge at most a read in fifty, and twenty.
func TestQuietBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const reads = 5000
		slow := ok.Delayed(200 * time.Millisecond)
		e, members := many(t, usual, slow, slow, slow)
		over := make(chan struct{})
		var routines, calls sync.WaitGroup
		routines.Go(func() { // each in turn
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				case <-time.After(700 * time.Millisecond):
					members[i%3].LastConn().Recover()
					members[(i+1)%3].LastConn().TurnQuiet()
				}
			}
		})
		for range 20 {
			calls.Go(func() {
				for range reads / 20 {
					if err := tryGet(e); err != nil {
						t.Error(err)
					}
				}
			})
		}
		calls.Wait()
		close(over)
		routines.Wait()
		if n := counted(e).hedges; n < 20 || n > 20+reads/50 {
			t.Errorf("%d of %d reads were hedged", n, reads)
		}
	})
}

// HedgeAfter hedges after exactly that time. The loser is cancelled, and a member
// that keeps losing is set aside.
func TestHedgeAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, members := many(t, hedging(30*time.Millisecond), silence, ok, ok)
		slow := 0
		for range 200 {
			d, err := took(func() error { return tryGet(e) })
			if err != nil || d != 0 && d != 30*time.Millisecond {
				t.Errorf("%v after %v", err, d)
			}
			if d > 0 {
				slow++
			}
		}
		if slow < 3 || slow > 10 {
			t.Errorf("%d reads of 200 were hedged", slow)
		}
		if n := members[0].Counts(); n.Cancelled != slow || n.Waiting > 1 {
			t.Errorf("%d calls were cancelled, %d wait", n.Cancelled, n.Waiting)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		e, _ := many(t, Config{HedgeAfter: -1, Timeout: 5 * time.Second}, silence, ok, ok)
		failed := 0
		for range 100 {
			if d, err := took(func() error { return tryGet(e) }); err != nil {
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
	for name, test := range map[string]struct {
		first, second reply
		took          time.Duration
		is            error
	}{
		"the first answers":        {ok.Delayed(2 * time.Second), ok.Delayed(time.Second), 2 * time.Second, nil},
		"the second answers":       {silence, ok.Delayed(time.Second), peertest.LateAfter + time.Second, nil},
		"the first is lost":        {peertest.Cut.Delayed(2 * time.Second), ok.Delayed(time.Second), peertest.LateAfter + time.Second, nil},
		"the second is lost":       {ok.Delayed(4 * time.Second), peertest.Cut.Delayed(time.Second), 4 * time.Second, nil},
		"the second has no leader": {ok.Delayed(4 * time.Second), noLeader.Delayed(time.Second), 4 * time.Second, nil},
		"the second decides":       {silence, noLease.Delayed(time.Second), peertest.LateAfter + time.Second, ErrLeaseNotFound},
		"neither":                  {silence, silence, 10 * time.Second, ErrTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, members := many(t, once, test.first, test.second)
			for got(members[0]) == 0 { // until the first member is picked first
				members[1].Answer(ok)
				members[0].Answer(test.first)
				go func() {
					if p, up := e.Set.Up(balance.Unary); up && strings.HasPrefix(p.Endpoint, "a") {
						s := sending{e: e, r: Request{Method: rpc.Get}, conn: p, bound: e.Bound(t.Context())}
						members[1].Answer(test.second)
						d, err := took(func() error {
							_, err := s.send(t.Context(), false)
							return plain(err)
						})
						if d != test.took || !errors.Is(err, test.is) {
							t.Errorf("%s: %v after %v, want %v after %v", name, err, d, test.is, test.took)
						}
					}
				}()
				synctest.Wait()
			}
			time.Sleep(time.Minute)
			for _, m := range members {
				if n := m.Counts().Waiting; n > 0 {
					t.Errorf("%s: %d calls are left at %s", name, n, m.Address)
				}
			}
		})
	}
}

// Bug: an early hedge without a budget, or without a second member, waited for the
// first one until its timeout and never became a late read. Of 900 concurrent reads on
// three members with one silent, 178 timed out; without HedgeAfter none did.
func TestEarlyHedgeWithoutBudgetBecomesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := many(t, hedging(50*time.Millisecond), silence, ok, ok)
		const reads = 900
		var calls sync.WaitGroup
		for range reads {
			calls.Go(func() {
				if d, err := took(func() error { return tryGet(e) }); err != nil || d > peertest.LateAfter+hedgeAgain {
					t.Errorf("%v after %v", err, d)
				}
			})
		}
		calls.Wait()
		if n := counted(e); n.hedges < reads/5 || len(n.retries) > 0 {
			t.Errorf("%d hedges, retries %v", n.hedges, n.retries)
		}
	})
}

// The same without a second member when the hedge was due: one comes up later.
func TestEarlyHedgeWithoutTargetBecomesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, members := many(t, hedging(50*time.Millisecond), silence, ok)
		members[1].Down(true)
		members[1].Cut(nil)
		time.AfterFunc(time.Second, func() {
			members[1].Down(false)
			if _, err := e.Set.PickNamed(t.Context(), balance.Unary, endpointOf(members[1])); err != nil {
				t.Error(err)
			}
		})
		if d, err := took(func() error { return tryGet(e) }); err != nil || d != peertest.LateAfter {
			t.Errorf("%v after %v", err, d)
		}
	})
}
