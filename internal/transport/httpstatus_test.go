package transport

import (
	"errors"
	"strings"
	"testing"
)

// What a proxy answers with is an error that speaks of the proxy, and says what is
// known of the request.
func TestProxyStatuses(t *testing.T) {
	for status, want := range map[int]struct {
		code    Code
		outcome Outcome
		cause   error // nil: it may be better soon
		text    string
	}{
		400: {Internal, NotSent, ErrMisconfigured, "etcd's client URL"},
		401: {Unauthenticated, NotSent, ErrMisconfigured, "a proxy in front of etcd requires authentication"},
		403: {PermissionDenied, NotSent, ErrMisconfigured, "a proxy does not let"},
		404: {Unimplemented, NotSent, ErrMisconfigured, "etcd's client URL? A proxy must pass on"},
		405: {Unknown, NotSent, ErrMisconfigured, "etcd's client URL"},
		408: {Unavailable, NotSent, ErrBusy, "a proxy did not get"},
		413: {ResourceExhausted, NotSent, ErrRequestTooLarge, "a proxy's limit for bodies (nginx: client_max_body_size)"},
		421: {Unavailable, NotSent, ErrMisconfigured, "a proxy has no place"},
		429: {Unavailable, NotSent, ErrBusy, "a proxy limits how many requests"},
		431: {ResourceExhausted, NotSent, ErrHeadersTooLarge, "than a proxy takes"},
		302: {Unknown, NotSent, ErrMisconfigured, "sends requests elsewhere"},
		500: {Unknown, MaybeSent, nil, "etcd's client URL"},
		502: {Unavailable, MaybeSent, nil, "a proxy could not reach etcd"},
		503: {Unavailable, MaybeSent, nil, "a proxy has no etcd"},
		504: {Unavailable, MaybeSent, nil, "did not answer a proxy in time"},
		204: {Unknown, MaybeSent, nil, "etcd's client URL"},
		0:   {Unknown, MaybeSent, nil, "HTTP status 0"},
	} {
		err := (&responseHeader{httpStatus: status, grpcStatus: -1, contentType: "text/html"}).notGRPC()
		if err.Code != want.code || err.Outcome != want.outcome || !strings.Contains(err.Error(), want.text) || !strings.Contains(err.Error(), "text/html") {
			t.Errorf("status %d: %v, %v: %v", status, err.Code, err.Outcome, err)
		}
		for _, kind := range []error{ErrMisconfigured, ErrBusy, ErrRequestTooLarge, ErrHeadersTooLarge} {
			if got := errors.Is(err, kind); got != (kind == want.cause) {
				t.Errorf("status %d: it is %v: %v", status, kind, got)
			}
		}
	}
}
