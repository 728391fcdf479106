package balance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// host makes a set of one endpoint, "etcd.test:1", whose host has these addresses. The
// cluster's members are at address:1.
func (c cluster) host(t testing.TB, check Checker, addresses ...string) *Set {
	s := New(Config{
		Endpoints: []Endpoint{{Name: "etcd.test:1", Target: transport.Target{Network: "tcp", Address: "etcd.test:1"}}},
		Dial:      c.Dial, Check: check, Observer: new(log),
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != "etcd.test" {
				t.Errorf("%q was looked up", host)
			}
			var found []netip.Addr
			for _, a := range addresses {
				found = append(found, netip.MustParseAddr(a))
			}
			return found, nil
		},
	})
	t.Cleanup(s.Close)
	return s
}

// When there is nothing good at one address the next is tried, within one dial.
func TestNextAddress(t *testing.T) {
	const a, b, good = "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"
	for name, bad := range map[string]struct {
		dial   func(context.Context) error
		check  func(ctx context.Context) (Identity, error)
		atMost time.Duration // that two bad ones take
	}{
		"refuses":          {dial: peertest.Refuse("a")},
		"is silent":        {dial: peertest.Ignore, atMost: 2 * addressStagger},
		"answers wrongly":  {check: func(context.Context) (Identity, error) { return Identity{}, errors.New("another cluster") }},
		"does not answer":  {check: func(ctx context.Context) (Identity, error) { <-ctx.Done(); return Identity{}, ctx.Err() }, atMost: 2 * addressStagger},
		"is but a learner": {check: func(context.Context) (Identity, error) { return Identity{Member: 7, Learner: true}, nil }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.Member(a).OnDial(bad.dial)
				c.Member(b).OnDial(bad.dial)
				s := c.host(t, func(ctx context.Context, conn transport.Conn) (Identity, error) {
					if bad.check != nil && addressOf(conn) != good {
						return bad.check(ctx)
					}
					return Identity{Member: 1}, nil
				}, "10.0.0.1", "10.0.0.2", "10.0.0.3")
				began, slowest := time.Now(), time.Duration(0)
				for range 40 {
					p := mustPick(t, s, Unary)
					slowest = max(slowest, time.Since(began))
					if addressOf(p.Conn) != good {
						t.Fatalf("picked %s", addressOf(p.Conn))
					}
					if st := s.States()[0]; st.Address != good || st.State != Ready {
						t.Fatalf("state %+v", st)
					}
					time.Sleep(redial.Cap)
					c.end(good, errors.New("lost"))
					time.Sleep(redial.Cap)
					began = time.Now()
				}
				if slowest > bad.atMost {
					t.Errorf("the slowest dial took %v, want %v at most", slowest, bad.atMost)
				}
				// Once it is known which addresses are of no use they come last.
				if n := c.dialed(a) + c.dialed(b); n == 0 || n > 10 {
					t.Errorf("the bad addresses were dialed %d times", n)
				}
				s.Close()
				for _, address := range []string{a, b} {
					for _, conn := range c.Member(address).Conns() {
						if conn.Closes() == 0 {
							t.Errorf("a connection to %s is left", address)
						}
					}
				}
			})
		})
	}
}

// A host whose only member is a learner, or nothing at all.
func TestNoGoodAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		learner := func(context.Context, transport.Conn) (Identity, error) {
			return Identity{Member: 1, Learner: true}, nil
		}
		s := c.host(t, learner, "10.0.0.1", "10.0.0.2")
		mustPick(t, s, Unary)
		s.Close()
		a, b := c.Member("10.0.0.1:1"), c.Member("10.0.0.2:1")
		if a.Counts().Conns+b.Counts().Conns != 2 || a.LastConn().Closes() == 0 || b.LastConn().Closes() == 0 {
			t.Error("the connections are not one at each address, closed in the end")
		}

		mistaken := func(context.Context) error {
			return &transport.Error{Code: transport.Unavailable, Cause: fmt.Errorf("%w: no etcd", transport.ErrMisconfigured)}
		}
		c = newCluster()
		c.Member("10.0.0.1:1").OnDial(mistaken)
		c.Member("10.0.0.2:1").OnDial(peertest.Refuse("b"))
		s = c.host(t, nil, "10.0.0.1", "10.0.0.2")
		_, err := pick(s, Unary)
		for _, text := range []string{"etcd.test:1: ", "10.0.0.1:1: ", "no etcd", "10.0.0.2:1: b refuses"} {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%q is not in %v", text, err)
			}
		}
		if errors.Is(err, transport.ErrMisconfigured) {
			t.Error("waiting does not help, though one address is merely down")
		}
		time.Sleep(redial.Cap)
		c.Member("10.0.0.2:1").OnDial(mistaken)
		if _, err = pick(s, Unary); !errors.Is(err, transport.ErrMisconfigured) {
			t.Errorf("waiting helps where no address is usable: %v", err)
		}
	})
}

