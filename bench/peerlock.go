package main

import (
	"context"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"
)

// contender has its own session. All are closed with the client.
func (p *peer) contender(context.Context) (contender, error) {
	s, err := concurrency.NewSession(p.c, concurrency.WithTTL(int(lockTTL/time.Second)))
	return &peerContender{s: s}, err
}

type peerContender struct {
	s    *concurrency.Session
	name string
	m    *concurrency.Mutex
}

func (c *peerContender) another() contender { return &peerContender{s: c.s} }

func (c *peerContender) cycle(ctx context.Context, name string) error {
	return c.hold(ctx, name, nothing)
}

func (c *peerContender) hold(ctx context.Context, name string, f func() error) error {
	if c.m == nil || c.name != name {
		c.name, c.m = name, concurrency.NewMutex(c.s, name)
	}
	if err := c.m.Lock(ctx); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return c.m.Unlock(ctx)
}

func (p *peer) elect(ctx context.Context, name string) (election, error) {
	s, err := concurrency.NewSession(p.c, concurrency.WithTTL(int(lockTTL/time.Second)))
	if err != nil {
		return election{}, err
	}
	e := concurrency.NewElection(s, name)
	if err := e.Campaign(ctx, ""); err != nil {
		return election{}, err
	}
	told := make(chan string)
	go func() {
		defer close(told)
		for r := range e.Observe(ctx) {
			select {
			case told <- string(r.Kvs[0].Value):
			case <-ctx.Done():
				return
			}
		}
	}()
	return election{proclaim: e.Proclaim, told: told}, nil
}
