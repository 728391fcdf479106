package call

import (
	"context"
	"io"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// StreamOptions say how a stream is opened. The zero value is a bidirectional
// stream to any member.
type StreamOptions struct {
	// MaxMessage, CloseSend and Patient are those of transport.Request.
	MaxMessage int
	CloseSend  bool
	Patient    bool
	// OnSuspect, when not nil, is called each time the stream's connection becomes
	// suspect. It runs in the connection's goroutine and must not block.
	OnSuspect func(conn balance.Picked)
	// Avoid is the endpoint of a member that is used only if no other one is fit.
	// Insist waits up to a tenth of a second for another one to become fit.
	Avoid  string
	Insist bool
}

// Stream is an open stream to one member, together with the state that is needed to
// judge its end.
type Stream struct {
	transport.Stream
	// Conn is the stream's connection.
	Conn balance.Picked

	engine *Engine
	method *rpc.Method
	pinned bool
	token  *token      // what it was opened with; never changes
	mark   historyMark // what was known about the history then
}

// Open opens a stream for r and sends r.Message, if any, as its first message. ctx
// bounds only the opening; if it has no deadline, Config.Timeout bounds the time to
// connect. Every stream of the client is opened here.
func (e *Engine) Open(ctx context.Context, r Request, o StreamOptions) (*Stream, *Error) {
	b := e.Bound(ctx)
	token, noToken := e.tokens.get(ctx, r.Method, b)
	if noToken != nil {
		return nil, noToken
	}
	conn, err := e.pickOther(ctx, &r, b, o.Avoid, o.Insist)
	if err != nil {
		return nil, unpicked(ctx, r.Method, err)
	}
	s := &Stream{Conn: conn, engine: e, method: r.Method, pinned: r.pinned(), token: token, mark: e.history.mark()}
	req := r.transport(token)
	req.MaxMessage, req.CloseSend, req.Patient = o.MaxMessage, o.CloseSend, o.Patient
	if o.OnSuspect != nil {
		req.OnSuspect = func() { o.OnSuspect(conn) }
	}
	if s.Stream, err = conn.Open(ctx, req); err != nil {
		return nil, s.Fail(ctx, err)
	}
	return s, nil
}

// Begin calls try, which opens a stream for r, with the same moves and retries as
// any call.
func (e *Engine) Begin(ctx context.Context, r Request, try func() *Error) *Error {
	_, err := e.Retry(ctx, r, func() *Error { return e.Attempt(ctx, r, e.Bound(ctx), try) })
	return err
}

// GiveUpOn sets conn's member aside if another one may serve m at once. It reports
// whether it did.
func (e *Engine) GiveUpOn(conn balance.Picked, m *rpc.Method) bool {
	if !e.Set.Elsewhere(conn, m.Lane) {
		return false
	}
	e.Set.SetAside(conn)
	return true
}

// Endpoint returns the endpoint of the stream's member.
func (s *Stream) Endpoint() string { return s.Conn.Endpoint }

// Fail converts err, the error of Send, Recv or the opening, to an Error. A token
// that is to blame is dropped, so that the next stream gets another one. io.EOF
// means that the server ended the stream.
func (s *Stream) Fail(ctx context.Context, err error) *Error {
	if err == io.EOF { //nolint:errorlint // transport.Stream returns it unwrapped
		return s.Broken("the server ended the stream")
	}
	e := s.engine
	failed := e.failure(ctx, s.method, s.Conn, s.token, err)
	if !s.pinned {
		// A deadline may end a stream because it is long, which is not the member's
		// fault.
		if failed.Answered && failed.speaksAgainstMember() {
			e.Set.SetAside(s.Conn)
		}
		e.settle(failed, s.method, s.Conn)
	}
	return failed
}

// Refused makes an Error from a status that the server sent inside a message of the
// stream. renew reports that the stream's token is to blame: the refused request
// must go to another stream, and this one must take nothing new.
func (s *Stream) Refused(code transport.Code, text string) (failed *Error, renew bool) {
	failed = FromServer(s.method, s.Endpoint(), code, text)
	if s.engine.tokens.dropRejected(s.token, failed) {
		failed.Transient = true
		return failed, true
	}
	return failed, false
}

// Broken is the error of a stream that was abandoned, or ended without a status
// from the server. Its pending requests may be tried elsewhere.
func (s *Stream) Broken(message string) *Error {
	return &Error{
		Op: s.method.Op, Endpoint: s.Endpoint(), Write: s.method.Writes(), Code: transport.Unavailable,
		Message: message, Sentinel: ErrUnavailable, Transient: true,
	}
}

// Heard records the header of a message from the stream. An error means that the
// member belongs to another cluster.
func (s *Stream) Heard(h Header) *Error { return s.engine.heard(s.method, s.Conn, s.mark, h) }

// Seen returns the largest revision of any answer so far.
func (e *Engine) Seen() int64 { return e.history.mark().seen }

// Ask makes one request over the connection c to check on its member. The request
// never moves and is not retried. Both patience and ctx bound it.
func (e *Engine) Ask(ctx context.Context, c balance.Picked, r Request, patience time.Duration) ([]byte, *Error) {
	// The wait for a token does not count, or it would be held against the member.
	token, noToken := e.tokens.get(ctx, r.Method, Bound{})
	if noToken != nil {
		return nil, noToken
	}
	mark := e.history.mark()
	req := r.transport(token)
	req.Timeout = patience
	reply, err := c.Call(ctx, req)
	if err != nil {
		return nil, e.failure(ctx, r.Method, c, token, err)
	}
	h := PeekHeader(reply)
	if foreign := e.heard(r.Method, c, mark, h); foreign != nil {
		return nil, foreign
	}
	if r.Method.Linearizable {
		e.checkHistory(mark, h.Revision, false)
	}
	return reply, nil
}

// beside returns another connection to c's endpoint.
func (e *Engine) beside(ctx context.Context, c balance.Picked, patience time.Duration) (balance.Picked, error) {
	return Bound{time.Now().Add(patience)}.within(ctx, func(ctx context.Context) (balance.Picked, error) {
		return e.Set.PickBeside(ctx, balance.Unary, c)
	})
}

// Revision reads the store's revision with an ordinary call. It reads the given
// key, so that it needs no permission beyond those that the caller needs for the
// key anyway.
func (e *Engine) Revision(ctx context.Context, key string) (Header, *Error) {
	reply, err := e.Do(ctx, Request{Method: rpc.WatchNow, Message: countMessage(key)})
	return PeekHeader(reply), err
}

// AskRevision is Revision in the form of Ask, over the connection c. While that drains, which
// may be as long as its streams last, another one to its endpoint takes the request.
func (e *Engine) AskRevision(ctx context.Context, c balance.Picked, key string, patience time.Duration) (Header, *Error) {
	if c.State() == transport.Draining {
		var err error
		if c, err = e.beside(ctx, c, patience); err != nil {
			return Header{}, unpicked(ctx, rpc.WatchNow, err)
		}
	}
	reply, err := e.Ask(ctx, c, Request{Method: rpc.WatchNow, Message: countMessage(key)}, patience)
	return PeekHeader(reply), err
}

// AskStatus asks c's member for its status.
func (e *Engine) AskStatus(ctx context.Context, c balance.Picked, patience time.Duration) (Status, *Error) {
	reply, err := e.Ask(ctx, c, Request{Method: rpc.Status, Message: []byte{}}, patience)
	if err != nil {
		return Status{}, err
	}
	status, malformed := decodeStatus(reply)
	if malformed != nil {
		return Status{}, Undecodable(rpc.Status, malformed)
	}
	return status, nil
}
