package balance

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// checked makes a set over the cluster's members whose connections are checked.
func (c cluster) checked(t testing.TB, check func(ctx context.Context, address string) (Identity, error), addresses ...string) *Set {
	s := New(Config{Endpoints: named(addresses...), Dial: c.Dial, Check: func(ctx context.Context, conn transport.Conn) (Identity, error) {
		return check(ctx, addressOf(conn))
	}})
	t.Cleanup(s.Close)
	return s
}

// shares is how many of n picks each endpoint gets.
func shares(t testing.TB, s *Set, n int) map[string]int {
	t.Helper()
	count := make(map[string]int)
	for range n {
		p, ok := s.Up(Unary)
		if !ok {
			p = mustPick(t, s, Unary)
		}
		synctest.Wait() // a dial that it has started is over
		count[p.Endpoint]++
	}
	return count
}

// A connection that the check refuses takes no call, and says why.
func TestCheckRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.checked(t, func(_ context.Context, address string) (Identity, error) {
			if address == "b" {
				return Identity{}, errors.New("not one of us")
			}
			return Identity{Member: 1}, nil
		}, "a", "b")
		if got := shares(t, s, 200); got["b"] > 0 {
			t.Errorf("picked %v", got)
		}
		if c.last("b").Closes() != 1 {
			t.Error("the connection that was refused is left open")
		}
		c.Member("a").Down(true)
		c.end("a", errors.New("gone"))
		if _, err := pick(s, Unary); err == nil || !strings.Contains(err.Error(), "not one of us") {
			t.Errorf("error is %v", err)
		}
		s.Close()
	})
}

// One endpoint is not checked, until it was replaced or rejected.
func TestCheckOfOneEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		checks := 0
		s := c.checked(t, func(context.Context, string) (Identity, error) { checks++; return Identity{}, nil }, "a")
		p := mustPick(t, s, Unary)
		watch := mustPick(t, s, Watch)
		hold(t, p)
		hold(t, watch)
		if checks != 0 {
			t.Errorf("checked %d times", checks)
		}
		s.Reject(p, errors.New("foreign"))
		synctest.Wait()
		if p.State() != transport.Draining || watch.State() != transport.Draining {
			t.Error("connections to a member that was rejected stay")
		}
		mustPick(t, s, Unary)
		if checks != 1 {
			t.Errorf("checked %d times after it was rejected", checks)
		}
		s.Close()
	})
}

// A check that hangs ends with the dial timeout, which is no error of the
// caller's context.
func TestCheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.checked(t, func(ctx context.Context, _ string) (Identity, error) {
			<-ctx.Done()
			return Identity{}, ctx.Err()
		}, "a", "b")
		began := time.Now()
		_, err := pick(s, Unary)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not answer") {
			t.Errorf("error is %v", err)
		}
		if d := time.Since(began); d > 2*defaultDialTimeout {
			t.Errorf("took %v", d)
		}
		s.Close()
	})
}

// Two addresses of a member get one share, and a learner none, as long as there
// are others; when there are none they serve.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		members := map[string]Identity{"a": {Member: 1}, "alias of a": {Member: 1}, "b": {Member: 2}, "learner": {Member: 3, Learner: true}, "unknown": {}}
		s := c.checked(t, func(_ context.Context, address string) (Identity, error) { return members[address], nil },
			"a", "alias of a", "b", "learner", "unknown")
		shares(t, s, 500) // all are connected
		got := shares(t, s, 3000)
		for name, share := range map[string]int{"a": 1000, "b": 1000, "unknown": 1000, "alias of a": 0, "learner": 0} {
			if n := got[name]; n < share*4/5 || n > share*6/5 {
				t.Errorf("%s got %d of 3000 calls, want about %d", name, n, share)
			}
		}
		for _, a := range []string{"a", "b", "unknown"} {
			c.Member(a).Down(true)
			c.end(a, errors.New("gone"))
		}
		if p := mustPick(t, s, Unary); p.Endpoint != "alias of a" {
			t.Errorf("picked %s when only the alias and the learner are left", p.Endpoint)
		}
		c.Member("alias of a").Down(true)
		c.end("alias of a", errors.New("gone"))
		if p := mustPick(t, s, Unary); p.Endpoint != "learner" {
			t.Errorf("picked %s when only the learner is left", p.Endpoint)
		}
		s.Close()
	})
}
