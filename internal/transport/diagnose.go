package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// scheme is the prefix of an endpoint for this target, with or without TLS.
func (t Target) scheme(secure bool) string {
	scheme := "http"
	if t.Network == "unix" {
		scheme = "unix"
	}
	if secure {
		scheme += "s"
	}
	return scheme + "://"
}

func (t Target) wantsTLS() string {
	return "server speaks TLS and the endpoint is plain; use " + t.scheme(true) + " or set Config.TLS"
}

func (t Target) wantsNoTLS() string {
	return "server does not speak TLS; use " + t.scheme(false) + " for a plain endpoint"
}

// closedEarly means that the server closed the connection without sending anything,
// as servers do that expect TLS and get plain text, or the other way round.
type closedEarly struct {
	text string
	err  error
}

func (e *closedEarly) Error() string { return e.text + ": " + e.err.Error() }

func (e *closedEarly) Unwrap() error { return e.err }

// diagnoseFor bounds the search for a better error.
const diagnoseFor = time.Second

// diagnose returns err, or a better error for the target. If the server closed the
// connection without sending anything, it tries once more with TLS switched on or off.
// It sends nothing of the user's: no certificate and no request.
func diagnose(ctx context.Context, target Target, opts Options, err error) error {
	var early *closedEarly
	if !errors.As(err, &early) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, diagnoseFor)
	defer cancel()
	socket, dialErr := dialSocket(ctx, target, opts)
	if dialErr != nil {
		return err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	switch {
	case target.TLS == nil && speaksTLS(socket):
		return misconfigured(nil, "%s", target.wantsTLS())
	case target.TLS != nil && speaksHTTP2(socket, opts):
		return misconfigured(nil, "%s", target.wantsNoTLS())
	}
	return err
}

func speaksTLS(socket net.Conn) bool {
	// The certificate does not matter: nothing is sent through this connection.
	err := tls.Client(socket, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}).Handshake()
	var alert *net.OpError
	return err == nil || errors.As(err, &alert) && alert.Op == "remote error"
}

func speaksHTTP2(socket net.Conn, opts Options) bool {
	if _, err := socket.Write(appendPreface(nil, opts)); err != nil {
		return false
	}
	return newFrameReader(socket).expectSettings(Target{}) == nil
}

// notHTTP2 recognizes the first bytes of other kinds of servers.
func (t Target) notHTTP2(first []byte) string {
	if len(first) >= 3 && first[0] == 0x15 && first[1] == 0x03 {
		return t.wantsTLS()
	}
	return ""
}

func firstReadError(have []byte, err error, target Target) error {
	if gaveUp(err) {
		return fmt.Errorf("connected, but the server said nothing: %w", err)
	}
	if !closedByServer(err) {
		return tlsError(err, target) // TLS 1.3 reports a refused client certificate here
	}
	hint := "does it want a client certificate?"
	if target.TLS == nil {
		hint = fmt.Sprintf("does it want TLS (%s), or is it not etcd's client URL?", target.scheme(true))
	}
	text := fmt.Sprintf("server closed the connection before its HTTP/2 settings (after %d bytes); %s", len(have), hint)
	if target.TLS == nil && len(have) == 0 {
		return &closedEarly{text, err}
	}
	return fmt.Errorf("%s: %w", text, err)
}

// tlsError adds advice to the TLS errors that misconfiguration causes.
func tlsError(err error, target Target) error {
	var record tls.RecordHeaderError
	var unknownCA x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var remote *net.OpError
	switch {
	case errors.As(err, &record):
		return misconfigured(err, "%s", target.wantsNoTLS())
	case errors.As(err, &unknownCA):
		return misconfigured(err, "server certificate is not signed by a known authority; set Config.TLSFiles.CA or Config.TLS.RootCAs to etcd's CA")
	case errors.As(err, &hostname):
		return misconfigured(err, "server certificate is for another name; use that name in the endpoint or set Config.TLS.ServerName")
	case errors.As(err, &invalid):
		return misconfigured(err, "server certificate is not valid")
	case errors.As(err, &remote) && remote.Op == "remote error" && strings.Contains(err.Error(), "no application protocol"):
		return misconfigured(err, "TLS server does not offer HTTP/2; is this etcd's client URL?")
	case errors.As(err, &remote) && remote.Op == "remote error": // a TLS alert
		return misconfigured(err, "server refused the TLS connection; does it want a client certificate from its CA (Config.TLSFiles.Cert or Config.TLS.Certificates)?")
	}
	return err
}

// misconfigured is an error that waiting cannot fix.
func misconfigured(cause error, format string, args ...any) error {
	e := &explained{fmt.Sprintf(format, args...), []error{ErrMisconfigured}}
	if cause != nil {
		e.text += ": " + cause.Error()
		e.kinds = append(e.kinds, cause)
	}
	return e
}

// explained is an error of some kinds with its own text.
type explained struct {
	text  string
	kinds []error
}

func (e *explained) Error() string { return e.text }

func (e *explained) Unwrap() []error { return e.kinds }

func closedByServer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// gaveUp reports whether err comes from the end of the dial's context, which
// expires the socket and closes it.
func gaveUp(err error) bool {
	return isTimeout(err) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
