package etcd

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/transport"
)

// Error is the error of every method of this package. Find it with errors.As
// for the details, or use [errors.Is] with the Err… variables, [MaybeApplied] and
// [Temporary].
//
// # Errors of every call
//
// Each method documents the errors that are particular to it. Every method that makes a
// call can also return:
//
//   - [ErrInvalidRequest] for a nil context, and [ErrClosed];
//   - the context's own error, which errors.Is finds as [context.Canceled] or
//     [context.DeadlineExceeded], with its cause;
//   - [ErrUnavailable] and [ErrTimeout]: no member could be reached, or answered;
//   - [ErrNoLeader], [ErrLeaderChanged], [ErrServerTimeout], [ErrServerStopped] and
//     [ErrTooManyRequests]: the cluster does not serve at the moment;
//   - [ErrCorrupt] and [ErrNotSupportedForLearner];
//   - [ErrBadEndpoint], [ErrForeignCluster] and [ErrResponseTooLarge]: the
//     configuration does not fit;
//   - [ErrPermissionDenied], [ErrUnauthenticated], [ErrAuthFailed],
//     [ErrInvalidAuthToken] and [ErrNoCredentials], in a cluster with authentication.
type Error struct {
	// Op is the method that failed, like "Put".
	Op string
	// Endpoint is the member that the last attempt went to, as written in
	// Config.Endpoints; empty when none was reached or it does not matter.
	Endpoint string
	// Address is the address, as host and port, at which that member was, when
	// Endpoint is a name, which may stand for several. It is empty for a call that
	// was not sent.
	Address string
	// Code is the gRPC status code, the server's or that of the local cause.
	Code Code
	// Message is the server's text, or the client's.
	Message string
	// Outcome says whether the request was sent, rejected, or may have been applied.
	Outcome Outcome
	// Attempts is how many attempts were made; 0 if nothing was tried, because the
	// request was refused, the context had ended, or the client was closed.
	Attempts int

	// write: the request would have changed something. temporary: the same request may
	// succeed later.
	write, temporary bool
	sentinel         error
	cause            error
}

// Error is one line: the method, the endpoint, what happened, and whether a
// write may have been applied.
func (e *Error) Error() string { return oneLine(e.internal().Error()) }

// oneLine is text without line ends and control characters: a server's message and a
// cause of the user's may have them.
func oneLine(text string) string {
	if strings.IndexFunc(text, unicode.IsControl) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ReplaceAll(text, "\n", "; "))
}

// Unwrap returns the Err… variable for the error and its cause, if there are any.
func (e *Error) Unwrap() []error {
	if e == nil {
		return nil // a nil *Error in an error value: hooks have one for a call that went well
	}
	return e.internal().Unwrap()
}

// internal is e as the engine knows it.
func (e *Error) internal() *call.Error {
	return &call.Error{
		Op: e.Op, Endpoint: e.Endpoint, Address: e.Address, Code: transport.Code(e.Code), Message: e.Message, Outcome: call.Outcome(e.Outcome),
		Attempts: e.Attempts, Write: e.write, Transient: e.temporary, Sentinel: e.sentinel, Cause: e.cause,
	}
}

// public makes the engine's error the user's. Every error of the engine becomes one
// here, when it leaves the package.
func public(e *call.Error) *Error {
	return &Error{
		Op: e.Op, Endpoint: e.Endpoint, Address: e.Address, Code: Code(e.Code), Message: e.Message, Outcome: Outcome(e.Outcome),
		Attempts: e.Attempts, write: e.Write, temporary: e.Transient, sentinel: e.Sentinel, cause: publicCause(e.Cause),
	}
}

func publicCause(cause error) error {
	if e, ok := cause.(*call.Error); ok { //nolint:errorlint // deeper ones are found as they are
		return public(e)
	}
	return cause
}

func (e *Error) maybeApplied() bool { return e.write && e.Outcome == OutcomeUnknown }

// MaybeApplied reports whether err is of a request that would have changed
// something and of which it is not known whether it was applied: the connection
// broke or time ran out while the answer was due, or the server gave up waiting.
// It is false for nil, for reads, and whenever the request was certainly not
// applied. It is true also when err is a context's error. An error that joins
// several, like that of [BatchResults.Err], counts as one of these if any of them does.
//
// If repeating the write does no harm, repeat it. Otherwise let the write leave a trace of
// its own: put a key that no other write uses in the same Txn, and look for that key. A
// condition that the write itself makes false does not show whose write it was.
//
// It is also true of an error with a method MaybeApplied() bool that says so: that of a
// package on top of this one whose caller has left while others waited for the answer.
func MaybeApplied(err error) bool {
	if slices.ContainsFunc(outermost(err), (*Error).maybeApplied) {
		return true
	}
	var other interface{ MaybeApplied() bool }
	return errors.As(err, &other) && other.MaybeApplied()
}

// Temporary reports whether the same call may succeed later: no member could be
// reached or answered in time, the cluster had no leader, a member was stopping or
// was overloaded. By then the client has retried the call as [Config.Retry] says.
//
// It is false for nil, for faults that no waiting mends (a refused request, a missing
// permission, the configuration), for [ErrClosed], and for the end of a context. An
// error that joins several, like that of [BatchResults.Err], is temporary if all of them
// are.
//
// Ask [MaybeApplied] before you make a write again.
func Temporary(err error) bool {
	all := outermost(err)
	for _, e := range all {
		if !e.temporary {
			return false
		}
	}
	return len(all) > 0
}

// outermost finds in err what errors.As finds, on every branch of its tree.
func outermost(err error) (found []*Error) {
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case *Error:
		if e != nil {
			return []*Error{e}
		}
	case interface{ Unwrap() error }:
		return outermost(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, branch := range e.Unwrap() {
			found = append(found, outermost(branch)...)
		}
	}
	return found
}

// Outcome is what the client knows about a failed request.
type Outcome uint8

const (
	// OutcomeUnknown: the server may have processed the request, now or later.
	OutcomeUnknown Outcome = iota
	// OutcomeNotSent: the server has not seen the request and never will.
	OutcomeNotSent
	// OutcomeRejected: the server has not applied the request, and said so.
	OutcomeRejected
)

func (o Outcome) String() string {
	switch o {
	case OutcomeNotSent:
		return "not sent"
	case OutcomeRejected:
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
	return &Error{Op: op, Code: CodeInvalidArgument, Outcome: OutcomeNotSent, Message: err.Error(), sentinel: ErrInvalidRequest}
}
