package balance

import (
	"context"
	"testing"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// cluster is the members behind a set.
type cluster struct{ *peertest.Cluster }

func newCluster() cluster { return cluster{peertest.NewCluster()} }

// dialed is how often the member at an address was dialed.
func (c cluster) dialed(address string) int { return c.Member(address).Counts().Dials }

// last is the connection that was made to an address last.
func (c cluster) last(address string) *peertest.Conn { return c.Member(address).LastConn() }

// end ends that connection.
func (c cluster) end(address string, reason error) { c.last(address).End(gone(reason)) }

// gone is how a connection ends for a reason of its network.
func gone(reason error) *transport.Error {
	return &transport.Error{Code: transport.Unavailable, Cause: reason}
}

// hold opens a stream, without which a connection that drains has ended.
func hold(t testing.TB, conn transport.Conn) transport.Stream {
	t.Helper()
	s, err := conn.Open(context.Background(), transport.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// addressOf is where a connection goes.
func addressOf(conn transport.Conn) string { return conn.(*peertest.Conn).Member.Address }

// of makes a set over the cluster's members with these addresses.
func (c cluster) of(t testing.TB, addresses ...string) *Set {
	s := New(Config{Endpoints: named(addresses...), Dial: c.Dial})
	t.Cleanup(s.Close)
	return s
}

// pick is what a call does, with a context that ends in a minute: Up, and Pick if that finds
// none.
func pick(s *Set, lane Lane) (Picked, error) {
	if p, ok := s.Up(lane); ok {
		return p, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.Pick(ctx, lane)
}

func mustPick(t testing.TB, s *Set, lane Lane) Picked {
	t.Helper()
	p, err := pick(s, lane)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
