// Package onefault makes connections in which one request suffers a fault that the test chooses:
// it is cut, its answer is lost, or it is held back until the test releases it.
package onefault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Kind is what happens to one request.
type Kind int

const (
	// CutBefore: the connection breaks before anything of it is sent.
	CutBefore Kind = iota
	// CutDuring: it breaks when half of it is sent, so the server never has it whole.
	CutDuring
	// LoseAnswer: the server answers, and the connection breaks before the answer arrives.
	LoseAnswer
	// Late: the connection breaks for the client, and the server gets the request when the
	// test says so.
	Late
	// Stall: as Late, but the client sees no break.
	Stall
)

// Kinds are those that end by themselves, by name.
var Kinds = map[string]Kind{"cut before": CutBefore, "cut during": CutDuring, "answer lost": LoseAnswer, "late": Late}

var errBroken = errors.New("the test has broken the connection")

// Faults makes connections in which one request suffers a fault. It is safe for concurrent use.
type Faults struct {
	mu    sync.Mutex // guards the fields below
	armed bool
	kind  Kind
	match []byte
	hit   chan struct{} // closed when the request has come
	held  *faultyConn
	bytes []byte
}

// New makes Faults for one test.
func New(t testing.TB) *Faults {
	f := new(Faults)
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.held != nil {
			_ = f.held.Conn.Close()
		}
	})
	return f
}

// Arm gives the next request that has the text in it the fault. The channel is closed when it
// has come.
func (f *Faults) Arm(k Kind, text string) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.kind, f.match, f.hit = true, k, []byte(text), make(chan struct{})
	return f.hit
}

// Sever breaks the connection of a request that stalls, for the client.
func (f *Faults) Sever() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held.set(func() { f.held.dead = true })
	_ = f.held.Conn.SetReadDeadline(time.Now()) // ends the client's Read
}

// Deliver has the server get the request that was late, and returns when it has answered.
func (f *Faults) Deliver(t testing.TB) {
	t.Helper()
	f.mu.Lock()
	c, b := f.held, f.bytes
	f.held = nil
	f.mu.Unlock()
	if c == nil {
		t.Fatal("no request is late")
	}
	defer c.Conn.Close()
	c.set(func() { c.dead = true })
	_ = c.Conn.SetReadDeadline(time.Now()) // ends the client's Read
	c.reading.Lock()
	defer c.reading.Unlock()
	_ = c.Conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Conn.Write(b); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	for {
		n, err := c.Conn.Read(answer)
		if err != nil {
			t.Fatal(err)
		}
		if hasHeaders(answer[:n]) {
			return
		}
	}
}

// Dial is an etcd.Config.DialContext.
func (f *Faults) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: nc, of: f}, nil
}

// take returns the fault of a request, if it is for this one.
func (f *Faults) take(c *faultyConn, b []byte) (k Kind, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed || !hasHeaders(b) || !bytes.Contains(b, f.match) {
		return 0, false
	}
	f.armed = false
	if f.kind == Late || f.kind == Stall {
		f.held, f.bytes = c, bytes.Clone(b)
		c.set(func() { c.kept = true }) // before the test can deliver it
	}
	close(f.hit)
	return f.kind, true
}

type faultyConn struct {
	net.Conn
	of *Faults

	reading sync.Mutex // held by who reads

	mu   sync.Mutex // guards the fields below
	lose bool       // the next answer is lost
	dead bool       // for the client: nothing passes any more
	kept bool       // the test delivers the request over it
}

func (c *faultyConn) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *faultyConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	dead, kept := c.dead, c.kept
	c.mu.Unlock()
	switch {
	case dead:
		return 0, errBroken
	case kept:
		return len(b), nil
	}
	k, ok := c.of.take(c, b)
	if !ok {
		return c.Conn.Write(b)
	}
	switch k {
	case CutBefore:
		_ = c.Conn.Close()
		return 0, errBroken
	case CutDuring:
		n, _ := c.Conn.Write(b[:len(b)/2])
		_ = c.Conn.Close()
		return n, errBroken
	case LoseAnswer:
		c.set(func() { c.lose = true })
		return c.Conn.Write(b)
	case Late:
		c.set(func() { c.dead, c.kept = true, true })
		_ = c.Conn.SetReadDeadline(time.Now()) // ends a Read
		return len(b), nil
	case Stall:
	}
	c.set(func() { c.kept = true })
	return len(b), nil
}

func (c *faultyConn) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.mu.Lock()
	dead := c.dead
	c.mu.Unlock()
	if dead {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	lose := c.lose && hasHeaders(b[:n])
	dead = c.dead
	c.mu.Unlock()
	switch {
	case dead:
		return 0, io.ErrUnexpectedEOF
	case lose:
		_ = c.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *faultyConn) Close() error {
	c.mu.Lock()
	kept, dead := c.kept, c.dead
	c.mu.Unlock()
	if kept {
		if !dead {
			_ = c.Conn.SetReadDeadline(time.Now())
		}
		return nil
	}
	return c.Conn.Close()
}

func (c *faultyConn) SetReadDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil
	}
	return c.Conn.SetReadDeadline(at)
}

// hasHeaders reports whether there is a HEADERS frame in b, which begins with a frame.
func hasHeaders(b []byte) bool {
	const frameHeader, headers = 9, 1
	for at := 0; at+frameHeader <= len(b); {
		f := b[at:]
		if f[3] == headers {
			return true
		}
		at += frameHeader + int(f[0])<<16 + int(f[1])<<8 + int(f[2])
	}
	return false
}
