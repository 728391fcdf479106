package main

import (
	"context"
	"errors"
	"os"
	"time"

	"silly.store/etcd/etcdtest"
)

// serverOptions are what a row asks of its server; the zero value is one etcd
// with its fsync off.
type serverOptions struct {
	fsync bool
	// members, when not 0, makes it a cluster of so many, and peerDelay is what
	// all that they say to each other takes, each way.
	members   int
	peerDelay time.Duration
}

// server is a real etcd in processes of its own.
type server struct {
	endpoints []string
	pids      []int // one a member
	stop      func() error
}

// startServer starts an empty etcd whose data is in a new folder under dir.
func startServer(ctx context.Context, dir string, o serverOptions) (*server, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if o.members > 0 {
		return startCluster(o)
	}
	data, err := os.MkdirTemp(dir, "etcd-bench-")
	if err != nil {
		return nil, err
	}
	s, err := etcdtest.NewProcess(etcdtest.Config{
		Version:    "3.7",
		DataDir:    data,
		Fsync:      o.fsync,
		QuotaBytes: 8e9, // put rows leave a long history
		LogLevel:   "error",
		// It elects itself in a fifth of a second in place of one; alone it has
		// nobody to send heartbeats to.
		Heartbeat: 20 * time.Millisecond,
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(data))
	}
	return &server{
		endpoints: s.Endpoints(),
		pids:      []int{s.PID()},
		stop:      func() error { return errors.Join(s.Close(), os.RemoveAll(data)) },
	}, nil
}

func startCluster(o serverOptions) (*server, error) {
	c, err := etcdtest.NewCluster(etcdtest.ClusterConfig{
		Size: o.members, PeerProxies: true,
		Config: etcdtest.Config{Version: "3.7", Fsync: o.fsync, QuotaBytes: 8e9, LogLevel: "error"},
	})
	if err != nil {
		return nil, err
	}
	if err := c.FaultPeers(etcdtest.Fault{Delay: o.peerDelay}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	s := &server{endpoints: c.Endpoints(), stop: c.Close}
	for _, m := range c.Members() {
		s.pids = append(s.pids, m.PID())
	}
	return s, nil
}
