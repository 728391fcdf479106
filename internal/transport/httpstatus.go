package transport

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// proxyStatus is what an HTTP status means that a proxy between client and etcd has
// answered with: etcd itself answers in gRPC, with status 200.
type proxyStatus struct {
	code Code
	hint string
	// outcome is NotSent where the proxy has certainly not passed the request on.
	outcome Outcome
	cause   error
}

// isURL is the hint where there may be no etcd at all.
const isURL = "is this etcd's client URL?"

var proxyStatuses = map[int]proxyStatus{
	401: {Unauthenticated, "a proxy in front of etcd requires authentication", NotSent, ErrMisconfigured},
	403: {PermissionDenied, "a proxy does not let the request pass", NotSent, ErrMisconfigured},
	404: {Unimplemented, isURL + " A proxy must pass on all paths that begin with /etcdserverpb.", NotSent, ErrMisconfigured},
	408: {Unavailable, "a proxy did not get the whole request in time", NotSent, ErrBusy},
	413: {ResourceExhausted, "the request is larger than a proxy's limit for bodies (nginx: client_max_body_size)", NotSent, ErrRequestTooLarge},
	421: {Unavailable, "a proxy has no place for requests to this host", NotSent, ErrMisconfigured},
	429: {Unavailable, "a proxy limits how many requests there may be", NotSent, ErrBusy},
	431: {ResourceExhausted, "the request's headers are larger than a proxy takes", NotSent, ErrHeadersTooLarge},
	502: {Unavailable, "a proxy could not reach etcd, or lost it", MaybeSent, nil},
	503: {Unavailable, "a proxy has no etcd that it could reach, or limits how many requests there may be", MaybeSent, nil},
	504: {Unavailable, "etcd did not answer a proxy in time (nginx: grpc_read_timeout)", MaybeSent, nil},
}

// statusOf is what an HTTP status means. The codes are gRPC's for statuses. Only of a proxy's
// 5xx, or what makes no sense, it is not known whether etcd has seen the request.
func statusOf(status int) proxyStatus {
	if s, ok := proxyStatuses[status]; ok {
		return s
	}
	switch {
	case status == 501 || status == 505 || status == 511: // of a proxy that will not learn it
		return proxyStatus{Unknown, isURL, NotSent, ErrMisconfigured}
	case status >= 500 && status < 600:
		return proxyStatus{Unknown, "a proxy has failed, or " + isURL, MaybeSent, ErrProxyFailed}
	case status == 400:
		return proxyStatus{Internal, isURL, NotSent, ErrMisconfigured}
	case status >= 400 && status < 500:
		return proxyStatus{Unknown, isURL, NotSent, ErrMisconfigured}
	case status >= 300 && status < 400:
		return proxyStatus{Unknown, "a proxy or web server sends requests elsewhere; " + isURL, NotSent, ErrMisconfigured}
	}
	return proxyStatus{Unknown, isURL, MaybeSent, ErrMisconfigured}
}

// httpAnswer is the error of a connection that a server or proxy has answered in HTTP/1.
type httpAnswer struct {
	*explained
	code Code
}

// isHTTP1 reports whether an answer begins as those of HTTP/1 do.
func isHTTP1(first []byte) bool { return bytes.HasPrefix(first, []byte("HTTP/")) }

// answerInHTTP1 is the error for an answer in HTTP/1 that begins with line.
func answerInHTTP1(line []byte) error {
	const wrong = "not in gRPC's HTTP/2; is this etcd's client URL (not its metrics or peer URL, nor a proxy)?"
	version, rest, _ := strings.Cut(string(line), " ")
	status, err := strconv.Atoi(rest[:min(3, len(rest))])
	if err != nil {
		return misconfigured(nil, "server answers in HTTP/1, %s", wrong)
	}
	s := statusOf(status)
	if s.hint == isURL || status == 404 {
		return misconfigured(nil, "server answers in HTTP/1, with status %d, %s", status, wrong)
	}
	kinds := []error{s.cause}
	if s.cause == nil {
		kinds = nil
	}
	return &httpAnswer{&explained{fmt.Sprintf("HTTP status %d (%s) to the connection: %s", status, version, s.hint), kinds}, s.code}
}

// notGRPC is the error of a response that is no gRPC response; nil when it is one. It
// is the answer of a web server or a proxy.
func (h *responseHeader) notGRPC() *Error {
	if h.httpStatus != 200 {
		s := statusOf(h.httpStatus)
		text := fmt.Sprintf("HTTP status %d (content-type %q) instead of a gRPC answer: %s", h.httpStatus, h.contentType, s.hint)
		return (&Error{Code: s.code, Message: text, Outcome: s.outcome}).because(s.cause)
	}
	ct := h.contentType
	if rest, ok := strings.CutPrefix(ct, "application/grpc"); ok && (rest == "" || rest[0] == '+' || rest[0] == ';') {
		return nil
	}
	e := &Error{Code: Unknown, Message: fmt.Sprintf("content-type %q instead of application/grpc; %s", ct, isURL)}
	if !strings.HasPrefix(ct, "application/grpc") { // not gRPC-Web, behind which there may be an etcd
		e.Outcome = NotSent
		return e.because(ErrMisconfigured)
	}
	return e
}

// because makes kind, if it is not nil, the cause of e, whose text stays as it is.
func (e *Error) because(kind error) *Error {
	if kind != nil {
		e.Cause, e.Message = &explained{e.Message, []error{kind}}, ""
	}
	return e
}
