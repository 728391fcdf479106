package call

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Every request that changes something may have been applied when its connection is
// lost.
func TestMaybeApplied(t *testing.T) {
	for class, want := range map[rpc.Class]bool{rpc.Read: false, rpc.Idempotent: true, rpc.Write: true} {
		err := FromTransport(&rpc.Method{Class: class}, "", &transport.Error{Code: transport.Unavailable})
		if err.MaybeApplied() != want {
			t.Errorf("class %d that was lost: want %v", class, want)
		}
	}
}

// Failures that the server did not report.
func TestLocalErrors(t *testing.T) {
	unreachable := func(errs ...error) error {
		u := &balance.UnreachableError{}
		for _, err := range errs {
			u.Failures = append(u.Failures, balance.EndpointError{Endpoint: "a:1", Err: err})
		}
		return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: u}
	}
	down := &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: io.EOF}
	wrong := &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: transport.ErrMisconfigured}
	for name, test := range map[string]struct {
		err       error
		is        error
		outcome   Outcome
		transient bool
	}{
		"lost":              {&transport.Error{Code: transport.Unavailable, Cause: io.EOF}, ErrUnavailable, OutcomeUnknown, true},
		"silent":            {&transport.Error{Code: transport.Unavailable, Cause: transport.ErrSilent}, ErrUnavailable, OutcomeUnknown, true},
		"draining":          {&transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: transport.ErrDraining}, ErrUnavailable, OutcomeNotSent, true},
		"down":              {unreachable(down), ErrUnavailable, OutcomeNotSent, true},
		"wrong":             {unreachable(wrong), ErrBadEndpoint, OutcomeNotSent, false},
		"wrong and down":    {unreachable(wrong, down), ErrUnavailable, OutcomeNotSent, true},
		"wrong and wrong":   {unreachable(wrong, wrong), ErrBadEndpoint, OutcomeNotSent, false},
		"time is up":        {&transport.Error{Code: transport.DeadlineExceeded, Cause: transport.ErrTimeout}, ErrTimeout, OutcomeUnknown, true},
		"not sent in time":  {&transport.Error{Code: transport.DeadlineExceeded, Outcome: transport.NotSent, Cause: transport.ErrTimeout}, ErrTimeout, OutcomeNotSent, true},
		"cancelled":         {&transport.Error{Code: transport.Canceled, Cause: context.Canceled}, context.Canceled, OutcomeUnknown, false},
		"deadline":          {&transport.Error{Code: transport.DeadlineExceeded, Cause: context.DeadlineExceeded}, context.DeadlineExceeded, OutcomeUnknown, false},
		"client is closed":  {&transport.Error{Code: transport.Canceled, Outcome: transport.NotSent, Cause: balance.ErrClosed}, ErrClosed, OutcomeNotSent, false},
		"closed under it":   {&transport.Error{Code: transport.Canceled, Cause: transport.ErrClosed}, ErrClosed, OutcomeUnknown, false},
		"too large":         {&transport.Error{Code: transport.ResourceExhausted, Cause: transport.ErrTooLarge}, ErrResponseTooLarge, OutcomeUnknown, false},
		"protocol":          {&transport.Error{Code: transport.Internal, Message: "x"}, ErrUnavailable, OutcomeUnknown, false},
		"something unknown": {io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, OutcomeUnknown, false},
	} {
		e := FromTransport(rpc.Put, "a:1", test.err)
		if !errors.Is(e, test.is) || e.Outcome != test.outcome || e.Transient != test.transient || e.election {
			t.Errorf("%s: %+v", name, e)
		}
		if e.Op != "Put" || e.Endpoint != "a:1" {
			t.Errorf("%s: %+v", name, e)
		}
		if maybeApplied(e) != (test.outcome == OutcomeUnknown) {
			t.Errorf("%s: MaybeApplied is wrong: %v", name, e)
		}
	}
}

// The server knows the context's deadline, and may notice it first.
func TestServerSeesDeadlineFirst(t *testing.T) {
	answered := func(code transport.Code, text string) *Error {
		return FromTransport(rpc.Put, "a:1", &transport.Error{Code: code, Message: text, Outcome: transport.Answered})
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	later, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for _, e := range []func() *Error{
		func() *Error { return answered(transport.DeadlineExceeded, "context deadline exceeded") },
		func() *Error { return answered(transport.Unavailable, "etcdserver: request timed out") },
		func() *Error {
			return answered(transport.Unknown, "rangeKeys: context cancelled: context deadline exceeded")
		},
	} {
		if got := e().atDeadline(soon); !errors.Is(got, context.DeadlineExceeded) || got.Code != transport.DeadlineExceeded || got.Transient || !maybeApplied(got) {
			t.Errorf("at the deadline: %+v", got)
		}
		for _, ctx := range []context.Context{later, t.Context()} {
			if got := e().atDeadline(ctx); errors.Is(got, context.DeadlineExceeded) {
				t.Errorf("long before it: %+v", got)
			}
		}
	}
	if got := answered(transport.Unavailable, "etcdserver: no leader").atDeadline(soon); errors.Is(got, context.DeadlineExceeded) {
		t.Errorf("%+v", got)
	}
}
