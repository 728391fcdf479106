package main

import (
	"context"
	"time"

	"silly.store/etcd/concurrency"
)

// coordinator returns the one that the client's locks share.
func (o *ours) coordinator() (*concurrency.Coordinator, error) {
	o.once.Do(func() {
		o.co, o.coErr = concurrency.New(o.c, concurrency.Config{TTL: lockTTL, MaxKeys: 2000})
	})
	return o.co, o.coErr
}

func (o *ours) contender(context.Context) (contender, error) {
	co, err := o.coordinator()
	return &oursContender{co: co}, err
}

// oursContender locks through the coordinator that all share. It keeps its last mutex, as a
// program would.
type oursContender struct {
	co   *concurrency.Coordinator
	name string
	m    *concurrency.Mutex
	keep time.Duration // see MutexConfig.Linger
}

func (c *oursContender) linger() { c.keep = time.Second }

func (c *oursContender) another() contender { return &oursContender{co: c.co} }

func (c *oursContender) cycle(ctx context.Context, name string) error {
	return c.hold(ctx, name, nothing)
}

func (c *oursContender) hold(ctx context.Context, name string, f func() error) error {
	if c.m == nil || c.name != name {
		c.name, c.m = name, c.co.Mutex(name, concurrency.MutexConfig{Linger: c.keep})
	}
	l, err := c.m.Lock(ctx)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return l.Unlock(ctx)
}

func (o *ours) elect(ctx context.Context, name string) (election, error) {
	co, err := o.coordinator()
	if err != nil {
		return election{}, err
	}
	e := co.Election(name, concurrency.ElectionConfig{})
	ld, err := e.Campaign(ctx)
	if err != nil {
		return election{}, err
	}
	told := make(chan string)
	go func() {
		defer close(told)
		for st, err := range e.Observe(ctx) {
			if err != nil {
				return
			}
			select {
			case told <- string(st.Value):
			case <-ctx.Done():
				return
			}
		}
	}()
	return election{proclaim: func(ctx context.Context, value string) error { return ld.Proclaim(ctx, []byte(value)) }, told: told}, nil
}
