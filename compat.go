package etcd

import (
	"context"
	"slices"
	"sync"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/compat"
	"silly.store/etcd/internal/rpc"
)

func init() { compat.Of = func(client any) compat.Inside { return inside{client.(*Client)} } }

// inside is the client as v3compat sees it; see internal/compat.
type inside struct{ c *Client }

func (i inside) OnConnection(f func()) (stop func()) { return i.c.observer.connections.add(f) }

func (i inside) OnLeaderless(f func()) (stop func()) { return i.c.observer.leaderless.add(f) }

func (i inside) Call(ctx context.Context, r compat.Request) ([]byte, error) {
	m := &rpc.Method{Op: r.Op, Path: r.Path, Class: rpc.Write, Local: r.Local, Anonymous: r.Anonymous}
	if r.Reads {
		m.Class = rpc.Read
	}
	reply, err := i.c.engine.Do(ctx, call.Request{Method: m, Message: r.Message})
	if err != nil {
		return nil, public(err)
	}
	return reply, nil
}

// listeners are functions to call when something has happened. The zero value has none.
type listeners struct {
	mu  sync.Mutex // guards all; the list is never modified, since tell reads it without mu
	all []*func()
}

func (l *listeners) add(f func()) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(slices.Clip(l.all), &f)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = slices.DeleteFunc(slices.Clone(l.all), func(other *func()) bool { return other == &f })
	}
}

// tell calls the listeners with no lock held.
func (l *listeners) tell() {
	l.mu.Lock()
	all := l.all
	l.mu.Unlock()
	for _, f := range all {
		(*f)()
	}
}
