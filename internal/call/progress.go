package call

import (
	"context"
	"errors"
	"sync"

	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Progress records what is known about a request that several calls share, for the
// calls that leave before its end. A nil Progress records nothing. Its methods may
// be called concurrently.
type Progress struct {
	// Calls is how many calls share the request. It is set before the request is made.
	Calls int
	// Contexts are those of these calls, if somebody wants them. It is set like Calls.
	Contexts []context.Context

	mu       sync.Mutex // guards the fields below
	open     bool       // a connection has taken it and has not answered
	maybe    bool       // an ended attempt may have been applied
	endpoint string
	attempts int
	last     *Error
	// withdrawn: a call has left and reported that its write was not sent. The message
	// contains that write, so no connection may get it.
	withdrawn bool
}

func (p *Progress) attempt(n int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts = n
}

// send records that the connection to endpoint is about to get the request. It returns
// false if the request must not be sent, because a write in it was withdrawn.
func (p *Progress) send(endpoint string) bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.withdrawn {
		return false
	}
	p.open, p.endpoint = true, endpoint
	return true
}

// Regroup is called when a request has failed because calls withdrew, with what is left
// of it: a message without their writes.
func (p *Progress) Regroup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.withdrawn = false
}

// errWithdrawn is the Sentinel of a request that was not sent because a call withdrew
// its write.
var errWithdrawn = errors.New("a call that shared the request has ended")

// Withdrawn reports whether a request that calls share was not sent because one of them
// left: see Progress.Regroup.
func (e *Error) Withdrawn() bool { return e != nil && e.Sentinel == errWithdrawn }

func withdrawn(m *rpc.Method, endpoint string) *Error {
	return &Error{
		Op: m.Op, Endpoint: endpoint, Code: transport.Canceled, Outcome: OutcomeNotSent, Write: m.Writes(),
		Sentinel: errWithdrawn, Message: errWithdrawn.Error(),
	}
}

func (p *Progress) failed(e *Error) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := *e // its owner may still change e, while a call that leaves reads this
	p.open, p.last = false, kept.After(p.last)
	p.maybe = p.maybe || e.Outcome == OutcomeUnknown
}

// trouble returns the last error so far.
func (p *Progress) trouble() *Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// calls is how many calls share the request.
func (p *Progress) calls() int {
	if p == nil {
		return 1
	}
	return p.Calls
}

// contexts are those of the calls that share the request, if somebody wants them.
func (p *Progress) contexts() []context.Context {
	if p == nil {
		return nil
	}
	return p.Contexts
}

// GivenUp is the error of a call of m that left before the end of the request
// because ctx ended. If it says that a write was not sent, the request as it is will
// not be sent afterwards either.
func (p *Progress) GivenUp(ctx context.Context, m *rpc.Method) *Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := Abandoned(ctx, m, p.endpoint)
	e.Attempts = p.attempts
	if !p.open && !p.maybe {
		e.Outcome = OutcomeNotSent
		p.withdrawn = p.withdrawn || m.Writes()
	}
	return e.After(p.last)
}
