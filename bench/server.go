package main

import (
	"context"
	"errors"
	"os"

	"silly.store/etcd/etcdtest"
)

// serverOptions are what a row asks of its server; the zero value is one etcd
// with its fsync off.
type serverOptions struct {
	fsync bool
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
