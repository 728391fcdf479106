package v3compat

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
)

// translate makes an error of this client's what code written for client/v3
// tests for: a context's error by itself, one of the variables of rpctypes where
// the server's text has one, and otherwise an error with a gRPC status, in which
// errors.As still finds the *etcd.Error.
func translate(err error) error {
	return rpctypes.Error(asStatus(err))
}

// asStatus is translate without rpctypes: what a generated gRPC client returns.
// client/v3 itself does the rest.
func asStatus(err error) error {
	var e *etcd.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case !errors.As(err, &e):
		return err
	}
	return &statusError{status: statusOf(e), cause: e}
}

// closing is what grpc-go says of a connection that was closed.
const closing = "grpc: the client connection is closing"

func statusOf(e *etcd.Error) *status.Status {
	switch {
	case errors.Is(e, etcd.ErrClosed):
		return status.New(codes.Canceled, closing)
	case errors.Is(e, etcd.ErrTimeout):
		// Of one attempt, not of the caller's context: like the server's own
		// timeouts it is worth another try.
		return status.New(codes.Unavailable, e.Error())
	}
	s := status.New(codes.Code(e.Code), e.Message)
	if known := rpctypes.Error(s.Err()); errors.As(known, new(rpctypes.EtcdError)) {
		return s
	}
	return status.New(codes.Code(e.Code), e.Error())
}

// statusError is an *etcd.Error with a gRPC status.
type statusError struct {
	status *status.Status
	cause  *etcd.Error
}

func (e *statusError) Error() string              { return e.status.Err().Error() }
func (e *statusError) GRPCStatus() *status.Status { return e.status }
func (e *statusError) Unwrap() error              { return e.cause }

// statusErrorf is the error of a request that no client can want answered.
func statusErrorf(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}
