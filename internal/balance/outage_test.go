package balance

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
)

// The first call of a lane makes one connection: what Up has begun, Pick waits for, and a
// further lane goes to the member that is up.
func TestOneDialForTheFirstCall(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			c := cluster{peertest.NewCluster("a", "b", "c")}
			s := c.of(t, "a", "b", "c")
			for i, lane := range []Lane{Unary, Watch} {
				if _, ok := s.Up(lane); ok {
					t.Fatal("a connection is up before it was dialed")
				}
				if _, err := s.Pick(t.Context(), lane); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if n := c.allDials(); n != i+1 {
					t.Errorf("%d connections for the first calls of %d lanes", n, i+1)
				}
			}
			s.Close()
		})
	}
}

// When members are back after a time without any, and take long to answer, a client dials
// one of them. The others follow over the time of the recovery.
func TestReturnFromAnOutage(t *testing.T) {
	spare, early := 0, 0
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			c := cluster{peertest.NewCluster("a", "b", "c")}
			s := c.of(t, "a", "b", "c")
			c.outage(t, s, time.Second)
			before := c.allDials()
			p := eventually(t, s, Unary)
			if n := c.allDials() - before; n != 1 {
				t.Errorf("%d dials until the first connection was up", n)
			}
			q := eventually(t, s, Watch)
			if n := c.allDials() - before; q.Endpoint != p.Endpoint || n != 2 {
				t.Errorf("%d dials until both lanes were up, at %s and %s", n, p.Endpoint, q.Endpoint)
			}
			began := time.Now()
			for time.Since(began) < recovery+time.Second {
				s.Up(Unary)
				time.Sleep(10 * time.Millisecond)
				if time.Since(began) == time.Second {
					early += c.allDials() - before - 2
				}
			}
			spare += c.allDials() - before - 2
			s.Close()
		})
	}
	if spare != 60 || early > 40 {
		t.Errorf("%d dials of the members that were not needed, %d of them within a second; want 60, spread over %v", spare, early, recovery)
	}
}

// A member that is up in one lane can be dialed in the others, whatever their backoff.
func TestUpInOneLaneIsBackInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{peertest.NewCluster("a", "b", "c")}
		s := c.of(t, "a", "b", "c")
		c.outage(t, s, 10*time.Second)
		if wait := time.Until(s.NextTry(Watch)); wait <= 0 {
			t.Fatal("the watch lane has no backoff")
		}
		revived := s.Revived()
		eventually(t, s, Unary)
		select {
		case <-revived:
		default:
			t.Error("nothing tells that a connection is up")
		}
		began := time.Now()
		mustPick(t, s, Watch)
		if took := time.Since(began); took > slowDial {
			t.Errorf("the watch lane came up after %v", took)
		}
		s.Close()
	})
}

// slowDial is what a dial takes of members that have just come back.
const slowDial = 400 * time.Millisecond

// outage has calls of both lanes fail for so long, and until both have a backoff. Then it
// brings the members back.
func (c cluster) outage(t *testing.T, s *Set, long time.Duration) {
	t.Helper()
	for _, m := range c.Members() {
		m.Down(true)
	}
	due := func() bool { return time.Until(s.NextTry(Unary)) <= 0 || time.Until(s.NextTry(Watch)) <= 0 }
	for began := time.Now(); time.Since(began) < long || due(); time.Sleep(20 * time.Millisecond) {
		for _, lane := range []Lane{Unary, Watch} {
			if _, ok := s.Up(lane); ok {
				t.Fatal("a member is up")
			}
			if _, err := pick(s, lane); err == nil {
				t.Fatal("a member is up")
			}
		}
	}
	for _, m := range c.Members() {
		m.OnDial(func(context.Context) error { time.Sleep(slowDial); return nil })
	}
}

// eventually calls until a member is up.
func eventually(t *testing.T, s *Set, lane Lane) Picked {
	t.Helper()
	for {
		if p, ok := s.Up(lane); ok {
			return p
		}
		if p, err := pick(s, lane); err == nil {
			return p
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// allDials is how many dials there were of all members.
func (c cluster) allDials() (n int) {
	for _, m := range c.Members() {
		n += m.Counts().Dials
	}
	return n
}
