package etcdtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// RequestLimit is an HTTP/2 proxy in front of a server that ends each connection after
// a number of requests, as nginx does (keepalive_requests): with the last one's headers
// it says GOAWAY, ignores later ones, and closes the connection when those before are
// answered. It needs plain text, and is safe for concurrent use.
type RequestLimit struct {
	scheme, target string
	listener       net.Listener
	routines       sync.WaitGroup
	ctx            context.Context // ends with Close
	cancel         context.CancelFunc
	requests       atomic.Int64
	conns          atomic.Int64
}

// StartRequestLimit runs such a proxy in front of target, which is written as for
// [StartProxy], until the test ends. requests is how many a connection may carry.
func StartRequestLimit(t testing.TB, target string, requests int) *RequestLimit {
	t.Helper()
	p, err := NewRequestLimit(target, requests)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// NewRequestLimit is StartRequestLimit without a test. The caller must call
// [RequestLimit.Close].
func NewRequestLimit(target string, requests int) (*RequestLimit, error) {
	if requests < 1 {
		return nil, errors.New("etcdtest: a connection must carry at least one request")
	}
	scheme, host, err := splitTarget(target)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("etcdtest: %w", err)
	}
	p := &RequestLimit{scheme: scheme, target: host, listener: l}
	p.requests.Store(int64(requests))
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.routines.Go(p.accept)
	return p, nil
}

// Endpoint returns where the proxy listens, with the scheme of the target, if that has
// one.
func (p *RequestLimit) Endpoint() string { return p.scheme + p.listener.Addr().String() }

// Conns returns how many connections were made to the proxy so far.
func (p *RequestLimit) Conns() int64 { return p.conns.Load() }

// Set changes how many requests a connection may carry that is made from now on.
func (p *RequestLimit) Set(requests int) { p.requests.Store(int64(max(requests, 1))) }

// Close ends the proxy and all connections.
func (p *RequestLimit) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.routines.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("etcdtest: %w", err)
	}
	return nil
}

func (p *RequestLimit) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client was gone before it was accepted
		}
		p.conns.Add(1)
		c := &limitedConn{client: client, left: p.requests.Load(), open: make(map[uint32]bool)}
		p.routines.Go(func() { p.carry(c) })
	}
}

// carry is the goroutine of one connection; it owns another one.
func (p *RequestLimit) carry(c *limitedConn) {
	defer c.client.Close()
	server, err := new(net.Dialer).DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	c.server = server
	defer context.AfterFunc(p.ctx, c.close)()
	var answers sync.WaitGroup
	answers.Go(c.carryAnswers)
	c.carryRequests()
	answers.Wait()
}

// limitedConn is one connection through a RequestLimit.
type limitedConn struct {
	client, server net.Conn

	mu   sync.Mutex // guards the fields below, and writing to client
	left int64      // requests until it says GOAWAY
	last uint32     // the stream of the last request; 0: not yet
	open map[uint32]bool
}

func (c *limitedConn) close() {
	_ = c.client.Close()
	_ = c.server.Close()
}

const (
	frameRSTStream = 0x3
	frameGoAway    = 0x7

	flagEndStream = 0x1
)

// carryRequests forwards frames to the server, those of requests beyond the limit left
// out. What those have put into HPACK's table nothing that follows refers to.
func (c *limitedConn) carryRequests() {
	defer c.close()
	preface := make([]byte, len(http2Preface))
	if _, err := io.ReadFull(c.client, preface); err != nil {
		return
	}
	if _, err := c.server.Write(preface); err != nil {
		return
	}
	for {
		f, err := readRawFrame(c.client)
		if err != nil {
			return
		}
		forward, goAway := c.admit(f)
		if forward {
			if _, err := c.server.Write(f.bytes); err != nil {
				return
			}
		}
		if goAway {
			c.mu.Lock()
			_, err := c.client.Write(goAwayFrame(c.last))
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}
}

// admit reports whether a frame of the client's goes on, and whether it is the last
// request's first.
func (c *limitedConn) admit(f rawFrame) (forward, goAway bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last > 0 && f.stream > c.last {
		return false, false
	}
	if f.kind == frameHeaders {
		c.open[f.stream] = true
		if c.left--; c.left == 0 {
			c.last = f.stream
			return true, true
		}
	}
	return true, false
}

// carryAnswers forwards frames to the client, and ends the connection when the last
// request is answered.
func (c *limitedConn) carryAnswers() {
	for {
		f, err := readRawFrame(c.server)
		if err != nil {
			c.close()
			return
		}
		c.mu.Lock()
		_, err = c.client.Write(f.bytes)
		if f.endsStream() {
			delete(c.open, f.stream)
		}
		over := c.last > 0 && len(c.open) == 0
		c.mu.Unlock()
		switch {
		case err != nil:
			c.close()
			return
		case over:
			c.linger()
			return
		}
	}
}

// lingerFor is how long a client has to close a connection that the proxy has ended.
const lingerFor = 5 * time.Second

// linger ends the way to the client. A close would be a reset where requests are on
// their way, and could overtake the last answer.
func (c *limitedConn) linger() {
	if tcp, ok := c.client.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = c.client.SetReadDeadline(time.Now().Add(lingerFor))
}

// rawFrame is a frame of HTTP/2 as it came.
type rawFrame struct {
	bytes  []byte
	kind   byte
	flags  byte
	stream uint32
}

func (f rawFrame) endsStream() bool {
	return f.kind == frameRSTStream || (f.kind == frameData || f.kind == frameHeaders) && f.flags&flagEndStream != 0
}

func readRawFrame(r io.Reader) (f rawFrame, err error) {
	var header [frameHeaderSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return f, err
	}
	length := int(header[0])<<16 | int(header[1])<<8 | int(header[2])
	f = rawFrame{make([]byte, frameHeaderSize+length), header[3], header[4], binary.BigEndian.Uint32(header[5:]) &^ (1 << 31)}
	copy(f.bytes, header[:])
	_, err = io.ReadFull(r, f.bytes[frameHeaderSize:])
	return f, err
}

// goAwayFrame says that no stream beyond last will be answered, and that nothing is
// wrong.
func goAwayFrame(last uint32) []byte {
	b := []byte{0, 0, 8, frameGoAway, 0, 0, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, last)
	return binary.BigEndian.AppendUint32(b, 0)
}
