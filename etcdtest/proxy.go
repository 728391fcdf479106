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

// Proxy is a TCP proxy to a server that injects faults on demand. It never changes
// the bytes it carries, so TLS and anything else passes. A fault applies to
// existing and new connections, until the next Set. It is safe for concurrent use.
type Proxy struct {
	scheme   string
	listener net.Listener
	routines sync.WaitGroup
	ofPeers  bool // it carries traffic between members of etcd

	mu      sync.Mutex // guards the fields below and those of tunnels that say so
	targets []string   // where new connections go, in turn
	turn    int
	faults  [2]Fault
	peers   map[string][2]Fault // by the etcd member that opened the connection
	silent  bool
	cuts    [2]int64 // bytes until the connection that carries the next byte is reset; 0: never
	tunnels map[*tunnel]struct{}
	changed chan struct{} // closed and replaced with each change of the faults
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

// String returns the constant's name, or "Way(9)" for a value that is none of them.
func (w Way) String() string {
	switch w {
	case ToServer:
		return "ToServer"
	case ToClient:
		return "ToClient"
	case BothWays:
		return "BothWays"
	}
	return fmt.Sprintf("Way(%d)", uint8(w))
}

// Fault is what a [Proxy] does to the traffic that it carries. The zero value is no
// fault.
type Fault struct {
	// Delay is the latency of each byte, in addition to the time that
	// BytesPerSecond implies.
	Delay time.Duration
	// Jitter makes Delay longer or shorter by up to this much. Bytes stay in order.
	Jitter time.Duration
	// BytesPerSecond limits the throughput. 0 means no limit.
	BytesPerSecond int
	// Slice cuts the traffic into pieces of 1 to Slice bytes, each written
	// separately. 0 means pieces as they arrive.
	Slice int
	// Stall holds all traffic back until the fault ends, as in a partition that TCP
	// survives.
	Stall bool
	// Discard loses all traffic, like a black hole: senders notice nothing. A
	// connection that has lost a byte never carries anything again; it is reset
	// when the fault ends.
	Discard bool
	// DiscardRequests loses only the frames to the server that open and feed HTTP/2
	// streams: the server answers PINGs but no requests. It needs plain text, and
	// otherwise treats connections like Discard.
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
func NewProxy(target string) (*Proxy, error) { return newProxy("127.0.0.1:0", target, false) }

// NewProxyAt is NewProxy at the address host:port. Port 0 means any free port.
func NewProxyAt(address, target string) (*Proxy, error) { return newProxy(address, target, false) }

func newProxy(address, target string, ofPeers bool) (*Proxy, error) {
	scheme, host, err := splitTarget(target)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("etcdtest: %w", err)
	}
	p := &Proxy{
		scheme: scheme, targets: []string{host}, listener: l, ofPeers: ofPeers,
		peers: make(map[string][2]Fault), tunnels: make(map[*tunnel]struct{}), changed: make(chan struct{}),
	}
	p.routines.Go(p.accept)
	return p, nil
}

// splitTarget splits a proxy's target into its scheme, with ://, and host:port.
func splitTarget(target string) (scheme, host string, err error) {
	host = target
	if strings.Contains(target, "://") {
		u, err := url.Parse(target)
		if err != nil {
			return "", "", fmt.Errorf("etcdtest: the proxy's target: %w", err)
		}
		scheme, host = u.Scheme+"://", u.Host
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		return "", "", fmt.Errorf("etcdtest: the proxy's target: %w", err)
	}
	return scheme, host, nil
}

// Addr returns the proxy's address, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Endpoint returns Addr with the scheme of the target, if that has one.
func (p *Proxy) Endpoint() string { return p.scheme + p.Addr() }

// Set replaces the fault of each direction in ways.
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

// Silence with true makes the proxy accept new connections without sending or
// forwarding anything; false ends that. Connections that are already
// forwarded are not affected.
func (p *Proxy) Silence(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = on
	p.changedLocked()
}

// setPeer replaces the fault of the connections from an etcd member.
func (p *Proxy) setPeer(id string, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers[id] = [2]Fault{f, f}
	p.changedLocked()
}

// changedLocked makes the tunnels check the faults again.
func (p *Proxy) changedLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
	for t := range p.tunnels {
		t.healLocked()
	}
}

// CutAfter resets the connection that carries the byte after the next n of a
// direction, counted over all connections from now on. That byte and everything
// after it is lost in both directions. It happens once.
//
// It stays armed until that many bytes have passed, on whichever connections, keep-alives and
// the handshakes of new connections included; [Proxy.Heal] disarms it. A direction has one cut: another call
// replaces the one that is armed and counts from its own time on. The cuts of
// the two directions are independent, so calls for both reset two connections.
func (p *Proxy) CutAfter(way Way, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.cuts {
		if way&(1<<i) != 0 {
			p.cuts[i] = int64(n) + 1
		}
	}
}

// Reset resets all connections and returns how many there were. New connections
// work as before.
func (p *Proxy) Reset() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.tunnels {
		t.resetLocked()
	}
	return len(p.tunnels)
}

// HalfClose ends one direction of all existing connections, as if the sender had
// shut it down.
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

// Carried returns how many bytes of a direction the proxy has read, including lost
// ones.
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

// Conns returns the number of open connections.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.tunnels)
}

// Close ends the proxy and all connections. Further calls do nothing.
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
