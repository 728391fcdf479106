package etcdtest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// tunnel is one connection through a proxy. Its run owns the goroutines of both
// directions.
type tunnel struct {
	proxy  *Proxy
	ctx    context.Context // of the tunnel: ends with a reset or when both directions have ended
	cancel context.CancelFunc
	client *net.TCPConn

	// The fields below are guarded by Proxy.mu.

	server *net.TCPConn // nil until it is dialed
	flows  [2]*flow
	from   string // the etcd member that opened the connection, "" if unknown
}

func newTunnel(p *Proxy, client *net.TCPConn) *tunnel {
	t := &tunnel{proxy: p, client: client}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	for i := range t.flows {
		t.flows[i] = &flow{tunnel: t, way: i, parcels: make(chan parcel, 1024)}
	}
	return t
}

// run carries a connection from its beginning to its end.
func (t *tunnel) run() {
	defer t.cancel()
	if t.wait(func() bool { return !t.proxy.silent }) && t.dial() {
		var carrying sync.WaitGroup
		for _, f := range t.flows {
			carrying.Go(f.take)
			carrying.Go(f.deliver)
		}
		carrying.Wait()
	}
	t.proxy.mu.Lock()
	defer t.proxy.mu.Unlock()
	t.resetLocked() // harmless if both sides have ended in order
	delete(t.proxy.tunnels, t)
}

func (t *tunnel) dial() bool {
	c, err := new(net.Dialer).DialContext(t.ctx, "tcp", t.proxy.nextTarget())
	if err != nil {
		return false
	}
	t.proxy.mu.Lock()
	defer t.proxy.mu.Unlock()
	t.server = c.(*net.TCPConn)
	t.flows[0].src, t.flows[0].dst = t.client, t.server
	t.flows[1].src, t.flows[1].dst = t.server, t.client
	return t.ctx.Err() == nil
}

func (t *tunnel) reset() {
	t.proxy.mu.Lock()
	defer t.proxy.mu.Unlock()
	t.resetLocked()
}

// resetLocked resets both sides without sending another byte.
func (t *tunnel) resetLocked() {
	t.cancel()
	for _, c := range []*net.TCPConn{t.client, t.server} {
		if c != nil {
			_ = c.SetLinger(0)
			_ = c.Close()
		}
	}
}

// healLocked resets a connection that has lost bytes, once the fault that lost them
// has ended.
func (t *tunnel) healLocked() {
	for i, f := range t.flows {
		fault := t.faultLocked(i)
		if f.lost && !fault.Discard && !fault.DiscardRequests {
			t.resetLocked()
		}
	}
}

func (t *tunnel) faultLocked(way int) Fault {
	if f, ok := t.proxy.peers[t.from]; ok {
		return f[way]
	}
	return t.proxy.faults[way]
}

// wait waits until holds, which is called with Proxy.mu held, returns true. It
// returns false if the tunnel ends first.
func (t *tunnel) wait(holds func() bool) bool {
	for {
		t.proxy.mu.Lock()
		ok, changed := holds(), t.proxy.changed
		t.proxy.mu.Unlock()
		if ok {
			return t.ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-t.ctx.Done():
			return false
		}
	}
}

// sleep returns false if the tunnel ends before d is over.
func (t *tunnel) sleep(d time.Duration) bool {
	if d <= 0 {
		return t.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// fromHeader is the header with which a member of etcd identifies itself to
// another.
var fromHeader = []byte("X-Server-From: ")

// identify looks in the bytes of a connection for the etcd member that opened it.
// Not every request names the member, but those that matter to raft do.
func (t *tunnel) identify(sent []byte) {
	if !t.proxy.ofPeers {
		return
	}
	_, rest, ok := bytes.Cut(sent, fromHeader)
	if !ok {
		return
	}
	id, _, _ := bytes.Cut(rest, []byte("\r\n"))
	t.proxy.mu.Lock()
	defer t.proxy.mu.Unlock()
	t.from = string(id)
}

// flow is one direction of a tunnel: take reads, deliver writes, and any number of
// parcels may be in flight between them.
type flow struct {
	tunnel   *tunnel
	way      int          // index into faults
	src, dst *net.TCPConn // set before take and deliver begin
	parcels  chan parcel  // closed by take

	// Owned by take.
	due    time.Time // of the last parcel
	frames frames    // of the direction to the server

	lost bool // bytes have been discarded; guarded by Proxy.mu
}

// parcel is a piece of data with the time at which it arrives.
type parcel struct {
	bytes []byte
	due   time.Time
	cut   bool // the connection is reset after it
}

// take reads until the sender closes.
func (f *flow) take() {
	defer close(f.parcels)
	buf := make([]byte, 64<<10)
	for {
		n, err := f.src.Read(buf)
		if n > 0 {
			if f.way == 0 {
				f.tunnel.identify(buf[:n])
			}
			select {
			case f.parcels <- f.admit(append([]byte(nil), buf[:n]...)):
			case <-f.tunnel.ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// admit returns the part of b that the faults let through.
func (f *flow) admit(b []byte) parcel {
	p := f.tunnel.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carried[f.way] += int64(len(b))
	fault := f.tunnel.faultLocked(f.way)
	cut := false
	switch n := p.cuts[f.way]; {
	case n > int64(len(b)):
		p.cuts[f.way] -= int64(len(b))
	case n > 0:
		p.cuts[f.way] = 0
		b, cut = b[:n-1], true
	}
	switch {
	case f.way == 0 && (fault.DiscardRequests || !f.lost && !fault.Discard):
		var lost bool
		b, lost = f.frames.filter(b, fault.DiscardRequests)
		f.lost = f.lost || lost
	case fault.Discard || f.lost:
		f.lost, b = true, nil
	}
	f.due = fault.due(f.due, len(b))
	return parcel{b, f.due, cut}
}

// due returns when n bytes that are sent now arrive, after others that are due at
// earliest.
func (f Fault) due(earliest time.Time, n int) time.Time {
	due := time.Now().Add(f.Delay)
	if f.Jitter > 0 {
		due = due.Add(rand.N(2*f.Jitter+1) - f.Jitter)
	}
	if due.Before(earliest) {
		due = earliest
	}
	if f.BytesPerSecond > 0 {
		due = due.Add(time.Duration(n) * time.Second / time.Duration(f.BytesPerSecond))
	}
	return due
}

// deliver writes the parcels of take when they are due.
func (f *flow) deliver() {
	defer f.end()
	t := f.tunnel
	for p := range f.parcels {
		if !t.sleep(time.Until(p.due)) || !t.wait(func() bool { return !t.faultLocked(f.way).Stall }) {
			return
		}
		f.write(p.bytes)
		if p.cut {
			t.reset()
			return
		}
	}
}

// write gives up silently: the receiver's other direction shows that it is gone.
func (f *flow) write(b []byte) {
	f.tunnel.proxy.mu.Lock()
	slice := f.tunnel.faultLocked(f.way).Slice
	f.tunnel.proxy.mu.Unlock()
	for len(b) > 0 {
		n := len(b)
		if slice > 0 {
			n = min(n, 1+rand.N(slice))
		}
		if _, err := f.dst.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

// end passes on the sender's close.
func (f *flow) end() {
	f.tunnel.proxy.mu.Lock()
	defer f.tunnel.proxy.mu.Unlock()
	if !f.lost { // after lost bytes the end is lost too
		_ = f.dst.CloseWrite()
	}
}
