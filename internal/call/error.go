package call

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Error is the engine's error for a failed request. Package etcd converts it to its
// own error type before it returns to the user.
type Error struct {
	Op       string // the operation
	Endpoint string // the member of the last attempt; empty if none was reached
	Address  string // what the endpoint's name resolved to; empty if it is not a name
	Code     transport.Code
	Message  string
	Outcome  Outcome
	Attempts int

	// Write: the request was meant to change something.
	Write bool
	// Sentinel is one of the Err variables, or nil.
	Sentinel error
	// Cause is the underlying error, or nil.
	Cause error

	// Transient: the same request may succeed later.
	Transient bool
	// Answered: the server reported the error, rather than the connection.
	Answered bool

	// election: the member has no leader, or is losing it; asking again soon helps.
	election bool
	// reauth: the server asks for a token, or for another one.
	reauth bool
	// resend: the server rejected the request's token. The token has been replaced
	// since, so the request must be sent again.
	resend bool
	// elsewhere: a member other than the one that reported it may do better.
	elsewhere bool
	// before is the last error of a server or the network before time ran out. It
	// is nil if there was none, or if this error is that one. See After.
	before *Error
	// untried: the context had ended, or the client was closed, before anything was
	// done.
	untried bool
}

// Outcome is what is known about a failed request.
type Outcome uint8

const (
	// OutcomeUnknown: the server may have processed the request, now or later.
	OutcomeUnknown Outcome = iota
	// OutcomeNotSent: the server has not seen the request and never will.
	OutcomeNotSent
	// OutcomeRejected: the server has not applied the request, and said so.
	OutcomeRejected
)

// Error returns one line: the operation, the endpoint, the failure, and whether a
// write may have been applied.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("etcd: " + e.Op)
	if e.Endpoint != "" {
		b.WriteString(" via " + e.Endpoint)
		if e.Address != "" {
			b.WriteString(" (" + e.Address + ")")
		}
	}
	b.WriteString(": " + e.Text())
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (after %d attempts)", e.Attempts)
	}
	if e.MaybeApplied() {
		b.WriteString("; the request may have been applied")
	}
	return b.String()
}

// Text returns only the part of Error that describes the failure.
func (e *Error) Text() string {
	switch {
	case e.Message != "":
		return e.Message + e.hint()
	case e.Cause != nil:
		return e.Cause.Error()
	case e.Sentinel != nil:
		return e.Sentinel.Error()
	}
	return e.Code.String()
}

// Unwrap returns the sentinel and the cause, if there are any.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Sentinel != nil {
		errs = append(errs, e.Sentinel)
	}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	return errs
}

// MaybeApplied reports whether the failed write may have been applied.
func (e *Error) MaybeApplied() bool { return e.Write && e.Outcome == OutcomeUnknown }

// FromTransport converts an error of transport or balance. No other place does.
func FromTransport(m *rpc.Method, endpoint string, err error) *Error {
	e := &Error{Op: m.Op, Endpoint: endpoint, Write: m.Writes()}
	var te *transport.Error
	if !errors.As(err, &te) {
		e.Code, e.Cause = transport.Unknown, err
		return e
	}
	e.Code, e.Message, e.Cause, e.Address = te.Code, te.Error(), te.Cause, te.Address
	switch te.Outcome {
	case transport.Answered:
		e.Answered = true
		e.classifyText()
	case transport.NotSent:
		e.Outcome = OutcomeNotSent
		e.Message = strings.Replace(e.Message, textTimeout, textUnsent, 1)
		e.classifyLocal(m, te)
	default:
		e.classifyLocal(m, te)
	}
	return e
}

// FromServer makes an Error from a status that the server sent inside a message.
func FromServer(m *rpc.Method, endpoint string, code transport.Code, text string) *Error {
	e := &Error{Op: m.Op, Endpoint: endpoint, Write: m.Writes(), Code: code, Message: text, Answered: true}
	e.classifyText()
	return e
}

// classifyLocal fills e for a failure that the server did not report.
func (e *Error) classifyLocal(m *rpc.Method, te *transport.Error) {
	switch {
	case errors.Is(te, transport.ErrTimeout):
		e.Sentinel, e.Transient = ErrTimeout, true
	case errors.Is(te, transport.ErrClosed), errors.Is(te, balance.ErrClosed):
		e.Sentinel, e.Cause, e.Message = ErrClosed, nil, textClosed
		e.untried = errors.Is(te, balance.ErrClosed)
	case errors.Is(te, transport.ErrTooLarge):
		e.Sentinel = ErrResponseTooLarge
		e.Message = te.Message + " (Config.MaxResponseBytes); " + cmp.Or(m.Smaller, "raise it")
	case everywhere(te, transport.ErrHeadersTooLarge), everywhere(te, transport.ErrRequestTooLarge):
		e.Sentinel = ErrRequestTooLarge
	case everywhere(te, transport.ErrBusy):
		e.Sentinel, e.Transient = ErrTooManyRequests, true
	case everywhere(te, transport.ErrProxyFailed):
		e.Sentinel, e.Transient = ErrUnavailable, true
	case misconfigured(te):
		e.Sentinel = ErrBadEndpoint
		if errors.Is(te, ErrForeignCluster) {
			e.Sentinel = ErrForeignCluster
		}
	case errors.Is(te, context.Canceled), errors.Is(te, context.DeadlineExceeded):
	default:
		e.Sentinel = ErrUnavailable
		e.Transient = te.Code == transport.Unavailable || te.Code == transport.Canceled || te.Code == transport.ResourceExhausted
	}
}

const textClosed = "the client is closed"

// Closed is the error of a request that the client's Close stopped before it was
// sent.
func Closed(op string) *Error {
	return &Error{Op: op, Code: transport.Canceled, Outcome: OutcomeNotSent, Message: textClosed, Sentinel: ErrClosed, untried: true}
}

