package balance

import (
	"errors"
	"time"

	"silly.store/etcd/internal/transport"
)

// Observer sees connections come and go. Its methods are called concurrently, and
// while no lock is held; they hold up the goroutine of that one connection.
type Observer interface {
	Connected(Connected)
	Disconnected(Disconnected)
}

// Connected is an attempt to connect that has ended.
type Connected struct {
	Endpoint string
	Address  string // that its host stood for; empty: not looked up, or none of several
	Lane     Lane
	Took     time.Duration
	Err      error // nil: it is up
	Failures int   // in a row; 0 when it is up
}

// Disconnected is a connection that is over.
type Disconnected struct {
	Endpoint string
	Address  string // as in Connected
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

// State is how the connection of a lane is.
type State uint8

const (
	// Idle: none was needed yet.
	Idle State = iota
	// Connecting: a dial is under way.
	Connecting
	// Ready, Suspect and Draining are transport's.
	Ready
	Suspect
	Draining
	// Down: the last connection has ended, or could not be made.
	Down
)

func (s State) String() string {
	return [...]string{"idle", "connecting", "ready", "suspect", "draining", "down"}[s]
}

// EndpointState is the state of an endpoint.
type EndpointState struct {
	Name  string
	State State // of the unary lane
	// Address is that of the unary lane's connection, where the host was looked up.
	Address     string
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
	if b := m.links[Unary].conn.Load(); b != nil {
		e.Address = b.address
	}
	for i := range m.links {
		l := &m.links[i]
		if c := l.current(); c != nil && c.State() < transport.Draining {
			e.Connections++
		}
		for _, b := range l.full {
			if b.State() < transport.Draining {
				e.Connections++
			}
		}
		if l.lastErr != nil {
			e.LastErr = l.lastErr
		}
	}
	return e
}

func (l *link) stateLocked() State {
	c := l.current()
	if c != nil {
		switch c.State() {
		case transport.Ready:
			return Ready
		case transport.Suspect:
			return Suspect
		case transport.Draining:
			return Draining
		}
	}
	switch {
	case l.dialing != nil:
		return Connecting
	case c != nil || l.lastErr != nil:
		return Down
	}
	return Idle
}
