package balance

import (
	"errors"
	"time"

	"silly.store/etcd/internal/transport"
)

// Observer is told of connections. Its methods are called concurrently, and
// while no lock is held; they hold up the goroutine of that one connection.
type Observer interface {
	Connected(Connected)
	Disconnected(Disconnected)
}

// Connected is an attempt to connect that has ended.
type Connected struct {
	Endpoint string
	Lane     Lane
	Took     time.Duration
	Err      error // nil: it is up
	Failures int   // in a row; 0 when it is up
}

// Disconnected is a connection that is over.
type Disconnected struct {
	Endpoint string
	Lane     Lane
	Lived    time.Duration
	Err      error
	// Ordinary: one of the two sides has closed it in good order.
	Ordinary bool
}

// noObserver is for sets whose owner does not care.
type noObserver struct{}

func (noObserver) Connected(Connected)       {}
func (noObserver) Disconnected(Disconnected) {}

// ordinary reports whether err is how connections end when nothing is wrong.
func ordinary(err error) bool {
	return errors.Is(err, transport.ErrClosed) || errors.Is(err, transport.ErrDraining)
}

// EndpointState is what is known of an endpoint.
type EndpointState struct {
	Name string
	// State is that of the unary lane: a transport.State by name, "connecting",
	// "down" or "idle".
	State       string
	Connections int   // of all lanes, those that drain not counted
	LastErr     error // of the last failure of any lane since one came up
}

// States reports on every endpoint, in the order of the configuration.
func (s *Set) States() []EndpointState {
	s.mu.Lock()
	defer s.mu.Unlock()
	members := s.view.Load().members
	out := make([]EndpointState, 0, len(members))
	for _, m := range members {
		if !m.endpoint.Finder {
			out = append(out, m.stateLocked())
		}
	}
	return out
}

func (m *member) stateLocked() EndpointState {
	e := EndpointState{Name: m.endpoint.Name, State: m.links[Unary].stateLocked()}
	for i := range m.links {
		l := &m.links[i]
		if c := l.current(); c != nil && c.State() < transport.Draining {
			e.Connections++
		}
		if l.lastErr != nil {
			e.LastErr = l.lastErr
		}
	}
	return e
}

func (l *link) stateLocked() string {
	c := l.current()
	switch {
	case c != nil && c.State() != transport.Closed:
		return c.State().String()
	case l.dialing != nil:
		return "connecting"
	case c != nil || l.lastErr != nil:
		return "down"
	}
	return "idle"
}
