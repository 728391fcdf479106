package etcd

import (
	"context"
	"testing"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// scripted makes a client of a scripted cluster. Without endpoints in config they are
// all its members.
func scripted(t testing.TB, cluster *peertest.Cluster, config Config) *Client {
	t.Helper()
	if len(config.Endpoints) == 0 {
		for _, m := range cluster.Members() {
			config.Endpoints = append(config.Endpoints, m.Address)
		}
	}
	c, err := newClient(config, func(ctx context.Context, target transport.Target, _ transport.Options) (transport.Conn, error) {
		return cluster.Dial(ctx, target)
	}, func(*Config) balance.Resolver { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// scriptedBy makes a client of one member, which answers each call with the next of
// the replies, and with the last one again and again.
func scriptedBy(t testing.TB, config Config, replies ...peertest.Reply) (*Client, *peertest.Member) {
	t.Helper()
	cluster := peertest.NewCluster("a:1")
	m := cluster.Member("a:1")
	m.Handle(peertest.Script(replies...))
	m.RefuseStreams(says(transport.Unimplemented, "unknown method RangeStream").Err)
	return scripted(t, cluster, config), m
}

type reply = peertest.Reply

var (
	ok       = peertest.OK
	lost     = peertest.Lost
	noLeader = peertest.NoLeader
	stopped  = peertest.Stopped
	busy     = peertest.Busy
	noLease  = peertest.NoLease
	silence  = peertest.Silence
	says     = peertest.Says
)
