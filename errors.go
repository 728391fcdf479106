package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// Error is the error of every method of this package. Find it with errors.As
// for the details, or use [errors.Is] with the Err… variables and
// [MaybeApplied].
type Error struct {
	// Op is the method that failed, like "Put".
	Op string
	// Endpoint is the member that the last attempt went to, as written in
	// Config.Endpoints; empty when none was reached or it does not matter.
	Endpoint string
	// Code is the gRPC status code, the server's or that of the local cause.
	Code Code
	// Message is the server's text, or ours.
	Message string
	// Outcome says what is known of the request's fate.
	Outcome Outcome
	// Attempts is how many attempts were made, 0 if the request was refused
	// before the first.
	Attempts int

	// write: the request would have changed something.
	write bool
	// transient: the same request may succeed later.
	transient bool
	// election: the member has no leader, or is losing it; asking again soon helps.
	election bool
	// reauth: the server asks for a token, or for another one.
	reauth bool
	// elsewhere: another member than the one that it comes from may do better.
	elsewhere bool
	// resend: the request was rejected for its token, which has been seen to, so
	// that it is to be sent again.
	resend bool
	// answered: it is the server's word, and not what became of the connection.
	answered bool
	sentinel error
	cause    error
}

// Error is one line: the method, the endpoint, what happened, and whether a
// write may have been applied.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("etcd: " + e.Op)
	if e.Endpoint != "" {
		b.WriteString(" via " + e.Endpoint)
	}
	b.WriteString(": " + e.text())
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (after %d attempts)", e.Attempts)
	}
	if e.maybeApplied() {
		b.WriteString("; the request may have been applied")
	}
	return b.String()
}

func (e *Error) text() string {
	switch {
	case e.Message != "":
		return e.Message
	case e.cause != nil:
		return e.cause.Error()
	case e.sentinel != nil:
		return e.sentinel.Error()
	}
	return e.Code.String()
}

// Unwrap returns the Err… variable for the error and its cause, if there are any.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.sentinel != nil {
		errs = append(errs, e.sentinel)
	}
	if e.cause != nil {
		errs = append(errs, e.cause)
	}
	return errs
}

func (e *Error) maybeApplied() bool { return e.write && e.Outcome == OutcomeUnknown }

// MaybeApplied reports whether err is of a request that would have changed
// something and of which it is not known whether it was applied: the connection
// broke or time ran out while the answer was due, or the server gave up waiting.
// It is false for nil, for reads, and whenever the request was certainly not
// applied. It is true also when err is a context's error.
//
// What to do then depends on the request: read the key back, make the write
// conditional in a Txn, or repeat it if repeating does no harm.
func MaybeApplied(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.maybeApplied()
}

// Outcome is what is known of a failed request.
type Outcome uint8

const (
	// OutcomeUnknown: the server may have processed the request, now or later.
	OutcomeUnknown Outcome = iota
	// NotSent: the server has not seen the request and never will.
	NotSent
	// Rejected: the server has not applied the request, and said so.
	Rejected
)

func (o Outcome) String() string {
	switch o {
	case NotSent:
		return "not sent"
	case Rejected:
		return "rejected"
	}
	return "unknown"
}

// Code is a gRPC status code.
type Code uint32

// The status codes that etcd and gRPC use.
const (
	CodeOK Code = iota
	CodeCanceled
	CodeUnknown
	CodeInvalidArgument
	CodeDeadlineExceeded
	CodeNotFound
	CodeAlreadyExists
	CodePermissionDenied
	CodeResourceExhausted
	CodeFailedPrecondition
	CodeAborted
	CodeOutOfRange
	CodeUnimplemented
	CodeInternal
	CodeUnavailable
	CodeDataLoss
	CodeUnauthenticated
)

func (c Code) String() string { return transport.Code(c).String() }

var errNilContext = errors.New("the context is nil; use context.Background() if there is none")

// invalid is the error of a request that is refused before anything is sent.
func invalid(op string, err error) error {
	return &Error{Op: op, Code: CodeInvalidArgument, Outcome: NotSent, Message: err.Error(), sentinel: ErrInvalidRequest}
}

