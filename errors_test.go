package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*Error{
		"etcd: Get: no such luck":                                              {Op: "Get", Message: "no such luck"},
		"etcd: Put via a:1: text (after 3 attempts)":                           {Op: "Put", Endpoint: "a:1", Message: "text", Attempts: 3, Outcome: OutcomeRejected, write: true},
		"etcd: Put via a:1: text; the request may have been applied":           {Op: "Put", Endpoint: "a:1", Message: "text", Attempts: 1, write: true},
		"etcd: Put: EOF (after 2 attempts); the request may have been applied": {Op: "Put", cause: io.EOF, Attempts: 2, write: true},
		"etcd: Get: key not found":                                             {Op: "Get", sentinel: ErrKeyNotFound},
		"etcd: Get: first; second [31m":                                        {Op: "Get", Message: "first\nsecond\x1b[31m"},
		"etcd: Get: Aborted":                                                   {Op: "Get", Code: CodeAborted},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for code, want := range map[Code]string{CodeOK: "OK", CodeUnauthenticated: "Unauthenticated", 99: "Code(99)"} {
		if got := code.String(); got != want {
			t.Errorf("code %d is %q", uint32(code), got)
		}
	}
	for outcome, want := range map[Outcome]string{OutcomeUnknown: "unknown", OutcomeNotSent: "not sent", OutcomeRejected: "rejected"} {
		if got := outcome.String(); got != want {
			t.Errorf("outcome %d is %q", outcome, got)
		}
	}
}

func TestErrorUnwrap(t *testing.T) {
	var err error = &Error{sentinel: ErrUnavailable, cause: io.EOF}
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, io.EOF) || errors.Is(err, ErrClosed) {
		t.Error("the sentinel and the cause are not what is found")
	}
	if err = new(Error); errors.Is(err, ErrUnavailable) || errors.Unwrap(err) != nil {
		t.Error("an error of nothing is something")
	}
}

func TestMaybeApplied(t *testing.T) {
	for _, write := range []bool{false, true} {
		for _, outcome := range []Outcome{OutcomeUnknown, OutcomeNotSent, OutcomeRejected} {
			for _, cause := range []error{nil, context.Canceled, context.DeadlineExceeded, io.EOF} {
				var err error = &Error{Op: "Put", write: write, Outcome: outcome, cause: cause}
				want := write && outcome == OutcomeUnknown
				if MaybeApplied(err) != want || MaybeApplied(fmt.Errorf("wrapped: %w", err)) != want {
					t.Errorf("write %v, outcome %v, cause %v: want %v", write, outcome, cause, want)
				}
			}
		}
	}
	for _, err := range []error{nil, io.EOF, context.Canceled} {
		if MaybeApplied(err) {
			t.Errorf("%v may be applied", err)
		}
	}
}

// Bug: MaybeApplied of a nil *Error in an error value panicked, once it asked errors.As for
// the errors of other packages.
func TestNilErrorInAValue(t *testing.T) {
	var none *Error
	for _, err := range []error{none, fmt.Errorf("wrapped: %w", error(none)), errors.Join(none, io.EOF)} {
		if MaybeApplied(err) || Temporary(err) {
			t.Errorf("%#v: maybe applied %v, temporary %v", err, MaybeApplied(err), Temporary(err))
		}
	}
}
