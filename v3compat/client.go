package v3compat

// The clientv3.Client is made by clientv3.New and not by NewCtxClient, whose client has no
// connection: clientv3.NewKV(c), Dial, SetEndpoints and Sync panic on that one. The
// connection is never dialed. Interceptors hand its calls to the services of local. A load
// balancing policy hears of its endpoints while the client holds their lock, so another
// goroutine passes them on (endpoints.go).
//
// A clientv3.Client closes its Lease last, after it has ended its context. That is when the
// etcd.Client below is closed. A Close of the Lease alone does not close it.

import (
	"context"
	"errors"
	"slices"
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
	own, schemes, err := ownConfig(&config)
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
	client, err := build(config, c, schemes, c.Close)
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
	config := clientv3.Config{Endpoints: c.Endpoints(), Logger: zap.NewNop()}
	client, err := build(config, c, asTheyAre, func() error { return nil })
	if err != nil {
		// There is nothing in this configuration that clientv3.New could refuse.
		// If it does, what needs no connection still works.
		client = clientv3.NewCtxClient(context.Background())
		l := newLocal(c, asTheyAre)
		fill(client, l, l, firstRenewal(0), l.close)
	}
	return client
}

// placeholder is what clientv3.New is given for an endpoint, since it refuses
// some that are ours. It is never connected to.
const placeholder = "127.0.0.1:2379"

// build makes a clientv3.Client on c, whose endpoints are those of config. closeOwn is
// called last by its Close.
func build(config clientv3.Config, c *etcd.Client, schemes schemes, closeOwn func() error) (*clientv3.Client, error) {
	l := newLocal(c, schemes)
	endpoints, intercepted := config.Endpoints, len(config.DialOptions) > 0
	set := func(list []string) error { return c.SetEndpoints(schemes.ownAll(list)) }
	f := newFollower(endpoints, set, newReporter(c))
	closeAll := func() error {
		f.close()
		return errors.Join(l.close(), closeOwn())
	}
	config.Endpoints = []string{placeholder}
	config.AutoSyncInterval, config.RejectOldCluster = 0, false
	config.DialOptions = slices.Concat(withoutRetries, config.DialOptions, f.options(), l.options())
	client, err := clientv3.New(config)
	if err != nil {
		_ = closeAll()
		return nil, err // as it is: code compares it
	}
	l.conn.Store(client.ActiveConnection())
	client.SetEndpoints(endpoints...)
	var conn grpc.ClientConnInterface = l
	if intercepted {
		conn = client.ActiveConnection() // which runs the interceptors, and costs more
	}
	fill(client, l, conn, firstRenewal(config.DialTimeout), closeAll)
	f.follow(client)
	return client, nil
}

// withoutRetries takes the place of client/v3's own interceptors, which send requests again.
// Like those it gives way to an interceptor that is not chained.
var withoutRetries = []grpc.DialOption{
	grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoke(ctx, method, req, reply, conn, opts...)
	}),
	grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(ctx, desc, conn, method, opts...)
	}),
}

// fill puts our own in place of what clientv3.New has made. conn is l, or a connection
// that runs interceptors and ends at l. first is how long a KeepAlive waits for its first
// renewal.
func fill(client *clientv3.Client, l *local, conn grpc.ClientConnInterface, first time.Duration, closeAll func() error) {
	if conn == l {
		client.KV = clientv3.NewKVFromKVClient(kvClient{&kvServer{c: l.c}, l}, nil)
	} else {
		client.KV = clientv3.NewKVFromKVClient(pb.NewKVClient(conn), nil)
	}
	client.Cluster = clientv3.NewClusterFromClusterClient(pb.NewClusterClient(conn), nil)
	client.Auth = clientv3.NewAuthFromAuthClient(pb.NewAuthClient(conn), nil)
	client.Maintenance = &maintenance{server: l.maintenance, remote: pb.NewMaintenanceClient(conn)}
	client.Watcher = newWatcher(l.c)
	client.Lease = &closingLease{Lease: newLease(l.c, conn, first), ctx: client.Ctx(), closeAll: closeAll}
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
