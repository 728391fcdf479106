package transport

import (
	"context"
	"errors"
	"fmt"
)

// Code is a gRPC status code. The values are gRPC's.
type Code uint32

// The gRPC status codes.
const (
	OK Code = iota
	Canceled
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated
)

var codeNames = [...]string{
	"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound",
	"AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted",
	"OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("Code(%d)", uint32(c))
}

// Outcome is what the connection knows about a failed request.
type Outcome uint8

const (
	// MaybeSent: the server may have seen the request; nothing is known of
	// what it did. The zero value, because it is the safe assumption.
	MaybeSent Outcome = iota
	// NotSent: the server has not processed the request and never will. No
	// byte of it was handed to the socket, or the server said so (REFUSED_STREAM,
	// GOAWAY below the stream's id).
	NotSent
	// Answered: the server sent the status. Whether it acted is for those to
	// say who know its texts.
	Answered
)

func (o Outcome) String() string {
	switch o {
	case NotSent:
		return "not sent"
	case Answered:
		return "answered"
	}
	return "maybe sent"
}

// Error is how every call and stream of this package fails.
type Error struct {
	Code    Code
	Message string
	Outcome Outcome
	// Cause is the error below, when there is one: a context's, the network's
	// or a TLS error.
	Cause error
	// Address is where the connection goes, for a target that is Resolved.
	Address string
	// Head is the beginning of a message that was larger than Request.MaxMessage,
	// as far as it was there; nil for every other error.
	Head []byte
}

func (e *Error) Error() string {
	if e.Cause != nil && e.Message == "" {
		return e.Cause.Error()
	}
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// Errors that [errors.Is] finds as the cause of an [*Error].
var (
	// ErrClosed: Close was called.
	ErrClosed = errors.New("connection closed by the client")
	// ErrSilent: the peer has sent nothing for so long that it counts as dead.
	ErrSilent = errors.New("server has gone silent")
	// ErrDraining: the connection takes no new streams (GOAWAY, or stream ids
	// used up). The request was not sent; another connection will take it.
	ErrDraining = errors.New("connection is shutting down")
	// ErrStreamsTaken: all streams that the server allows on the connection are taken.
	// The request was not sent; another connection may have room.
	ErrStreamsTaken = errors.New("all streams of the connection are taken")
	// ErrTooManyPings: the server closed the connection because of our pings.
	ErrTooManyPings = errors.New("server complains of too many pings")
	// ErrMisconfigured: there is no gRPC server behind the target, or TLS does
	// not work with it as configured. Waiting does not help.
	ErrMisconfigured = errors.New("endpoint is not usable as configured")
	// ErrTooLarge: a message is larger than Options.MaxMessage.
	ErrTooLarge = errors.New("message too large")
	// ErrHeadersTooLarge: the request's headers, which means its token, are larger
	// than the server takes.
	ErrHeadersTooLarge = errors.New("request headers too large")
	// ErrRequestTooLarge: a proxy between client and server does not take a request of
	// this size.
	ErrRequestTooLarge = errors.New("request too large for a proxy")
	// ErrBusy: a proxy between client and server takes no more requests for now.
	ErrBusy = errors.New("too many requests for a proxy")
	// ErrProxyFailed: a proxy between client and server has failed, and may do better soon.
	ErrProxyFailed = errors.New("proxy has failed")
	// ErrTimeout: the call's own time limit passed, not its context's.
	ErrTimeout = errors.New("no answer in time")
)

// contextError is the error of a call that its context has ended.
func contextError(ctx context.Context, outcome Outcome) *Error {
	cause := ctx.Err()
	code := Canceled
	if errors.Is(cause, context.DeadlineExceeded) {
		code = DeadlineExceeded
	}
	return &Error{Code: code, Outcome: outcome, Cause: cause}
}

// errorOfReset is the error of a stream that the server ended with RST_STREAM.
func errorOfReset(code errCode) *Error {
	e := &Error{Code: Internal, Message: "server reset the stream: " + code.String()}
	switch code {
	case codeRefusedStream:
		e.Code, e.Outcome = Unavailable, NotSent
	case codeCancel:
		e.Code = Canceled
	case codeEnhanceYourCalm:
		e.Code = ResourceExhausted
	case codeInadequateSecurity:
		e.Code = PermissionDenied
	}
	return e
}
