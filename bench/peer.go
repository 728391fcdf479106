package main

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// peer does the work with go.etcd.io/etcd/client/v3 at its defaults; only its
// logger is silenced. make is clientv3.New or its replacement.
type peer struct {
	make func(clientv3.Config) (*clientv3.Client, error)
	c    *clientv3.Client
}

func (p *peer) open(t target) error {
	config, err := t.tls()
	if err != nil {
		return err
	}
	c := clientv3.Config{Endpoints: t.Endpoints, TLS: config, Username: t.User, Password: t.Password, Logger: zap.NewNop()}
	if t.CountDials {
		c.DialOptions = append(c.DialOptions, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dials.dial(ctx, "tcp", address)
		}))
	}
	p.c, err = p.make(c)
	return err
}

func (p *peer) close() error { return p.c.Close() }

func (p *peer) get(ctx context.Context, key string) error {
	r, err := p.c.Get(ctx, key)
	if err != nil {
		return err
	}
	return expect("get", len(r.Kvs), 1)
}

func (p *peer) put(ctx context.Context, key string, v value) error {
	_, err := p.c.Put(ctx, key, v.text)
	return err
}

func (p *peer) getAll(ctx context.Context, prefix string, n int) error {
	r, err := p.c.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	return expect("range", len(r.Kvs), n)
}

func (p *peer) walk(ctx context.Context, prefix string, n int, each func()) error {
	chunks, err := p.c.GetStream(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	pairs := 0
	for chunk := range chunks {
		if err := chunk.Err(); err != nil {
			return err
		}
		for range chunk.RangeResponse.Kvs {
			pairs++
			each()
		}
	}
	return expect("walk", pairs, n)
}

func (p *peer) txnGet(ctx context.Context, keys []string) error {
	ops := make([]clientv3.Op, len(keys))
	for i, k := range keys {
		ops[i] = clientv3.OpGet(k)
	}
	r, err := p.c.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return err
	}
	pairs := 0
	for _, o := range r.Responses {
		pairs += len(o.GetResponseRange().Kvs)
	}
	return expect("txn of gets", pairs, len(keys))
}

func (p *peer) txnPut(ctx context.Context, keys []string, v value) error {
	ops := make([]clientv3.Op, len(keys))
	for i, k := range keys {
		ops[i] = clientv3.OpPut(k, v.text)
	}
	r, err := p.c.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return err
	}
	return expect("txn of puts", len(r.Responses), len(keys))
}

// keepLease reads the responses, as client/v3 requires.
func (p *peer) keepLease(ctx context.Context, ttl time.Duration) (alive func() error, err error) {
	l, err := p.c.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return nil, err
	}
	responses, err := p.c.KeepAlive(context.WithoutCancel(ctx), l.ID)
	if err != nil {
		return nil, err
	}
	lost := new(atomic.Bool)
	go func() {
		for range responses {
		}
		lost.Store(true)
	}()
	return func() error {
		if lost.Load() {
			return errors.New("a lease is lost")
		}
		return nil
	}, nil
}

// watch waits for the server's confirmation, as Watch itself does.
func (p *peer) watch(ctx context.Context, key string, prefix bool, revision int64) (watching, error) {
	options := []clientv3.OpOption{clientv3.WithRev(revision)}
	if prefix {
		options = append(options, clientv3.WithPrefix())
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return peerWatching{p.c.Watch(ctx, key, options...), cancel}, nil
}

type peerWatching struct {
	responses clientv3.WatchChan
	cancel    context.CancelFunc
}

func (w peerWatching) next(ctx context.Context) (int, error) {
	select {
	case r, ok := <-w.responses:
		switch {
		case !ok:
			return 0, errors.New("the watch's channel is closed")
		case r.Err() != nil:
			return 0, r.Err()
		}
		return len(r.Events), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (w peerWatching) stop() { w.cancel() }
