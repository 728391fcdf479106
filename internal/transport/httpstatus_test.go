package transport

import (
	"errors"
	"io"
	"net"
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
		307: {Unknown, NotSent, ErrMisconfigured, "sends requests elsewhere"},
		425: {Unknown, NotSent, ErrMisconfigured, "etcd's client URL"},
		451: {Unknown, NotSent, ErrMisconfigured, "etcd's client URL"},
		500: {Unknown, MaybeSent, ErrProxyFailed, "a proxy has failed, or is this etcd's client URL?"},
		501: {Unknown, NotSent, ErrMisconfigured, "etcd's client URL"},
		505: {Unknown, NotSent, ErrMisconfigured, "etcd's client URL"},
		507: {Unknown, MaybeSent, ErrProxyFailed, "a proxy has failed"},
		511: {Unknown, NotSent, ErrMisconfigured, "etcd's client URL"},
		520: {Unknown, MaybeSent, ErrProxyFailed, "a proxy has failed"},
		599: {Unknown, MaybeSent, ErrProxyFailed, "a proxy has failed"},
		502: {Unavailable, MaybeSent, nil, "a proxy could not reach etcd"},
		503: {Unavailable, MaybeSent, nil, "a proxy has no etcd"},
		504: {Unavailable, MaybeSent, nil, "did not answer a proxy in time"},
		204: {Unknown, MaybeSent, ErrMisconfigured, "etcd's client URL"},
		600: {Unknown, MaybeSent, ErrMisconfigured, "etcd's client URL"},
		0:   {Unknown, MaybeSent, ErrMisconfigured, "HTTP status 0"},
	} {
		err := (&responseHeader{httpStatus: status, grpcStatus: -1, contentType: "text/html"}).notGRPC()
		if err.Code != want.code || err.Outcome != want.outcome || !strings.Contains(err.Error(), want.text) || !strings.Contains(err.Error(), "text/html") {
			t.Errorf("status %d: %v, %v: %v", status, err.Code, err.Outcome, err)
		}
		for _, kind := range []error{ErrMisconfigured, ErrBusy, ErrRequestTooLarge, ErrHeadersTooLarge, ErrProxyFailed} {
			if got := errors.Is(err, kind); got != (kind == want.cause) {
				t.Errorf("status %d: it is %v: %v", status, kind, got)
			}
		}
	}
}

// An answer in HTTP/1 to the connection itself means the same. Nothing was sent then.
func TestProxyStatusesInHTTP1(t *testing.T) {
	for line, want := range map[string]struct {
		code  Code
		cause error // nil: it may be better soon
		text  string
	}{
		"HTTP/1.1 408 Request Time-out\r\n":             {Unavailable, ErrBusy, "HTTP status 408 (HTTP/1.1) to the connection: a proxy did not get"},
		"HTTP/1.1 413 Request Entity Too Large\r\n\r\n": {ResourceExhausted, ErrRequestTooLarge, "HTTP status 413 (HTTP/1.1) to the connection: the request is larger"},
		"HTTP/1.0 429 Too Many Requests\r\n":            {Unavailable, ErrBusy, "HTTP status 429 (HTTP/1.0) to the connection: a proxy limits"},
		"HTTP/1.1 502 Bad Gateway\r\n":                  {Unavailable, nil, "HTTP status 502 (HTTP/1.1) to the connection: a proxy could not reach etcd"},
		"HTTP/1.0 503 Service Unavailable\r\n":          {Unavailable, nil, "HTTP status 503 (HTTP/1.0) to the connection: a proxy has no etcd"},
		"HTTP/1.1 504\n":                                {Unavailable, nil, "HTTP status 504 (HTTP/1.1) to the connection: etcd did not answer"},
		"HTTP/1.1 500 Internal Server Error\r\n":        {Unknown, ErrProxyFailed, "HTTP status 500 (HTTP/1.1) to the connection: a proxy has failed"},
		"HTTP/1.1 403 Forbidden\r\n":                    {PermissionDenied, ErrMisconfigured, "HTTP status 403 (HTTP/1.1) to the connection: a proxy does not let"},
		"HTTP/1.1 400 Bad Request\r\n":                  {Unavailable, ErrMisconfigured, "server answers in HTTP/1, with status 400, not in gRPC's HTTP/2"},
		"HTTP/1.1 404 Not Found\r\n":                    {Unavailable, ErrMisconfigured, "server answers in HTTP/1, with status 404, not"},
		"HTTP/1.1 505 Version\r\n":                      {Unavailable, ErrMisconfigured, "server answers in HTTP/1, with status 505, not"},
		"HTTP/1.1 200 OK\r\n":                           {Unavailable, ErrMisconfigured, "server answers in HTTP/1, with status 200, not"},
		"HTTP/1.1 what":                                 {Unavailable, ErrMisconfigured, "server answers in HTTP/1, not"},
		"HTTP/1.1 5":                                    {Unavailable, ErrMisconfigured, "server answers in HTTP/1, with status 5, not"},
	} {
		target := serve(t, "tcp", func(nc net.Conn) {
			for i := range line { // in pieces, as it may come
				_, _ = nc.Write([]byte(line[i : i+1]))
			}
			_ = nc.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, nc)
		})
		_, err := Dial(t.Context(), target, Options{})
		var e *Error
		if !errors.As(err, &e) || e.Code != want.code || e.Outcome != NotSent || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%q: %v", line, err)
		}
		for _, kind := range []error{ErrMisconfigured, ErrBusy, ErrRequestTooLarge, ErrProxyFailed} {
			if got := errors.Is(err, kind); got != (kind == want.cause) {
				t.Errorf("%q: it is %v: %v", line, kind, got)
			}
		}
	}
}
