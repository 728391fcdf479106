package call

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// many makes an engine with members a, b, c and so on, one per reply. Each has been
// called before.
func many(t *testing.T, config Config, replies ...reply) (*Engine, []*peertest.Member) {
	t.Helper()
	cluster := peertest.NewCluster()
	for i := range replies {
		m := cluster.Member(string(rune('a'+i)) + ":1")
		m.Handle(peertest.Script(ok), rpc.Identify.Path)
	}
	e, members := newEngine(t, cluster, config), cluster.Members()
	for _, m := range members {
		for got(m) == 0 {
			_ = tryGet(e)
			synctest.Wait()
		}
	}
	for i, m := range members {
		m.Answer(replies[i])
		m.ResetCounts()
	}
	time.Sleep(time.Minute) // connections have lived long enough, and all faults are forgotten
	return e, members
}

// got returns how many calls a member has received, except those that identify it.
func got(m *peertest.Member) (n int) {
	for _, call := range m.Calls() {
		if call.Path != rpc.Identify.Path {
			n++
		}
	}
	return n
}

func tryGet(e *Engine) error { return do(context.Background(), e, rpc.Get) }

func tryPut(e *Engine) error { return do(context.Background(), e, rpc.Put) }

// If one of three members cannot serve a request, another one does, within one
// attempt and without a pause. A write that may have been applied is not sent
// again.
func TestMovesToAnotherMember(t *testing.T) {
	learner := says(transport.FailedPrecondition, "etcdserver: rpc not supported for learner")
	timedOut := says(transport.Unavailable, "etcdserver: request timed out")
	for name, test := range map[string]struct {
		bad       reply
		read      bool // a read moves
		write     bool // a write moves
		avoidedBy int  // how many of 400 calls may still reach the bad member; 0: all
	}{
		"connection lost":   {peertest.Cut, true, false, 0},
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
					f     func(*Engine) error
					moves bool
				}{{"read", tryGet, test.read}, {"write", tryPut, test.write}} {
					e, members := many(t, once, test.bad, ok, ok)
					met := 0
					for range 400 {
						before := got(members[0])
						d, err := took(func() error { return call.f(e) })
						synctest.Wait()
						if got(members[0]) == before {
							continue
						}
						met++
						if call.moves && err != nil || d > 0 {
							t.Errorf("%s after %v: %v", call.kind, d, err)
						}
						if !call.moves && err == nil && test.avoidedBy == 0 && name != "connection lost" {
							t.Errorf("%s succeeded", call.kind)
						}
						time.Sleep(10 * time.Millisecond)
					}
					if met == 0 || test.avoidedBy > 0 && met > test.avoidedBy {
						t.Errorf("%d of 400 %ss met the bad member", met, call.kind)
					}
					e.Close()
				}
			})
		})
	}
}

// When every member refuses, an attempt fails at once and names each one. At once may be
// after the first backoffs: the dials that Up has started may have failed when Pick looks.
func TestEveryMemberRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, members := many(t, once, peertest.Cut, peertest.Cut, peertest.Cut)
		for _, m := range members {
			m.Down(true)
		}
		d, err := took(func() error { return tryGet(e) })
		if !errors.Is(err, ErrUnavailable) || d > 100*time.Millisecond {
			t.Errorf("%v after %v", err, d)
		}
		for range 5 { // until all are known to be down
			d, err = took(func() error { return tryPut(e) })
			if d > 500*time.Millisecond {
				t.Errorf("%v after %v", err, d)
			}
		}
		for _, m := range members {
			if !strings.Contains(err.Error(), m.Address+" refuses") {
				t.Errorf("%v does not name %s", err, m.Address)
			}
		}
	})
}

// A member that does not serve gets no load, and load returns soon after it serves
// again.
func TestSetAsideAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, members := many(t, usual, noLeader, ok, ok)
		calls := func(n int) (toBad int) {
			before := got(members[0])
			for range n {
				if err := tryGet(e); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Millisecond)
			}
			return got(members[0]) - before
		}
		if n := calls(60_000); n > 100 { // a minute's: probes, about one a second
			t.Errorf("%d of 60,000 calls met a member without leader", n)
		}
		members[0].Answer(ok)
		calls(2100)
		if n := calls(3000); n < 800 || n > 1200 {
			t.Errorf("%d of 3000 calls went to a member that is back", n)
		}
	})
}
