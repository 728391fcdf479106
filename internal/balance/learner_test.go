package balance

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// learners makes a set whose members are learners, but for those that say otherwise.
func (c cluster) learners(t testing.TB, voting func(address string) bool, addresses ...string) *Set {
	return c.checked(t, func(_ context.Context, address string) (Identity, error) {
		return Identity{Member: 1, Learner: !voting(address)}, nil
	}, addresses...)
}

func never(string) bool { return false }

// The only endpoint has led to a learner. Once in a while the set connects to it again, a
// few times, because a balancer may choose another member; in between the refusal is final.
func TestLearnerBehindTheOnlyAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.learners(t, never, "a")
		p := mustPick(t, s, Unary)
		for range 2 {
			if !s.LearnerRefuses(p, true) {
				t.Error("another connection is no hope")
			}
		}
		if _, up := s.Up(Unary); up {
			t.Error("the learner's connection is still in use")
		}
		began := time.Now()
		q := mustPick(t, s, Unary)
		if q.Conn == p.Conn || time.Since(began) != 0 || c.dialed("a") != 2+learnerRepeats {
			t.Errorf("picked %v after %v and %d dials", q, time.Since(began), c.dialed("a"))
		}
		for range 100 {
			if s.LearnerRefuses(q, true) {
				t.Fatal("a second refusal is not final")
			}
		}
		time.Sleep(seekAfter)
		if s.LearnerRefuses(q, false) {
			t.Error("a request that a learner may serve gives the connection up")
		}
		if !s.LearnerRefuses(q, true) {
			t.Error("it is never looked for another member again")
		}
		synctest.Wait()
		for _, conn := range c.Member("a").Conns() {
			if conn.State() != transport.Closed {
				t.Error("a connection is left")
			}
		}
	})
}

// With another member, up or not, a learner's refusal is not final, and its connection
// stays. Learners alone are.
func TestLearnerAmongMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.learners(t, func(address string) bool { return address == "b" }, "a", "b")
		c.Member("b").Down(true)
		p := mustPick(t, s, Unary)
		for range 10 {
			if !s.LearnerRefuses(p, true) {
				t.Fatal("the refusal is final though there is another member")
			}
		}
		if p.Endpoint != "a" || p.State() != transport.Ready {
			t.Errorf("%s is %v", p.Endpoint, p.State())
		}

		c = newCluster()
		s = c.learners(t, never, "a", "b")
		for p = mustPick(t, s, Unary); p.Endpoint != "a"; p = mustPick(t, s, Unary) {
		}
		for q, ok := s.Other(p, Unary); !ok; q, ok = s.Other(p, Unary) {
			_ = q
			s.Up(Unary)
			synctest.Wait()
		}
		q, _ := s.Other(p, Unary)
		s.LearnerRefuses(p, true)
		s.LearnerRefuses(q, true)
		p, q = mustPick(t, s, Unary), mustPick(t, s, Unary)
		if s.LearnerRefuses(p, true) || s.LearnerRefuses(q, true) {
			t.Error("a refusal is not final although all are learners")
		}
	})
}
