package balance

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// addressed is one address with members behind it, of which some are mute: a probe of them
// is not answered.
type addressed struct {
	cluster
	set    *Set
	first  Picked
	mute   func(c *peertest.Conn) bool
	probes atomic.Int64
}

func behindOne(t *testing.T, lane Lane) *addressed {
	a := &addressed{cluster: newCluster(), mute: func(*peertest.Conn) bool { return false }}
	a.set = New(Config{Endpoints: named("a"), Dial: a.Dial, Probe: func(ctx context.Context, conn transport.Conn) error {
		a.probes.Add(1)
		if a.mute(conn.(*peertest.Conn)) {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}})
	t.Cleanup(a.set.Close)
	a.first = mustPick(t, a.set, lane)
	time.Sleep(2 * stableAfter)
	return a
}

// firstOnes has the connections mute that were made before so many others.
func (a *addressed) firstOnes(n int) func(*peertest.Conn) bool {
	return func(c *peertest.Conn) bool {
		conns := a.Member("a").Conns()
		for _, first := range conns[:min(n, len(conns))] {
			if c == first {
				return true
			}
		}
		return false
	}
}

// A member that answers PINGs and no requests, with others behind the same address: calls
// get the first connection whose probe is answered, and the mute one ends with its
// streams.
func TestMuteMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for lane := range lanes {
			a := behindOne(t, lane)
			a.mute = a.firstOnes(3)
			old := a.last("a")
			stream := hold(t, old)
			began := time.Now()
			for range 100 { // many requests are late
				a.set.Doubt(a.first)
			}
			for p := a.first; p.Conn == old; {
				time.Sleep(time.Millisecond)
				p, _ = a.set.Up(lane)
			}
			// The second one is dialed beside it, the third and the fourth after these times.
			want := probeTimeout + 3*spareStagger
			if took := time.Since(began); took < want || took > want+10*time.Millisecond {
				t.Errorf("replaced after %v, want %v", took, want)
			}
			synctest.Wait()
			if old.State() != transport.Draining || old.Closes() != 0 || a.dialed("a") != 4 {
				t.Errorf("the mute one is %v, closed %d times; %d dials", old.State(), old.Closes(), a.dialed("a"))
			}
			if other, ok := a.set.Other(a.first, lane); !ok || other.Conn != a.last("a") || !a.set.Elsewhere(a.first, lane) {
				t.Error("the new connection is not elsewhere")
			}
			stream.Close()
			synctest.Wait()
			for i, c := range a.Member("a").Conns() {
				if closed := c.Closes() > 0; closed != (c != a.last("a")) {
					t.Errorf("connection %d of %d is closed: %v", i, a.dialed("a"), closed)
				}
			}
			a.set.Close()
		}
	})
}

// What is merely slow is kept: a connection whose probe is answered is not compared with
// others, and one beside which no other is better stays, of which nothing bad is known.
// Doubts cost ever less.
func TestDoubtsThatProveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := behindOne(t, Unary)
		a.set.Doubt(a.first)
		synctest.Wait()
		if a.dialed("a") != 1 || a.probes.Load() != 1 {
			t.Errorf("%d dials and %d probes of a member that answers", a.dialed("a"), a.probes.Load())
		}

		a.mute = func(*peertest.Conn) bool { return true }
		for range 600 {
			time.Sleep(time.Second)
			a.set.Doubt(a.first)
			if p := upOrPick(t, a.set); p.Conn != a.first.Conn {
				t.Fatal("the connection was replaced by one that is no better")
			}
		}
		// Every 36 s in the end, with six dials.
		if n := a.dialed("a"); n < 60 || n > 150 {
			t.Errorf("%d dials in ten minutes", n)
		}
		if s := a.set.States()[0]; s.LastErr != nil || s.Connections != 1 {
			t.Errorf("%+v", s)
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		for i, c := range a.Member("a").Conns()[1:] {
			if c.Closes() == 0 {
				t.Errorf("connection %d is left", i+1)
			}
		}

		// It is lost then: the doubts don't put off the next connection.
		a.mute = func(*peertest.Conn) bool { return false }
		a.Member("a").Conns()[0].End(gone(errors.New("lost")))
		synctest.Wait()
		began := time.Now()
		if p := upOrPick(t, a.set); p.Conn == a.first.Conn || time.Since(began) != 0 {
			t.Errorf("connected again after %v", time.Since(began))
		}
		a.set.Close()
	})
}

// Where there is another endpoint, where the connection is not in use any longer, and
// after Close, doubts have no effect. Close ends a comparison.
func TestDoubtsWithoutEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var probes atomic.Int64
		s := c.probed(t, func(context.Context, string) error { probes.Add(1); return errors.New("sick") }, "a", "b")
		s.Doubt(chosen(t, s, "a"))
		synctest.Wait()
		if probes.Load() != 0 || c.dialed("a") != 1 {
			t.Errorf("%d probes, %d dials of one of two endpoints", probes.Load(), c.dialed("a"))
		}
		s.Close()

		a := behindOne(t, Unary)
		a.mute = a.firstOnes(2)
		a.set.Doubt(a.first)
		time.Sleep(2 * time.Second)
		probed := a.probes.Load()
		time.Sleep(time.Minute)
		a.set.Doubt(a.first) // which was replaced
		synctest.Wait()
		if a.probes.Load() != probed {
			t.Error("a connection is probed that is not in use")
		}
		a.mute = func(*peertest.Conn) bool { return true }
		a.set.Doubt(mustPick(t, a.set, Unary))
		time.Sleep(probeTimeout + spareStagger)
		a.set.Close()
		a.set.Doubt(a.first)
	})
}
