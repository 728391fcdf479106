package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"silly.store/etcd"
)

// watchThroughCut watches through a connection that breaks, while another client
// keeps changing the watched keys.
func (t *tour) watchThroughCut(ctx context.Context) error {
	t.heading("Watch")

	cable := &cable{}
	far, err := etcd.New(etcd.Config{Endpoints: t.endpoints, DialContext: cable.dial})
	if err != nil {
		return err
	}
	defer far.Close()
	w, err := far.Watch(ctx, etcd.WatchRequest{Key: t.prefix + "news/", Prefix: true})
	if err != nil {
		return err
	}
	defer w.Close()
	t.show("watch news/*", "from revision %d on", w.Revision())

	sent, err := t.publish(ctx, "one", "two")
	if err != nil {
		return err
	}
	if err := t.receive(ctx, w, sent); err != nil {
		return err
	}

	t.show("pull the cable", "%d connections break", cable.pull())
	if sent, err = t.publish(ctx, "three", "four"); err != nil {
		return err
	}
	deleted, err := t.c.Delete(ctx, etcd.DeleteRequest{Key: t.prefix + "news/one"})
	if err != nil {
		return err
	}
	sent = append(sent, deleted.Header.Revision)
	t.show("change three keys", "at revisions %d", sent)

	cable.plug()
	t.show("plug it in again", "the watch goes on")
	if err := t.receive(ctx, w, sent); err != nil {
		return err
	}
	t.show("nothing is missing", "and nothing came twice")
	return nil
}

// publish puts keys and returns their revisions.
func (t *tour) publish(ctx context.Context, names ...string) ([]int64, error) {
	var revisions []int64
	for _, name := range names {
		put, err := t.c.Put(ctx, etcd.PutRequest{Key: t.prefix + "news/" + name})
		if err != nil {
			return nil, err
		}
		revisions = append(revisions, put.Header.Revision)
	}
	return revisions, nil
}

// receive reads the next events and compares them with the revisions of the changes.
func (t *tour) receive(ctx context.Context, w *etcd.Watcher, revisions []int64) error {
	for len(revisions) > 0 {
		resp, err := w.Read(ctx)
		if err != nil {
			return err
		}
		for _, ev := range resp.Events {
			t.show("  "+t.short(ev.KV.Key), "%v at revision %d", ev.Type, ev.KV.ModRevision)
			if len(revisions) == 0 || ev.KV.ModRevision != revisions[0] {
				return fmt.Errorf("the watch delivered revision %d, want the next of %d", ev.KV.ModRevision, revisions)
			}
			revisions = revisions[1:]
		}
	}
	return nil
}

// cable carries a client's connections. Pulling it breaks all of them.
type cable struct {
	mu sync.Mutex
	// mu protects the fields below.
	pulled bool
	conns  []net.Conn
}

// dial serves as Config.DialContext.
func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	pulled := c.pulled
	c.mu.Unlock()
	if pulled {
		return nil, errors.New("the cable is pulled")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	if c.pulled {
		conn.Close()
	}
	return conn, nil
}

// pull closes the connections and returns how many there were.
func (c *cable) pull() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.pulled = true
	n := len(c.conns)
	c.conns = nil
	return n
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = false
}
