package etcdtest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP way to a server that is faulty on demand. It carries bytes and
// changes none of them, so TLS and anything else passes. A fault holds for the
// connections there are and for those to come, until the next Set. It is safe
// for concurrent use.
type Proxy struct {
	scheme, target string
	listener       net.Listener
	routines       sync.WaitGroup
	ofPeers        bool // it carries what members of etcd say to each other

	mu      sync.Mutex // guards the fields below and those of tunnels that say so
	faults  [2]Fault
	peers   map[string][2]Fault // by the etcd member that a connection is from
	silent  bool
	cuts    [2]int64 // bytes until the connection that carries the next is reset; 0: none
	tunnels map[*tunnel]struct{}
	changed chan struct{} // closed and made anew with each change of the faults
	carried [2]int64
	closed  bool
}

// Way is a direction through a [Proxy].
type Way uint8

// The directions; BothWays is ToServer|ToClient.
const (
	ToServer Way = 1 << iota
	ToClient
	BothWays = ToServer | ToClient
)

// Fault is what a [Proxy] does to what it carries. The zero value is a faultless
// way.
type Fault struct {
	// Delay is what each byte takes, beyond the time for it to get through.
	Delay time.Duration
	// Jitter makes Delay up to so much longer or shorter. Order is kept.
	Jitter time.Duration
	// BytesPerSecond is how much gets through. 0 means everything.
	BytesPerSecond int
	// Slice cuts what is carried into pieces of 1 to Slice bytes, each written
	// by itself. 0 means pieces as they come.
	Slice int
	// Stall holds everything back. It arrives when the fault ends, as after a
	// partition that TCP survives.
	Stall bool
	// Discard loses everything, as a black hole does: senders notice nothing. A
	// connection that has lost a byte never carries anything again; it is reset
	// when the fault ends.
	Discard bool
	// DiscardRequests loses only what opens and feeds HTTP/2 streams, on the way
	// to the server: the server answers PINGs and no request. It needs plain
	// text, and treats connections as Discard does.
	DiscardRequests bool
}

// StartProxy runs a proxy in front of target until the test ends. target is a
// client URL, as Endpoints returns it, or host:port.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := NewProxy(target)
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

// NewProxy runs a proxy in front of target. The caller must call [Proxy.Close].
func NewProxy(target string) (*Proxy, error) { return newProxy(target, false) }

func newProxy(target string, ofPeers bool) (*Proxy, error) {
	scheme, host := "", target
	if strings.Contains(target, "://") {
		u, err := url.Parse(target)
		if err != nil {
			return nil, fmt.Errorf("etcdtest: the proxy's target: %w", err)
		}
		scheme, host = u.Scheme+"://", u.Host
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		return nil, fmt.Errorf("etcdtest: the proxy's target: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("etcdtest: %w", err)
	}
	p := &Proxy{
		scheme: scheme, target: host, listener: l, ofPeers: ofPeers,
		peers: make(map[string][2]Fault), tunnels: make(map[*tunnel]struct{}), changed: make(chan struct{}),
	}
	p.routines.Go(p.accept)
	return p, nil
}

// Addr returns where the proxy listens, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Endpoint returns Addr with the scheme of the target, if that has one.
func (p *Proxy) Endpoint() string { return p.scheme + p.Addr() }

// Set replaces the fault of each way in ways.
func (p *Proxy) Set(ways Way, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.faults {
		if ways&(1<<i) != 0 {
			p.faults[i] = f
		}
	}
	p.changedLocked()
}

// Heal ends all faults.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.silent, p.cuts = [2]Fault{}, false, [2]int64{}
	clear(p.peers)
	p.changedLocked()
}

// Silence has the proxy accept connections and then neither say nor forward
// anything, or ends that. Connections that have been forwarded go on.
func (p *Proxy) Silence(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = on
	p.changedLocked()
}

// setPeer replaces the fault of the connections that come from an etcd member.
func (p *Proxy) setPeer(id string, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers[id] = [2]Fault{f, f}
	p.changedLocked()
}

// changedLocked lets the tunnels see what has changed.
func (p *Proxy) changedLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
	for t := range p.tunnels {
		t.healLocked()
	}
}

// CutAfter resets the connection that carries the byte behind the next n of a
// way, counted over all connections from now on. That byte and what follows it
// is lost both ways. It happens once.
func (p *Proxy) CutAfter(way Way, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.cuts {
		if way&(1<<i) != 0 {
			p.cuts[i] = int64(n) + 1
		}
	}
}

// Reset ends all connections by a reset and returns how many there were. New
// ones are made as before.
func (p *Proxy) Reset() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.tunnels {
		t.resetLocked()
	}
	return len(p.tunnels)
}

// HalfClose ends one way of all connections there are, as a shutdown of the
// sender's would.
func (p *Proxy) HalfClose(way Way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.tunnels {
		for i := range t.flows {
			if way&(1<<i) != 0 && t.flows[i].dst != nil {
				_ = t.flows[i].dst.CloseWrite()
			}
		}
	}
}

// Carried returns how many bytes were taken of a way, lost ones included.
func (p *Proxy) Carried(way Way) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := int64(0)
	for i, n := range p.carried {
		if way&(1<<i) != 0 {
			sum += n
		}
	}
	return sum
}

// Conns returns how many connections there are.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.tunnels)
}

// Close ends the proxy and all connections. Calling it again does nothing.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	for t := range p.tunnels {
		t.resetLocked()
	}
	p.mu.Unlock()
	err := p.listener.Close()
	p.routines.Wait()
	if err != nil {
		return fmt.Errorf("etcdtest: %w", err)
	}
	return nil
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client was gone before it was accepted
		}
		t := newTunnel(p, c.(*net.TCPConn))
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			_ = c.Close()
			return
		}
		p.tunnels[t] = struct{}{}
		p.routines.Go(t.run)
		p.mu.Unlock()
	}
}
