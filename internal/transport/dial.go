package transport

import (
	"bytes"
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

// Dial connects to target and returns once the server's SETTINGS have arrived,
// so a connection that is returned has an HTTP/2 server behind it. Nothing of a
// call is sent before, so every error of Dial is NotSent.
func Dial(ctx context.Context, target Target, opts Options) (Conn, error) {
	if target.PingSpacing > 0 {
		opts.PingSpacing = target.PingSpacing
	}
	opts = opts.withDefaults()
	socket, err := dialSocket(ctx, target, opts)
	if err != nil {
		return nil, dialError(ctx, err)
	}
	// The handshakes below know no contexts: its end expires their I/O.
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	c, err := handshake(socket, target, opts)
	if err == nil && !stop() {
		_ = c.Close() // the context ended, and with it the socket's deadline
		return nil, dialError(ctx, ctx.Err())
	}
	stop()
	if err != nil {
		_ = socket.Close()
		return nil, dialError(ctx, err)
	}
	return c, nil
}

func dialSocket(ctx context.Context, target Target, opts Options) (net.Conn, error) {
	if opts.DialContext != nil {
		return opts.DialContext(ctx, target.Network, target.Address)
	}
	// Our own PINGs replace TCP's keep-alive.
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	return d.DialContext(ctx, target.Network, target.Address)
}

// handshake does TLS's and HTTP/2's.
func handshake(socket net.Conn, target Target, opts Options) (*conn, error) {
	nc := socket
	if target.TLS != nil {
		tc, err := tlsHandshake(socket, target.TLS)
		if err != nil {
			return nil, err
		}
		nc = tc
	}
	if _, err := nc.Write(appendPreface(nil, opts)); err != nil {
		return nil, firstReadError(nil, err, target)
	}
	r := newFrameReader(nc)
	if err := r.expectSettings(target); err != nil {
		return nil, err
	}
	c := newConn(nc, socket, target, opts)
	c.start(r)
	// Callers may be many and at once: the server's limits are to hold for all.
	select {
	case <-c.greeted:
		return c, nil
	case <-c.done:
		err := c.Err()
		_ = c.Close()
		return nil, err
	}
}

func tlsHandshake(socket net.Conn, config *tls.Config) (*tls.Conn, error) {
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	tc := tls.Client(socket, config)
	if err := tc.Handshake(); err != nil {
		switch {
		case isTimeout(err):
			return nil, fmt.Errorf("connected, but the server did not answer the TLS handshake: %w", err)
		case closedByServer(err):
			return nil, fmt.Errorf("server closed the connection in the TLS handshake; is the endpoint plain (http://)?: %w", err)
		}
		return nil, tlsError(err)
	}
	if proto := tc.ConnectionState().NegotiatedProtocol; proto != "h2" {
		return nil, misconfigured(nil, "TLS server does not offer HTTP/2 (ALPN %q); is this etcd's client URL?", proto)
	}
	return tc, nil
}

// appendPreface appends what a client says first: the preface, its settings and
// the size of the connection window.
func appendPreface(b []byte, opts Options) []byte {
	b = append(b, clientPreface...)
	b = appendSettings(b,
		setting{settingEnablePush, 0},
		setting{settingInitialWindowSize, uint32(opts.StreamWindow)},
		setting{settingMaxHeaderListSize, maxHeaderList},
	)
	return appendWindowUpdate(b, 0, connWindow-defaultWindow)
}

// expectSettings reads until the first frame is there, which must be SETTINGS.
// It stays in the buffer.
func (f *frameReader) expectSettings(target Target) error {
	for f.w-f.r < frameHeaderLen {
		if err := f.fill(); err != nil {
			return firstReadError(f.buf[f.r:f.w], err, target)
		}
		if notHTTP2(f.buf[f.r:f.w]) != "" {
			break
		}
	}
	have := f.buf[f.r:f.w]
	if text := notHTTP2(have); text != "" {
		return misconfigured(nil, "%s", text)
	}
	h := parseFrameHeader(have)
	if h.kind != frameSettings || h.flags&flagAck != 0 || h.streamID != 0 || h.length > defaultMaxFrameSize {
		return misconfigured(nil, "server does not speak HTTP/2 (it began with %q); is this etcd's client URL?", have[:min(len(have), 16)])
	}
	for f.w-f.r < frameHeaderLen+h.length {
		if err := f.fill(); err != nil {
			return firstReadError(f.buf[f.r:f.w], err, target)
		}
	}
	return nil
}

// notHTTP2 recognizes what other servers say first.
func notHTTP2(first []byte) string {
	switch {
	case bytes.HasPrefix(first, []byte("HTTP/")):
		return "server answers in HTTP/1, not in gRPC's HTTP/2; is this etcd's client URL (not its metrics or peer URL, nor a proxy)?"
	case len(first) >= 3 && first[0] == 0x15 && first[1] == 0x03:
		return "server speaks TLS and the endpoint is plain; use https:// or set Config.TLS"
	}
	return ""
}

func firstReadError(have []byte, err error, target Target) error {
	if isTimeout(err) {
		return fmt.Errorf("connected, but the server said nothing: %w", err)
	}
	if !closedByServer(err) {
		return tlsError(err) // TLS 1.3 reports a refused client certificate here
	}
	if target.TLS == nil {
		return fmt.Errorf("server closed the connection before its HTTP/2 settings (after %d bytes); does it want TLS (https://), or is it not etcd's client URL?: %w", len(have), err)
	}
	return fmt.Errorf("server closed the connection before its HTTP/2 settings (after %d bytes); does it want a client certificate?: %w", len(have), err)
}

// tlsError says what to do about the TLS errors that misconfiguration causes.
func tlsError(err error) error {
	var record tls.RecordHeaderError
	var unknownCA x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var remote *net.OpError
	switch {
	case errors.As(err, &record):
		return misconfigured(err, "server does not speak TLS; use http:// for a plain endpoint")
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

// misconfigured is an error that waiting does not mend.
func misconfigured(cause error, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if cause != nil {
		text += ": " + cause.Error()
	}
	return &misconfiguration{text, cause}
}

type misconfiguration struct {
	text  string
	cause error
}

func (m *misconfiguration) Error() string { return m.text }

func (m *misconfiguration) Unwrap() []error {
	if m.cause == nil {
		return []error{ErrMisconfigured}
	}
	return []error{ErrMisconfigured, m.cause}
}

func closedByServer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// dialError makes err an *Error; the context's end counts over the I/O error
// that it has caused.
func dialError(ctx context.Context, err error) *Error {
	if ctx.Err() == nil {
		return &Error{Code: Unavailable, Outcome: NotSent, Cause: err}
	}
	out := contextError(ctx, NotSent)
	if cause := context.Cause(ctx); cause != ctx.Err() {
		out.Code, out.Cause = Unavailable, cause // a time limit that is not the caller's
	}
	if !errors.Is(err, ctx.Err()) {
		out.Message = err.Error()
	}
	return out
}
