package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/examples/internal/example"
)

const (
	counters   = 4  // goroutines that count
	increments = 50 // by each
	cutEvery   = 10 // increments
)

// countOverCuts counts from several goroutines through a proxy that breaks every
// connection after each tenth increment, when the next answer begins.
func countOverCuts(ctx context.Context, out io.Writer, e *example.Etcd) error {
	proxy, err := etcdtest.NewProxy(e.Endpoints[0])
	if err != nil {
		return err
	}
	defer proxy.Close()
	c, err := etcd.New(etcd.Config{Endpoints: []string{proxy.Endpoint()}})
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := newCounter(ctx, c, e.Prefix+"exact/counter", e.Prefix+"exact/marks/")
	if err != nil {
		return err
	}
	if err := n.countFromMany(ctx, proxy); err != nil {
		return errors.Join(err, n.close(ctx))
	}
	proxy.Heal()
	total, err := n.total(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Incremented %d times while answers were lost:\n  total %d\n", counters*increments, total)
	fmt.Fprintf(out, "  %d attempts had an unknown outcome, %d of them had been applied\n", n.unknown.Load(), n.already.Load())
	return n.close(ctx)
}

// countFromMany makes the increments. The next answer after each tenth is lost.
func (n *counter) countFromMany(ctx context.Context, proxy *etcdtest.Proxy) (err error) {
	var done atomic.Int64
	results := make(chan error, counters)
	for range counters {
		go func() {
			var err error
			for i := 0; i < increments && err == nil; i++ {
				if err = n.increment(ctx); done.Add(1)%cutEvery == 0 {
					proxy.CutAfter(etcdtest.ToClient, 1)
				}
			}
			results <- err
		}()
	}
	for range counters {
		err = errors.Join(err, <-results)
	}
	return err
}
