package balance

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// briefConn is a connection of which the test says how many requests it has served, and
// when it takes no more.
type briefConn struct {
	*peertest.Conn
	mu       sync.Mutex // guards the fields below
	served   int
	draining bool
}

func (c *briefConn) State() transport.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state := c.Conn.State(); state == transport.Closed || !c.draining {
		return state
	}
	return transport.Draining
}

func (c *briefConn) Answered() bool {
	served, _ := c.Served()
	return served > 0
}

func (c *briefConn) Served() (requests int, orderly bool) {
	draining := c.State() == transport.Draining
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served, draining || errors.Is(c.Err(), transport.ErrDraining)
}

// Streams says that there is always room for more, so that Shed is never called.
func (c *briefConn) Streams() (now, allowed int) { return 0, math.MaxInt32 }

func (c *briefConn) Shed() {}

// serve answers so many requests.
func (c *briefConn) serve(requests int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served += requests
}

func (c *briefConn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
}

// end ends the connection: in good order, as after a GOAWAY, or not.
func (c *briefConn) end(orderly bool) {
	reason := errors.New("reset")
	if orderly {
		reason = transport.ErrDraining
	}
	c.End(gone(reason))
}

// dialBrief is Dial whose connections are briefConns.
func (c cluster) dialBrief(ctx context.Context, target transport.Target) (transport.Conn, error) {
	conn, err := c.Dial(ctx, target)
	if err != nil {
		return nil, err
	}
	return &briefConn{Conn: conn.(*peertest.Conn)}, nil
}

// brief is a set of two members whose connections are checked, and how often they were.
// A check is one request, after which used is called.
func (c cluster) brief(t *testing.T, used func(*briefConn)) (*Set, *atomic.Int32) {
	checks := new(atomic.Int32)
	s := New(Config{Endpoints: named("a", "b"), Dial: c.dialBrief, Check: func(_ context.Context, conn transport.Conn) (Identity, error) {
		checks.Add(1)
		conn.(*briefConn).serve(1)
		used(conn.(*briefConn))
		return Identity{}, nil
	}})
	t.Cleanup(s.Close)
	return s, checks
}

// Where the check of a connection is the only request that a proxy lets pass, the next
// connection is trusted for a while.
func TestCheckThatUsesUpTheConnection(t *testing.T) {
	for name, late := range map[string]bool{"at once": false, "a moment later": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				s, checks := c.brief(t, func(f *briefConn) {
					if late {
						time.AfterFunc(time.Millisecond, func() { f.drain() })
						return
					}
					f.drain()
				})
				call := func() {
					f := upOrPick(t, s).Conn.(*briefConn)
					time.Sleep(2 * time.Millisecond)
					if f.State() == transport.Ready {
						f.serve(1)
					}
					f.end(true)
				}
				began := time.Now()
				for range 100 {
					call()
				}
				if n := checks.Load(); n < 1 || n > 2 {
					t.Errorf("%d checks of two members", n)
				}
				if d := time.Since(began); d > 250*time.Millisecond {
					t.Errorf("100 calls of 2 ms took %v", d)
				}
				// Not for ever.
				time.Sleep(trustFor)
				before := checks.Load()
				for range 10 {
					call()
				}
				if checks.Load() == before {
					t.Error("no check any more")
				}
				s.Close()
			})
		})
	}
}

// Connections that live, or end in disorder, are checked each time.
func TestChecksGoOn(t *testing.T) {
	for name, end := range map[string]func(*briefConn){
		"they live": func(f *briefConn) {
			f.serve(1)
			time.Sleep(stableAfter)
			f.end(true)
		},
		"they serve much": func(f *briefConn) { f.serve(fewRequests); f.end(true) },
		"they break":      func(f *briefConn) { f.serve(1); f.end(false) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				s, checks := c.brief(t, func(*briefConn) {})
				for range 20 {
					p := upOrPick(t, s)
					end(p.Conn.(*briefConn))
					time.Sleep(redial.Cap)
				}
				if n, dials := int(checks.Load()), c.dialed("a")+c.dialed("b"); n != dials {
					t.Errorf("%d checks of %d connections", n, dials)
				}
				s.Close()
			})
		})
	}
}

// A member that was rejected is no longer trusted.
func TestRejectedIsNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		s, checks := c.brief(t, func(f *briefConn) { f.drain() })
		p := upOrPick(t, s)
		before := checks.Load()
		s.Reject(p, errors.New("foreign"))
		if _, err := pickNamed(s, p.Endpoint); err != nil {
			t.Fatal(err)
		}
		if checks.Load() == before {
			t.Error("it is not checked")
		}
		s.Close()
	})
}

// A connection that has served calls and is ended in good order is replaced at once,
// however young; one that has served none is not, nor one that broke.
func TestBriefConnectionsAreReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		served int
		end    error
		atOnce bool
	}{
		"served":     {1, transport.ErrDraining, true},
		"not served": {0, transport.ErrDraining, false},
		"broken":     {1, errors.New("reset"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				s := New(Config{Endpoints: named("a"), Dial: c.dialBrief})
				began := time.Now()
				for range 50 {
					p, err := pick(s, Unary)
					if err != nil {
						time.Sleep(redial.Cap)
						continue
					}
					p.Conn.(*briefConn).serve(test.served)
					p.Conn.(*briefConn).end(errors.Is(test.end, transport.ErrDraining))
				}
				if d := time.Since(began); (d == 0) != test.atOnce {
					t.Errorf("50 connections took %v", d)
				}
				s.Close()
			})
		})
	}
}

// A pick that finds the connection it has waited for used up already, by others, waits
// for the next one.
func TestUsedUpByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		left := 20
		s := New(Config{Endpoints: named("a"), Dial: func(ctx context.Context, target transport.Target) (transport.Conn, error) {
			time.Sleep(time.Millisecond)
			conn, err := c.dialBrief(ctx, target)
			if left--; left >= 0 && err == nil {
				conn.(*briefConn).serve(1)
				conn.(*briefConn).drain()
			}
			return conn, err
		}})
		began := time.Now()
		p := mustPick(t, s, Unary)
		if p.State() != transport.Ready || time.Since(began) != 21*time.Millisecond {
			t.Errorf("a connection that is %v after %v", p.State(), time.Since(began))
		}
		s.Close()
	})
}
