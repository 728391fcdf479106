package main

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"time"

	"silly.store/etcd/etcdtest"
)

// serverOptions are a row's requirements on its server; the zero value is one etcd
// with fsync off.
type serverOptions struct {
	fsync bool
	// members, when not 0, is the size of the cluster; peerDelay is the one-way
	// delay between its members.
	members   int
	peerDelay time.Duration
	tls       etcdtest.TLSMode
	// token, when not empty, turns authentication on: "simple" or "jwt".
	token string
}

// server is a real etcd in its own processes.
type server struct {
	target
	pids []int // one per member
	stop func() error
}

// startServer starts an empty etcd with its data in a new folder under dir.
func startServer(ctx context.Context, dir string, o serverOptions) (*server, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if o.members > 0 {
		return startCluster(o)
	}
	s, err := startMember(dir, o)
	if err == nil && o.token != "" {
		if err = s.requirePasswords(ctx); err != nil {
			return nil, errors.Join(err, s.stop())
		}
	}
	return s, err
}

func startMember(dir string, o serverOptions) (*server, error) {
	data, err := os.MkdirTemp(dir, "etcd-bench-")
	if err != nil {
		return nil, err
	}
	auth, err := authToken(data, o.token)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(data))
	}
	s, err := etcdtest.NewProcess(etcdtest.Config{
		Version:    "3.7",
		DataDir:    data,
		Fsync:      o.fsync,
		TLS:        o.tls,
		AuthToken:  auth,
		QuotaBytes: 8e9, // put rows leave a long history
		LogLevel:   "error",
		// The single member elects itself in a fifth of a second instead of a
		// whole one; it has no follower to send heartbeats to.
		Heartbeat: 20 * time.Millisecond,
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(data))
	}
	out := &server{pids: []int{s.PID()}, stop: func() error { return errors.Join(s.Close(), os.RemoveAll(data)) }}
	if out.target, err = targetOf(s.Endpoints(), s.CA(), o.tls); err != nil {
		return nil, errors.Join(err, out.stop())
	}
	return out, nil
}

// authToken is etcd's flag for tokens of a kind. The key of signed ones is written below dir.
func authToken(dir, kind string) (string, error) {
	if kind != "jwt" {
		return kind, nil
	}
	key := filepath.Join(dir, "jwt.key")
	if err := os.WriteFile(key, []byte(rand.Text()), 0o600); err != nil {
		return "", err
	}
	return "jwt,sign-method=HS256,ttl=10m,priv-key=" + key, nil
}

func startCluster(o serverOptions) (*server, error) {
	c, err := etcdtest.NewCluster(etcdtest.ClusterConfig{
		Size: o.members, PeerProxies: true,
		Config: etcdtest.Config{Version: "3.7", Fsync: o.fsync, TLS: o.tls, QuotaBytes: 8e9, LogLevel: "error"},
	})
	if err != nil {
		return nil, err
	}
	if err := c.FaultPeers(etcdtest.Fault{Delay: o.peerDelay}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	s := &server{stop: c.Close}
	if s.target, err = targetOf(c.Endpoints(), c.Members()[0].CA(), o.tls); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	for _, m := range c.Members() {
		s.pids = append(s.pids, m.PID())
	}
	return s, nil
}
