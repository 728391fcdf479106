package etcd

import (
	"context"
	"slices"
	"sync"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/keepalive"
	"silly.store/etcd/internal/rpc"
)

// KeepAliveStream renews leases by hand: [KeepAliveStream.Write] asks,
// [KeepAliveStream.Read] receives the answers, in the order of asking. It is for
// programs that want to see each renewal; leases of [Client.Grant] and [Client.Adopt]
// are renewed without it, and [Client.KeepAliveOnce] is simpler.
//
// A stream belongs to one connection and ends with it; open another then. Write
// and Close may be called concurrently with anything, Read by one goroutine at a
// time.
type KeepAliveStream struct {
	keeper *keepalive.Keeper
	stream *call.Stream
	id     LeaseID // of the lease that it was opened for

	writing chan struct{} // capacity 1: a value in it is the right to send; asked is in the order of sending

	mu     sync.Mutex // guards the fields below
	closed bool
	broken *call.Error         // why this side has ended it, when not by Close
	asked  []*requestedRenewal // not answered yet, in the order of asking
}

// requestedRenewal is a renewal that was asked for, at a time on the keeper's clock.
type requestedRenewal struct {
	id int64
	at int64
}

// KeepAlive opens a stream on which leases are renewed by hand. req.ID is checked
// but not renewed yet.
//
// ctx bounds only the opening. Close the stream when done.
//
// Errors: ErrInvalidRequest and those of every call (see [Error]).
//
// etcd: Lease/LeaseKeepAlive (since 3.0)
func (c *Client) KeepAlive(ctx context.Context, req KeepAliveRequest) (*KeepAliveStream, error) {
	if ctx == nil {
		return nil, invalid(rpc.KeepAlive.Op, errNilContext)
	}
	if err := req.ID.check(); err != nil {
		return nil, invalid(rpc.KeepAlive.Op, within("KeepAliveRequest", err))
	}
	ctx, begun := c.observer.begin(ctx, CallInfo{Op: rpc.KeepAlive.Op, Operations: 1})
	s, err := c.openKeepAlive(ctx, req)
	begun.end(err, nil)
	return s, err
}

func (c *Client) openKeepAlive(ctx context.Context, req KeepAliveRequest) (*KeepAliveStream, error) {
	s := &KeepAliveStream{keeper: c.leases(), id: req.ID, writing: make(chan struct{}, 1)}
	r := call.Request{Method: rpc.KeepAlive}
	err := c.engine.Begin(ctx, r, func() (err *call.Error) {
		s.stream, err = c.engine.Open(ctx, r, call.StreamOptions{})
		return err
	})
	if err != nil {
		if err.Outcome == call.OutcomeUnknown {
			err.Outcome = call.OutcomeNotSent // no renewal was asked for
		}
		return nil, public(err)
	}
	return s, nil
}

// Write asks for a renewal of a lease: the one that the stream was opened for when
// req.ID is 0. It does not wait for the answer. After an error nothing was asked.
//
// Errors: ErrInvalidRequest, that of ctx, ErrStreamClosed, and why the stream has ended.
func (s *KeepAliveStream) Write(ctx context.Context, req KeepAliveRequest) error {
	if ctx == nil {
		return invalid(rpc.KeepAlive.Op, errNilContext)
	}
	if req.ID == 0 {
		req.ID = s.id
	}
	if err := s.send(ctx, int64(req.ID)); err != nil {
		failed := s.failure(ctx, err)
		failed.Outcome = OutcomeNotSent
		return failed
	}
	return nil
}

func (s *KeepAliveStream) send(ctx context.Context, id int64) error {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return s.stream.Send(ctx) // its error
	}
	r := s.ask(id)
	err := s.stream.Send(ctx, (&leaseKeepAliveRequest{ID: LeaseID(id)}).appendWire(nil))
	if err != nil {
		s.withdraw(r)
	}
	return err
}

// ask notes a renewal before it is sent, because its answer may be quicker than Send.
func (s *KeepAliveStream) ask(id int64) *requestedRenewal {
	r := &requestedRenewal{id, s.keeper.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r)
	return r
}

// withdraw forgets a renewal that was not sent.
func (s *KeepAliveStream) withdraw(r *requestedRenewal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = slices.DeleteFunc(s.asked, func(other *requestedRenewal) bool { return other == r })
}

// Read waits for the next answer. It returns an answer that has arrived even if ctx has
// ended. ErrLeaseNotFound is about one lease; the stream goes on. After any other error
// but that of ctx it has ended.
//
// Errors: ErrLeaseNotFound, ErrPermissionDenied, ErrStreamClosed after Close,
// ErrClosed, and those of every call (see [Error]).
func (s *KeepAliveStream) Read(ctx context.Context) (*KeepAliveResponse, error) {
	if ctx == nil {
		return nil, invalid(rpc.KeepAlive.Op, errNilContext)
	}
	reply, err := s.stream.Recv(ctx)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	var answer keepalive.Answer
	if err := answer.Decode(reply); err != nil {
		s.breakOff(call.Undecodable(rpc.KeepAlive, err))
		return nil, s.failure(ctx, err)
	}
	s.answered(&answer)
	if answer.TTL <= 0 {
		return nil, public(keepalive.NotFound(rpc.KeepAlive, s.stream.Endpoint()))
	}
	return keepAliveResponse(&answer), nil
}

// Close ends the stream and what waits in Read. It may be called again, and its
// error is always nil.
func (s *KeepAliveStream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stream.Close()
	return nil
}

// breakOff ends the stream from this side: no later answer could be matched to its request.
func (s *KeepAliveStream) breakOff(reason *call.Error) {
	reason.Endpoint = s.stream.Endpoint()
	s.mu.Lock()
	s.broken = reason
	s.mu.Unlock()
	s.stream.Close()
}

// answered reports a renewal to the keeper, which may have the lease.
func (s *KeepAliveStream) answered(a *keepalive.Answer) {
	if r := s.takeAsked(a.ID); r != nil {
		s.keeper.Renewed(s.stream.Endpoint(), r.at, a)
	}
}

// takeAsked takes the oldest renewal of a lease that is not answered yet; nil when there
// is none.
func (s *KeepAliveStream) takeAsked(id int64) *requestedRenewal {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.asked, func(r *requestedRenewal) bool { return r.id == id })
	if i < 0 {
		return nil
	}
	r := s.asked[i]
	s.asked = slices.Delete(s.asked, i, i+1)
	return r
}

// failure is the error of a Write or Read. Where no answer is due nothing can have been
// applied.
func (s *KeepAliveStream) failure(ctx context.Context, err error) *Error {
	s.mu.Lock()
	closed, broken, due := s.closed, s.broken, len(s.asked) > 0
	s.mu.Unlock()
	var failed *Error
	switch {
	case closed:
		failed = &Error{Op: rpc.KeepAlive.Op, Code: CodeCanceled, write: true, sentinel: ErrStreamClosed}
	case broken != nil:
		failed = public(broken)
	default:
		failed = public(s.stream.Fail(ctx, err))
	}
	if !due {
		failed.Outcome = OutcomeNotSent
	}
	return failed
}