// Connections spread over the addresses; one that was lost is made elsewhere.
func TestSpreadOverAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.host(t, nil, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1")
		at := make(map[string]int)
		last := ""
		for range 60 {
			p := mustPick(t, s, Unary)
			if addressOf(p.Conn) == last {
				t.Errorf("connected again to %s, which had been lost just before", last)
			}
			last = addressOf(p.Conn)
			at[last]++
			time.Sleep(redial.Cap)
			c.end(last, errors.New("lost"))
			synctest.Wait()
		}
		for _, a := range []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"} {
			if at[a] < 5 {
				t.Errorf("connections by address: %v", at)
			}
		}
	})
}

// Both families are tried in turn, the one that suits the machine first.
func TestAddressFamilies(t *testing.T) {
	s := New(Config{Endpoints: named("a"), Dial: newCluster().Dial})
	defer s.Close()
	var found []netip.Addr
	for _, a := range []string{"fd00::1", "fd00::2", "fd00::3", "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"} {
		found = append(found, netip.MustParseAddr(a))
	}
	firsts := make(map[netip.Addr]bool)
	for range 100 {
		order := newMember(Endpoint{}).inOrder(s, found)
		var families []bool
		for _, a := range order {
			families = append(families, a.Is4())
		}
		if !slices.Equal(families, []bool{false, true, false, true, false}) {
			t.Fatalf("order %v", order)
		}
		firsts[order[0]] = true
	}
	if len(firsts) != 3 {
		t.Errorf("those that came first: %v", firsts)
	}
}

// What is an address already is not looked up, nor a socket; a name that cannot be
// looked up says so.
func TestWhatIsLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notFound := errors.New("lookup etcd.test: no such host")
		c := newCluster()
		resolve := func(context.Context, string) ([]netip.Addr, error) { return nil, notFound }
		for _, target := range []transport.Target{
			{Network: "tcp", Address: "127.0.0.1:1"}, {Network: "tcp", Address: "[fe80::1%eth0]:1"}, {Network: "unix", Address: "/etcd.test:1"},
		} {
			s := New(Config{Endpoints: []Endpoint{{Name: "x", Target: target}}, Dial: c.Dial, Resolve: resolve})
			if p := mustPick(t, s, Unary); addressOf(p.Conn) != target.Address || s.States()[0].Address != "" {
				t.Errorf("%+v is connected to at %s", target, addressOf(p.Conn))
			}
			s.Close()
		}
		for text, resolve := range map[string]Resolver{
			notFound.Error():                  resolve,
			"lookup etcd.test: no addresses":  func(context.Context, string) ([]netip.Addr, error) { return nil, nil },
			"looking up etcd.test: no connec": func(ctx context.Context, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() },
		} {
			s := New(Config{Endpoints: []Endpoint{{Name: "x", Target: transport.Target{Network: "tcp", Address: "etcd.test:1"}}}, Dial: c.Dial, Resolve: resolve})
			_, err := pick(s, Unary)
			if err == nil || !strings.Contains(err.Error(), text) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want %q in it", err, text)
			}
			s.Close()
		}
	})
}

// A single address that does not answer is tried once more, since there may be
// another member behind it now.
func TestSameAddressAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.Member("a").OnDial(func(ctx context.Context) error {
			if c.dialed("a") == 1 {
				return peertest.Ignore(ctx)
			}
			return nil // it is up
		})
		s := c.of(t, "a")
		began := time.Now()
		mustPick(t, s, Unary)
		if d := time.Since(began); d != repeatAfter {
			t.Errorf("it took %v, want %v", d, repeatAfter)
		}
		// What fails is not tried again beside it, but after the backoff. Up is left out: the
		// dial that it starts may have failed already when Pick looks, which then makes its own.
		c.Member("b").Down(true)
		s = c.of(t, "b")
		if _, err := s.Pick(t.Context(), Unary); err == nil || c.dialed("b") != 1 {
			t.Errorf("%v after %d dials", err, c.dialed("b"))
		}
		// Nor is one that stays silent more often than once.
		c.Member("c").OnDial(peertest.Ignore)
		s = c.of(t, "c")
		if _, err := pick(s, Unary); err == nil || c.dialed("c") != 1+repeats {
			t.Errorf("%v after %d dials", err, c.dialed("c"))
		}
	})
}

// The observer learns which address it was.
func TestObserverLearnsTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s := c.host(t, nil, "10.0.0.1")
		mustPick(t, s, Unary)
		s.Close()
		l := s.observer.(*log)
		want := net.JoinHostPort("10.0.0.1", "1")
		if len(l.up) != 1 || len(l.down) != 1 || l.up[0].Address != want || l.down[0].Address != want {
			t.Errorf("up %+v, down %+v", l.up, l.down)
		}
	})
}
