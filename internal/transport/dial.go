package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"silly.store/etcd/internal/callback"
)

// Dial connects to target and returns once the server's SETTINGS have arrived, so
// every returned connection leads to an HTTP/2 server. It sends nothing of a call,
// so every error of Dial is NotSent.
func Dial(ctx context.Context, target Target, opts Options) (Conn, error) {
	if target.PingSpacing > 0 {
		opts.PingSpacing = target.PingSpacing
	}
	opts = opts.withDefaults()
	plain, err := dialSocket(ctx, target, opts)
	if err != nil {
		return nil, dialError(ctx, err)
	}
	socket := nonblocking(plain)
	// The handshakes below take no context. Its end expires their I/O, or closes
	// the socket if that supports no deadlines, like an SSH tunnel's.
	stop := context.AfterFunc(ctx, func() {
		_ = socket.SetDeadline(time.Unix(1, 0))
		_ = socket.Close()
	})
	c, err := handshake(socket, target, opts)
	if err == nil && !stop() {
		_ = c.Close() // the context ended, and with it the socket's deadline
		return nil, dialError(ctx, ctx.Err())
	}
	stop()
	if err != nil {
		_ = socket.Close()
		return nil, dialError(ctx, diagnose(ctx, target, opts, err))
	}
	return c, nil
}

// handshake makes the TLS and the HTTP/2 handshake.
func handshake(socket net.Conn, target Target, opts Options) (*conn, error) {
	nc := socket
	if target.TLS != nil {
		tc, err := tlsHandshake(socket, target, opts.Panicked)
		if err != nil {
			return nil, err
		}
		nc = &userConn{tc, "a function of Config.TLS", opts.Panicked} // session tickets call some
	}
	if _, err := nc.Write(appendPreface(nil, opts)); err != nil {
		return nil, firstReadError(nil, err, target)
	}
	r := newFrameReader(nc)
	if err := r.expectSettings(target); err != nil {
		return nil, err
	}
	c := newConn(nc, socket, target, opts)
	greeted := c.start(r)
	// Many callers may start at once: the server's limits must already apply to
	// all.
	select {
	case <-greeted:
		return c, nil
	case <-c.done:
		err := c.Err()
		_ = c.Close()
		return nil, err
	}
}

func tlsHandshake(socket net.Conn, target Target, panicked callback.Report) (*tls.Conn, error) {
	config := target.TLS.Clone()
	config.NextProtos = []string{"h2"}
	config.GetClientCertificate = checkedCertificate(config.GetClientCertificate)
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	tc := tls.Client(socket, config)
	if err := shakeHands(tc, panicked); err != nil {
		switch {
		case gaveUp(err):
			return nil, fmt.Errorf("connected, but the server did not answer the TLS handshake: %w", err)
		case closedByServer(err):
			return nil, &closedEarly{fmt.Sprintf("server closed the connection in the TLS handshake; is the endpoint plain (%s)?", target.scheme(false)), err}
		}
		return nil, tlsError(err, target)
	}
	if proto := tc.ConnectionState().NegotiatedProtocol; proto != "h2" {
		return nil, misconfigured(nil, "TLS server does not offer HTTP/2 (ALPN %q); is this etcd's client URL?", proto)
	}
	return tc, nil
}

// shakeHands makes the TLS handshake, which calls functions of the user's configuration.
func shakeHands(tc *tls.Conn, panicked callback.Report) (err error) {
	defer panicked.Recover("a function of Config.TLS", &err)
	return tc.Handshake()
}

// checkedCertificate wraps the user's get, which may be nil, and checks its result:
// crypto/tls panics if there is neither a certificate nor an error.
func checkedCertificate(get func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if get == nil {
		return nil
	}
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		certificate, err := get(info)
		if certificate == nil && err == nil {
			err = misconfigured(nil, "Config.TLS.GetClientCertificate returned neither a certificate nor an error; to show none return an empty one")
		}
		return certificate, err
	}
}

// appendPreface appends the first bytes of a client: the preface, its settings and
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

// expectSettings reads until the first frame has arrived, which must be SETTINGS.
// The frame stays in the buffer.
func (f *frameReader) expectSettings(target Target) error {
	for f.w-f.r < frameHeaderLen {
		if err := f.fill(); err != nil {
			return firstReadError(f.buf[f.r:f.w], err, target)
		}
		if have := f.buf[f.r:f.w]; isHTTP1(have) || target.notHTTP2(have) != "" {
			break
		}
	}
	if isHTTP1(f.buf[f.r:f.w]) {
		return answerInHTTP1(f.statusLine())
	}
	have := f.buf[f.r:f.w]
	if text := target.notHTTP2(have); text != "" {
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

// statusLine reads the first line of an answer in HTTP/1, as far as there is one.
func (f *frameReader) statusLine() []byte {
	for f.w-f.r < defaultMaxFrameSize && bytes.IndexByte(f.buf[f.r:f.w], '\n') < 0 {
		if err := f.fill(); err != nil {
			break
		}
	}
	line, _, _ := bytes.Cut(f.buf[f.r:f.w], []byte("\n"))
	return line
}

// dialError converts err to an *Error. The context's end takes precedence over the
// I/O error that it caused.
func dialError(ctx context.Context, err error) *Error {
	awaitDeadline(ctx, err)
	if ctx.Err() == nil {
		code := Unavailable
		var answer *httpAnswer
		if errors.As(err, &answer) {
			code = answer.code
		}
		return &Error{Code: code, Outcome: NotSent, Cause: err}
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

// awaitDeadline waits for the end of ctx if err is of its deadline. Package net has its own
// timer for that, which may go off a moment before that of the context.
func awaitDeadline(ctx context.Context, err error) {
	const moment = time.Second // a context of the user may have a deadline and not end
	deadline, ok := ctx.Deadline()
	var timeout net.Error
	if !ok || time.Now().Before(deadline) || !errors.As(err, &timeout) || !timeout.Timeout() {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(moment):
	}
}
