package balance

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// limitedCluster is a cluster whose connections allow room streams each.
type limitedCluster struct {
	cluster
	room int

	mu    sync.Mutex // guards the fields below
	conns []*limitedConn
}

// limitedConn is a connection of which the test says how many streams are taken.
type limitedConn struct {
	*peertest.Conn
	room   int
	onFull func(transport.Limited)

	mu    sync.Mutex // guards the fields below
	taken int
	shed  int
}

func (c *limitedConn) Streams() (now, allowed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken, c.room
}

func (c *limitedConn) Shed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shed++
}

// Served says nothing: these tests end no connection in good order.
func (c *limitedConn) Served() (requests int, orderly bool) { return 0, false }

func (c *limitedConn) sheds() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shed
}

// fill takes so many of its streams, and has requests wait if there is no room.
func (c *limitedConn) fill(taken int) {
	c.mu.Lock()
	c.taken = taken
	full := c.taken >= c.room
	c.mu.Unlock()
	if full {
		c.onFull(c)
	}
}

func (c *limitedCluster) dial(ctx context.Context, target transport.Target) (transport.Conn, error) {
	conn, err := c.Dial(ctx, target)
	if err != nil {
		return nil, err
	}
	limited := &limitedConn{Conn: conn.(*peertest.Conn), room: c.room, onFull: target.OnFull}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, limited)
	return limited, nil
}

// limited is a set of one member whose connections take room streams each, and its
// first connection.
func limited(t *testing.T, room int) (*limitedCluster, *Set, *limitedConn) {
	c := &limitedCluster{cluster: newCluster(), room: room}
	s := New(Config{Endpoints: named("a"), Dial: c.dial})
	t.Cleanup(s.Close)
	return c, s, mustPick(t, s, Unary).Conn.(*limitedConn)
}

func inUse(t *testing.T, s *Set) *limitedConn {
	t.Helper()
	p, ok := s.Up(Unary)
	if !ok {
		t.Fatal("no connection is fit")
	}
	return p.Conn.(*limitedConn)
}

// When requests wait for a stream they go to a further connection, and the full one
// stays as it is. It is used again when it has room.
func TestFullConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, first := limited(t, 2)
		first.fill(2)
		synctest.Wait()
		second := inUse(t, s)
		if second == first || first.sheds() != 1 || first.State() != transport.Ready {
			t.Fatalf("the first connection is in use: %v, shed %d times, %v", second == first, first.sheds(), first.State())
		}
		if n := s.States()[0].Connections; n != 2 {
			t.Errorf("%d connections", n)
		}
		// What has found its way to the first one meanwhile follows.
		first.fill(2)
		if synctest.Wait(); first.sheds() != 2 || c.dialed("a") != 2 {
			t.Errorf("shed %d times, %d dials", first.sheds(), c.dialed("a"))
		}
		first.fill(1)
		second.fill(2)
		if synctest.Wait(); inUse(t, s) != first || second.sheds() != 1 || c.dialed("a") != 2 {
			t.Errorf("the first is in use again: %v; the second shed %d times, %d dials", inUse(t, s) == first, second.sheds(), c.dialed("a"))
		}
		first.fill(2)
		if synctest.Wait(); inUse(t, s) == first || inUse(t, s) == second || c.dialed("a") != 3 {
			t.Errorf("%d dials when both are full", c.dialed("a"))
		}
		// Those that are over are forgotten.
		first.End(gone(errors.New("lost")))
		third := inUse(t, s)
		third.fill(2)
		if synctest.Wait(); first.Closes() != 1 || s.States()[0].Connections != 3 {
			t.Errorf("the lost one was closed %d times, %d connections", first.Closes(), s.States()[0].Connections)
		}
		s.Close()
		for _, conn := range c.conns {
			if conn.Closes() == 0 {
				t.Error("a connection is left")
			}
		}
	})
}

// Connections are not made without end.
func TestFullConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, _ := limited(t, 1)
		for range 100 {
			inUse(t, s).fill(1)
			synctest.Wait()
		}
		if n := c.dialed("a"); n != 1+maxFull {
			t.Errorf("%d dials", n)
		}
		s.Close()
	})
}

// A further connection that is no better, or no longer needed, is not kept.
func TestFullConnectionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, first := limited(t, 0) // the server allows none at all
		for range 100 {
			first.fill(0)
			synctest.Wait()
		}
		if inUse(t, s) != first || c.dialed("a") > 3 || first.sheds() != 0 {
			t.Errorf("%d dials, shed %d times", c.dialed("a"), first.sheds())
		}
		s.Close()

		c, s, first = limited(t, 1)
		c.Member("a").Down(true)
		first.fill(1)
		synctest.Wait()
		if inUse(t, s) != first || first.sheds() != 0 {
			t.Error("requests are driven away, though there is no other connection")
		}
		s.Close()
	})
}
