package v3compat

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"silly.store/etcd"
)

// New makes a client as clientv3.New does. It connects to nothing, but with a
// user name it asks for a token, and with RejectOldCluster for the members'
// versions, for DialTimeout at most. Close closes all of it.
//
// A field of config that has no meaning here is an error that names it, or is
// listed in this package's README and logged: see there for each of them.
func New(config clientv3.Config) (*clientv3.Client, error) {
	own, err := ownConfig(&config)
	if err != nil {
		return nil, err
	}
	if own.Logger, err = useLogger(&config); err != nil {
		return nil, err
	}
	c, err := etcd.New(own)
	if err != nil {
		return nil, err
	}
	client, err := build(config, c, c.Close)
	if err != nil {
		return nil, err
	}
	if config.RejectOldCluster {
		err = rejectOld(client, config.DialTimeout)
	}
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	if fields := withoutEffect(&config); fields != nil {
		client.GetLogger().Info("these fields of clientv3.Config have no effect with silly.store/etcd", zap.Strings("fields", fields))
	}
	return client, nil
}

// Wrap makes a *clientv3.Client of c, which stays its owner's: closing the one
// that is returned ends its context, its watches and its keep-alives, and leaves
// c open. Close both, the returned one first.
//
// Calls are retried as c's Config says, and with its Timeout.
func Wrap(c *etcd.Client) *clientv3.Client {
	client, err := build(clientv3.Config{Logger: zap.NewNop()}, c, func() error { return nil })
	if err != nil {
		// There is nothing in this configuration that clientv3.New could refuse.
		// If it does, what needs no connection still works.
		client = clientv3.NewCtxClient(context.Background())
		l := newLocal(c)
		fill(client, l, firstRenewal(0), l.close)
	}
	return client
}

// placeholder is what clientv3.New is given for an endpoint, since it refuses
// some that are ours. It is never connected to.
const placeholder = "127.0.0.1:2379"

// build makes a clientv3.Client on c. closeOwn is called last by its Close.
func build(config clientv3.Config, c *etcd.Client, closeOwn func() error) (*clientv3.Client, error) {
	l := newLocal(c)
	f := newFollower(c.Endpoints(), c.SetEndpoints)
	closeAll := func() error {
		f.close()
		return errors.Join(l.close(), closeOwn())
	}
	config.Endpoints = []string{placeholder}
	config.AutoSyncInterval, config.RejectOldCluster = 0, false
	config.DialOptions = append(f.options(), grpc.WithUnaryInterceptor(l.interceptUnary), grpc.WithStreamInterceptor(l.interceptStream))
	client, err := clientv3.New(config)
	if err != nil {
		_ = closeAll()
		return nil, err // as it is: code compares it
	}
	l.conn.Store(client.ActiveConnection())
	client.SetEndpoints(c.Endpoints()...)
	f.follow(client)
	fill(client, l, firstRenewal(config.DialTimeout), closeAll)
	return client, nil
}

// fill puts our own in place of what clientv3.New has made. first is how long a
// KeepAlive waits for its first renewal.
func fill(client *clientv3.Client, l *local, first time.Duration, closeAll func() error) {
	client.KV = clientv3.NewKVFromKVClient(kvClient{&kvServer{c: l.c}, l}, nil)
	client.Cluster = clientv3.NewClusterFromClusterClient(pb.NewClusterClient(l), nil)
	client.Auth = clientv3.NewAuthFromAuthClient(pb.NewAuthClient(l), nil)
	client.Maintenance = &maintenance{&maintenanceServer{c: l.c}}
	client.Watcher = newWatcher(l.c)
	client.Lease = &closingLease{Lease: newLease(l, first), ctx: client.Ctx(), closeAll: closeAll}
}

// closingLease ends what is below a clientv3.Client, whose Close ends its
// context first and calls this Close last.
type closingLease struct {
	clientv3.Lease
	ctx      context.Context
	closeAll func() error
}

// Close ends the keep-alives. It is no more than that when it is called for this
// interface alone.
func (l *closingLease) Close() error {
	err := l.Lease.Close()
	if l.ctx.Err() == nil {
		return err
	}
	return errors.Join(err, l.closeAll())
}