// Undecodable is the error for a malformed answer. The server answered with OK, so
// a write was applied.
func Undecodable(m *rpc.Method, err error) *Error {
	return &Error{
		Op: m.Op, Code: transport.Internal, Write: m.Writes(),
		Message: "cannot decode the server's answer: " + err.Error(), Cause: err,
	}
}

// ContextEnded is the error of a request that was not sent because ctx ended first.
// doing says what the request was waiting for; empty means that ctx had ended before.
func ContextEnded(ctx context.Context, m *rpc.Method, doing string) *Error {
	e := &Error{Op: m.Op, Outcome: OutcomeNotSent, Write: m.Writes(), untried: doing == ""}
	e.endedBy(ctx)
	if doing != "" {
		e.Message = doing + ": " + e.Cause.Error()
	}
	return e
}

// timeUp is the error of a request whose attempt reached its bound before the
// request was sent. doing says what it was waiting for.
func timeUp(m *rpc.Method, doing string) *Error {
	return &Error{
		Op: m.Op, Outcome: OutcomeNotSent, Write: m.Writes(), Code: transport.DeadlineExceeded,
		Message: doing + ": " + textUnsent, Cause: transport.ErrTimeout, Sentinel: ErrTimeout, Transient: true,
	}
}

// Abandoned is ContextEnded for a request that may have been sent.
func Abandoned(ctx context.Context, m *rpc.Method, endpoint string) *Error {
	e := &Error{Op: m.Op, Endpoint: endpoint, Write: m.Writes()}
	e.endedBy(ctx)
	return e
}

// endedBy sets the error's code and cause from the end of ctx.
func (e *Error) endedBy(ctx context.Context) {
	e.Code, e.Cause = transport.Canceled, contextCause(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e.Code = transport.DeadlineExceeded
	}
}

// LimitedTo is for a request with a time limit that the client itself has set: if that
// limit has ended the request, the error says so, and the caller may try again.
func (e *Error) LimitedTo(limit time.Duration) *Error {
	if e.Sentinel != nil || e.Answered || !errors.Is(e.Cause, context.DeadlineExceeded) {
		return e
	}
	limited := *e
	limited.Code, limited.Sentinel, limited.Cause, limited.Transient = transport.Unavailable, ErrUnavailable, nil, true
	limited.Message = strings.Replace(e.Text(), context.DeadlineExceeded.Error(), fmt.Sprintf("no connection within %v", limit), 1)
	return &limited
}

// contextCause returns why ctx ended: its error, together with its cause if it has
// a different one.
func contextCause(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || cause == err { //nolint:errorlint // the identical value adds nothing
		return err
	}
	return &causedError{err, cause}
}

// causedError is the error of a context that was cancelled with a cause.
type causedError struct{ err, cause error }

func (e *causedError) Error() string   { return e.err.Error() + ": " + e.cause.Error() }
func (e *causedError) Unwrap() []error { return []error{e.err, e.cause} }

// explained adds the cause of ctx to an error that the end of ctx produced.
func (e *Error) explained(ctx context.Context) *Error {
	if ctx.Err() == nil || e.Answered || !errors.Is(e.Cause, ctx.Err()) {
		return e
	}
	cause := contextCause(ctx)
	if caused, ok := cause.(*causedError); ok {
		if e.Text() == ctx.Err().Error() {
			e.Message = ""
		} else if e.Message != "" {
			e.Message += ": " + caused.cause.Error()
		}
		e.Cause = cause
	}
	return e
}

// deadlineSlack is how long before the context's deadline a server's timeout still
// counts as that deadline. The server starts counting after us, so it can be early
// only by what the wire format rounds off.
const deadlineSlack = 20 * time.Millisecond

// atDeadline turns a server's timeout into the context's error if the context's
// deadline caused it. The server knows that deadline, and its answer may arrive
// just before the client notices the deadline. A write is then answered with
// "request timed out", and grpc-go may reset the stream instead of answering.
func (e *Error) atDeadline(ctx context.Context) *Error {
	deadline, ok := ctx.Deadline()
	if !ok || e.Cause != nil || e.Code != transport.DeadlineExceeded && e.Sentinel != ErrServerTimeout {
		return e
	}
	if time.Until(deadline) >= deadlineSlack {
		return e
	}
	Sleep(ctx, deadlineSlack) // so that callers that check ctx find it ended
	e.Code, e.Cause, e.Transient = transport.DeadlineExceeded, context.DeadlineExceeded, false
	if !e.Answered {
		e.Sentinel, e.Message = nil, "" // a reset says nothing beyond the deadline
	}
	if ctx.Err() == nil {
		return e
	}
	e.endedBy(ctx)
	if caused, ok := e.Cause.(*causedError); ok && e.Answered { //nolint:errorlint // made by endedBy
		e.Message += ": " + caused.cause.Error()
	}
	return e
}

// After adds the last real failure to an error that says that time or patience ran
// out, so that the reader learns why the call took so long. It returns a copy,
// because others may be reading e. e may be nil.
func (e *Error) After(last *Error) *Error {
	if e == nil || last == nil || e.before != nil || !e.outOfTime() {
		return e
	}
	last = last.underlying()
	if last.Text() == e.Text() {
		return e
	}
	late := *e
	late.before = last
	late.Message = e.Text() + "; last error: " + last.Text()
	late.Cause = errors.Join(e.Cause, last.Sentinel, last.Cause)
	return &late
}

// underlying returns the last error of a server or the network that e knows of: e itself,
// unless e only says that time ran out.
func (e *Error) underlying() *Error {
	if e.before != nil {
		return e.before
	}
	return e
}
