package etcd

import (
	"context"
	"io"
	"sync"

	"silly.store/etcd/internal/transport"
)

// KeepAliveStream renews leases by hand: [KeepAliveStream.Write] asks,
// [KeepAliveStream.Read] receives the answers, in the order of asking. It is for
// those who want to see each renewal; leases of [Client.Grant] and [Client.Adopt]
// are renewed without it, and [Client.KeepAliveOnce] is simpler.
//
// A stream belongs to one connection and ends with it; open another then. Write
// and Close may be called concurrently with anything, Read by one goroutine at a
// time.
type KeepAliveStream struct {
	keeper   *keeper
	endpoint string
	stream   transport.Stream
	token    *token // what it was opened with

	writing sync.Mutex // held while sending, so that sent is in the order of sending

	mu     sync.Mutex // guards the fields below
	closed bool
	sent   []manualRenewal // not answered
}

type manualRenewal struct {
	id LeaseID
	at int64
}

// KeepAlive opens a stream on which leases are renewed by hand. req.ID is checked
// but not renewed yet.
//
// ctx bounds only the opening. Close the stream when done.
//
// Errors: ErrInvalidRequest and those of every call.
//
// etcd: Lease/LeaseKeepAlive (since 3.0)
func (c *Client) KeepAlive(ctx context.Context, req KeepAliveRequest) (*KeepAliveStream, error) {
	if ctx == nil {
		return nil, invalid(rpcKeepAlive.op, errNilContext)
	}
	if err := req.ID.check(); err != nil {
		return nil, invalid(rpcKeepAlive.op, within("KeepAliveRequest", err))
	}
	s := &KeepAliveStream{keeper: &c.leases}
	_, err := c.resending(ctx, &rpcKeepAlive, nil, func() *Error {
		token, noToken := c.tokens.get(ctx, &rpcKeepAlive)
		if noToken != nil {
			return noToken
		}
		conn, err := c.pick(ctx, &rpcKeepAlive, c.bound(ctx, &rpcKeepAlive))
		if err != nil {
			return callError(&rpcKeepAlive, "", err)
		}
		s.endpoint, s.token = conn.Endpoint, token
		s.stream, err = conn.Open(ctx, transport.Request{Path: rpcKeepAlive.path, Token: token.value(), RequireLeader: true})
		if err != nil {
			return callError(&rpcKeepAlive, conn.Endpoint, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Write asks for a renewal of a lease, which need not be the one that the stream
// was opened for. It does not wait for the answer.
//
// Errors: ErrInvalidRequest, ErrStreamClosed, and why the stream has ended.
func (s *KeepAliveStream) Write(ctx context.Context, req KeepAliveRequest) error {
	if ctx == nil {
		return invalid(rpcKeepAlive.op, errNilContext)
	}
	if err := req.ID.check(); err != nil {
		return invalid(rpcKeepAlive.op, within("KeepAliveRequest", err))
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	now := s.keeper.now()
	s.mu.Lock()
	s.sent = append(s.sent, manualRenewal{req.ID, now})
	s.mu.Unlock()
	msg := (&leaseKeepAliveRequest{ID: req.ID}).appendWire(nil)
	if err := s.stream.Send(ctx, msg); err != nil {
		s.mu.Lock()
		s.sent = s.sent[:len(s.sent)-1]
		s.mu.Unlock()
		return s.failure(err)
	}
	return nil
}

// Read waits for the next answer. ErrLeaseNotFound is about one lease; the stream
// goes on. After any other error but that of ctx it has ended.
//
// Errors: ErrLeaseNotFound, ErrPermissionDenied, ErrStreamClosed after Close,
// ErrClosed, and those of every call.
func (s *KeepAliveStream) Read(ctx context.Context) (*KeepAliveResponse, error) {
	if ctx == nil {
		return nil, invalid(rpcKeepAlive.op, errNilContext)
	}
	reply, err := s.stream.Recv(ctx)
	if err != nil {
		return nil, s.failure(err)
	}
	var resp leaseKeepAliveResponse
	if err := resp.decodeWire(reply); err != nil {
		return nil, undecodable(&rpcKeepAlive, err)
	}
	s.answered(&resp)
	if resp.TTL <= 0 {
		return nil, leaseNotFound(&rpcKeepAlive, s.endpoint)
	}
	return &KeepAliveResponse{Header: resp.Header, ID: resp.ID, TTL: seconds(resp.TTL)}, nil
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

// answered tells the keeper of a renewal, which may be of a lease that it knows.
func (s *KeepAliveStream) answered(resp *leaseKeepAliveResponse) {
	s.mu.Lock()
	if len(s.sent) == 0 {
		s.mu.Unlock()
		return
	}
	r := s.sent[0]
	s.sent = s.sent[1:]
	s.mu.Unlock()
	if r.id != resp.ID {
		return
	}
	k := s.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if l := k.leases[r.id]; l != nil {
		k.answeredLocked(l, r.at, seconds(resp.TTL))
	}
}

// failure is the error of a Write or Read.
func (s *KeepAliveStream) failure(err error) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return &Error{Op: rpcKeepAlive.op, Code: CodeCanceled, Outcome: NotSent, sentinel: ErrStreamClosed}
	case err == io.EOF:
		return &Error{Op: rpcKeepAlive.op, Endpoint: s.endpoint, Code: CodeUnavailable, Message: "the server ended the stream", sentinel: ErrUnavailable}
	}
	e := callError(&rpcKeepAlive, s.endpoint, err)
	s.keeper.c.tokens.rejected(s.token, e) // the next stream gets another
	return e
}