// undecodable is the error of an answer that makes no sense. The server has
// answered with OK, so a write was applied.
func undecodable(r *rpc, err error) *Error {
	return &Error{
		Op: r.op, Code: CodeInternal, Outcome: OutcomeUnknown, write: r.class != read,
		Message: "the server's answer cannot be decoded: " + err.Error(), cause: err,
	}
}

// clientClosed is the error of what the client's Close ends.
func clientClosed(op string) *Error {
	return &Error{Op: op, Code: CodeCanceled, Outcome: NotSent, Message: "the client is closed", sentinel: ErrClosed}
}

func codeOfContext(ctx context.Context) Code {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return CodeDeadlineExceeded
	}
	return CodeCanceled
}

// callError makes err, as transport or balance returned it, an *Error. This is
// the one place where their errors become ours.
func callError(r *rpc, endpoint string, err error) *Error {
	e := &Error{Op: r.op, Endpoint: endpoint, write: r.class != read}
	var te *transport.Error
	if !errors.As(err, &te) {
		e.Code, e.cause = CodeUnknown, err
		return e
	}
	e.Code, e.Message, e.cause = Code(te.Code), te.Error(), te.Cause
	switch te.Outcome {
	case transport.Answered:
		e.answered = true
		e.classifyAnswer()
	case transport.NotSent:
		e.Outcome = NotSent
		e.classifyLocal(te)
	default:
		e.classifyLocal(te)
	}
	return e
}

// deadlineSlack is how long before the context's deadline a server's timeout is
// still taken for that deadline. The server's clock for it starts later than
// ours, so it can only be ahead by what the wire format rounds off.
const deadlineSlack = 20 * time.Millisecond

// atDeadline makes an answer that says that time is up the context's error, if
// it was its deadline. The server is told of that, and its answer may come just
// before we notice it ourselves; to a write it says "request timed out" then.
func (e *Error) atDeadline(ctx context.Context) *Error {
	deadline, ok := ctx.Deadline()
	if !ok || e.cause != nil || e.Code != CodeDeadlineExceeded && e.sentinel != ErrServerTimeout {
		return e
	}
	if time.Until(deadline) < deadlineSlack {
		e.Code, e.cause, e.transient = CodeDeadlineExceeded, context.DeadlineExceeded, false
	}
	return e
}

// misconfigured reports whether waiting cannot help: when several endpoints
// failed, it is enough for one of them to be merely down.
func misconfigured(err error) bool {
	var u *balance.UnreachableError
	if !errors.As(err, &u) {
		return errors.Is(err, transport.ErrMisconfigured)
	}
	for _, f := range u.Failures {
		if !errors.Is(f.Err, transport.ErrMisconfigured) {
			return false
		}
	}
	return true
}

// classifyLocal fills e for a failure that the server did not report.
func (e *Error) classifyLocal(te *transport.Error) {
	switch {
	case errors.Is(te, transport.ErrTimeout):
		e.sentinel, e.transient = ErrTimeout, true
	case errors.Is(te, transport.ErrClosed), errors.Is(te, balance.ErrClosed):
		e.sentinel, e.cause, e.Message = ErrClosed, nil, "the client is closed"
	case errors.Is(te, transport.ErrTooLarge):
		e.sentinel = ErrResponseTooLarge
		e.Message = te.Message + " (Config.MaxResponseBytes); read less with Limit, or use Range"
	case errors.Is(te, transport.ErrHeadersTooLarge):
		e.sentinel = ErrRequestTooLarge
	case misconfigured(te):
		e.sentinel = ErrBadEndpoint
		if errors.Is(te, ErrForeignCluster) {
			e.sentinel = ErrForeignCluster
		}
	case errors.Is(te, context.Canceled), errors.Is(te, context.DeadlineExceeded):
	default:
		e.sentinel = ErrUnavailable
		e.transient = te.Code == transport.Unavailable || te.Code == transport.Canceled || te.Code == transport.ResourceExhausted
	}
}
