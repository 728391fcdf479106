package client

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
)

// faultPoint is the point at which the connection of a request ends.
type faultPoint struct {
	name string
	// write returns how many of a request's bytes are sent; nil: all.
	write func(n int) int
	// read returns how many of the answer's bytes arrive; nil: all.
	read func(n int) int
	// applied: a write has reached the server.
	applied bool
	// notSent: the client knows that it has not, so another connection carries it.
	notSent bool
}

var faultPoints = []faultPoint{
	{name: "before the write", write: func(int) int { return 0 }, notSent: true},
	{name: "after one byte", write: func(int) int { return 1 }},
	{name: "during the write", write: func(n int) int { return n / 2 }},
	{name: "before the last byte", write: func(n int) int { return n - 1 }},
	{name: "before the answer", read: func(int) int { return 0 }, applied: true},
	{name: "after a byte of the answer", read: func(int) int { return 1 }, applied: true},
	{name: "during the answer", read: func(n int) int { return n / 2 }, applied: true},
	{name: "before the answer's last byte", read: func(n int) int { return n - 1 }, applied: true},
}

// pointDialer makes connections. The next one that carries a request gets the
// fault.
type pointDialer struct {
	mu    sync.Mutex  // guards the field below
	armed *faultPoint // nil: none
}

func (d *pointDialer) arm(p *faultPoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = p
}

func (d *pointDialer) take() *faultPoint {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.armed
	d.armed = nil
	return p
}

func (d *pointDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &pointConn{Conn: nc, dialer: d}, nil
}

type pointConn struct {
	net.Conn
	dialer *pointDialer

	mu sync.Mutex  // guards the field below
	at *faultPoint // the fault for the next answer
}

// headers returns the offset of the first HEADERS frame in b, which begins with a
// frame, or -1 if there is none.
func headers(b []byte) int {
	const frameHeader, kind = 9, 1
	for at := 0; at+frameHeader <= len(b); {
		f := b[at:]
		if f[3] == kind {
			return at
		}
		at += frameHeader + int(f[0])<<16 + int(f[1])<<8 + int(f[2])
	}
	return -1
}

func (c *pointConn) Write(b []byte) (int, error) {
	at := headers(b)
	if at < 0 {
		return c.Conn.Write(b)
	}
	p := c.dialer.take()
	if p == nil || p.write == nil {
		c.mu.Lock()
		c.at = p
		c.mu.Unlock()
		return c.Conn.Write(b)
	}
	n, _ := c.Conn.Write(b[:at+p.write(len(b)-at)])
	return n, errBroken // the client closes it
}

func (c *pointConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	at := headers(b[:n])
	c.mu.Lock()
	p := c.at
	c.mu.Unlock()
	if p == nil || err != nil || at < 0 {
		return n, err
	}
	_ = c.Conn.Close()
	if kept := at + p.read(n-at); kept > 0 {
		return kept, nil
	}
	return 0, io.ErrUnexpectedEOF
}

// The outcome of a request for each point at which its connection may end.
func TestFaultPoints(t *testing.T) {
	t.Parallel()
	for _, p := range faultPoints {
		t.Run(p.name, func(t *testing.T) {
			d := new(pointDialer)
			client := func(config etcd.Config) *etcd.Client {
				config.DialContext, config.RetrySleep = d.dial, time.Millisecond
				c := connect(t, config)
				put(t, c, "warm", "up")
				return c
			}
			once := client(etcd.Config{Retry: -1})
			key := ownKeys(t)
			version := func(key string) int64 { return stored(t, once, key).Version }

			d.arm(&p)
			if _, err := once.Get(t.Context(), etcd.GetRequest{Key: key}); err != nil {
				t.Errorf("a read: %v", err)
			}

			d.arm(&p)
			_, err := once.Put(t.Context(), etcd.PutRequest{Key: key + "once"})
			switch {
			case p.notSent && err != nil:
				t.Errorf("a write that was not sent: %v", err)
			case !p.notSent && !etcd.MaybeApplied(err):
				t.Errorf("a write: %v, want one that may have been applied", err)
			case !p.notSent:
				wants(t, err, etcd.ErrUnavailable, etcd.OutcomeUnknown)
			}
			if want := count(p.applied || p.notSent); version(key+"once") != want {
				t.Errorf("a write was applied %d times, want %d", version(key+"once"), want)
			}

			again := client(etcd.Config{Retry: 1, RetryWrites: etcd.AtLeastOnce})
			d.arm(&p)
			if _, err := again.Put(t.Context(), etcd.PutRequest{Key: key + "again"}); err != nil {
				t.Errorf("a write at least once: %v", err)
			}
			if want := 1 + count(p.applied); version(key+"again") != want {
				t.Errorf("a write at least once was applied %d times, want %d", version(key+"again"), want)
			}

			safe := client(etcd.Config{Retry: 1})
			d.arm(&p)
			lease, err := safe.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute, NoKeepAlive: true})
			if err != nil {
				t.Fatalf("a grant: %v", err)
			}
			d.arm(&p)
			if _, err := safe.Revoke(t.Context(), etcd.RevokeRequest{ID: lease.ID}); err != nil {
				t.Errorf("a revoke: %v", err)
			}
			if _, err := safe.TTL(t.Context(), etcd.TTLRequest{ID: lease.ID}); !errors.Is(err, etcd.ErrLeaseNotFound) {
				t.Errorf("a revoked lease: %v", err)
			}
		})
	}
}

func count(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
