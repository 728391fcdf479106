package transport

import (
	"strings"
	"testing"
)

// A server's answer to one unary call, what the call returns, and that other
// calls on the connection don't notice.
func TestResponses(t *testing.T) {
	ok := []string{":status", "200", "content-type", "application/grpc"}
	cases := []struct {
		name   string
		script func(p *peer, id uint32)
		reply  string
		err    *want
		reset  bool // the client has to tell the server that it ended the stream
	}{
		{name: "ordinary", script: func(p *peer, id uint32) { p.reply(id, "hello") }, reply: "hello"},
		{name: "empty message", script: func(p *peer, id uint32) { p.reply(id, "") }, reply: ""},
		{name: "content-type with subtype and parameters", script: func(p *peer, id uint32) {
			p.headers(id, 0, ":status", "200", "content-type", "application/grpc+proto; a=b")
			p.data(id, "x")
			p.trailers(id, "0")
		}, reply: "x"},
		{name: "message in many frames", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			for _, b := range message("in pieces") {
				p.send(frameData, 0, id, b)
			}
			p.send(frameData, 0, id)
			p.trailers(id, "0")
		}, reply: "in pieces"},
		{name: "padded frames", script: func(p *peer, id uint32) {
			block := p.block(ok...)
			p.send(frameHeaders, flagEndHeaders|flagPadded, id, append(append([]byte{3}, block...), 0, 0, 0)...)
			body := message("padded")
			p.send(frameData, flagPadded, id, append(append([]byte{255}, body...), make([]byte, 255)...)...)
			p.send(frameData, flagPadded, id, 0)       // nothing, not even padding
			p.send(frameData, flagPadded, id, 2, 0, 0) // padding only
			p.trailers(id, "0")
		}, reply: "padded"},
		{name: "HEADERS with priority", script: func(p *peer, id uint32) {
			p.send(frameHeaders, flagEndHeaders|flagPriority, id, append([]byte{0, 0, 0, 0, 9}, p.block(ok...)...)...)
			p.data(id, "x")
			p.trailers(id, "0")
		}, reply: "x"},
		{name: "PRIORITY and unknown frames are ignored", script: func(p *peer, id uint32) {
			p.send(framePriority, 0, id, 0, 0, 0, 0, 1)
			p.send(0xbe, 0xff, id, 1, 2, 3)
			p.send(0xbe, 0xff, 0)
			p.reply(id, "x")
		}, reply: "x"},
		{name: "reserved bit of the stream id", script: func(p *peer, id uint32) {
			p.send(frameHeaders, flagEndHeaders, id|1<<31, p.block(ok...)...)
			p.data(id, "x")
			p.trailers(id, "0")
		}, reply: "x"},
		{name: "interim responses", script: func(p *peer, id uint32) {
			p.headers(id, 0, ":status", "100")
			p.headers(id, 0, ":status", "103", "link", "x")
			p.reply(id, "x")
		}, reply: "x"},
		{name: "header block in CONTINUATIONs", script: func(p *peer, id uint32) {
			block := p.block(append(ok, "x-filler", strings.Repeat("f", 300))...)
			p.send(frameHeaders, 0, id, block[:5]...)
			p.send(frameContinuation, 0, id)
			p.send(frameContinuation, 0, id, block[5:9]...)
			p.send(frameContinuation, flagEndHeaders, id, block[9:]...)
			p.data(id, "x")
			p.trailers(id, "0")
		}, reply: "x"},

		{name: "status", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.trailers(id, "5", "grpc-message", "etcdserver: lease not found")
		}, err: &want{code: NotFound, outcome: Answered, text: "etcdserver: lease not found"}},
		{name: "status behind a message", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.data(id, "not to be seen")
			p.trailers(id, "8", "grpc-message", "no")
		}, err: &want{code: ResourceExhausted, outcome: Answered, text: "no"}},
		{name: "trailers only", script: func(p *peer, id uint32) {
			p.trailers(id, "14", ":status", "200", "content-type", "application/grpc", "grpc-message", "etcdserver: no leader")
		}, err: &want{code: Unavailable, outcome: Answered, text: "etcdserver: no leader"}},
		{name: "trailers only, OK", script: func(p *peer, id uint32) { p.headers(id, flagEndStream, append(ok, "grpc-status", "0")...) },
			err: &want{code: Internal, text: "without a message"}},
		{name: "percent-encoded text", script: func(p *peer, id uint32) {
			p.trailers(id, "2", "grpc-message", "50%25 %E2%82%AC %zz %4")
		}, err: &want{code: Unknown, outcome: Answered, text: "50% € %zz %4"}},
		{name: "status that is no number", script: func(p *peer, id uint32) { p.trailers(id, "ok") },
			err: &want{code: Unknown, outcome: Answered}},
		{name: "status out of range", script: func(p *peer, id uint32) { p.trailers(id, "99999999999") },
			err: &want{code: Unknown, outcome: Answered}},
		{name: "unknown status", script: func(p *peer, id uint32) { p.trailers(id, "77", "grpc-message", "odd") },
			err: &want{code: 77, outcome: Answered, text: "odd"}},
		{name: "status twice", script: func(p *peer, id uint32) { p.trailers(id, "0", "grpc-status", "7") },
			err: &want{code: PermissionDenied, outcome: Answered}},

		{name: "no status", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.data(id, "x")
			p.headers(id, flagEndStream, "x-other", "1")
		}, err: &want{code: Internal, text: "without a grpc-status"}},
		{name: "END_STREAM on DATA", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.send(frameData, flagEndStream, id, message("x")...)
		}, err: &want{code: Internal, text: "without a grpc-status"}},
		{name: "data before headers", script: func(p *peer, id uint32) { p.data(id, "x") }, reset: true,
			err: &want{code: Internal, text: "before headers"}},
		{name: "headers twice", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.responseHeaders(id)
		}, reset: true, err: &want{code: Internal, text: "headers twice"}},
		{name: "ends inside a prefix", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.send(frameData, 0, id, 0, 0)
			p.trailers(id, "0")
		}, err: &want{code: Internal, text: "inside a message"}},
		{name: "ends inside a message", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.send(frameData, 0, id, message("truncated")[:9]...)
			p.trailers(id, "0")
		}, err: &want{code: Internal, text: "inside a message"}},
		{name: "two messages", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.data(id, "one")
			p.data(id, "two")
		}, reset: true, err: &want{code: Internal, text: "two messages"}},
		{name: "second message is refused at its prefix", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.data(id, "one")
			p.send(frameData, 0, id, 0, 0x70, 0, 0, 0)
		}, reset: true, err: &want{code: Internal, text: "two messages"}},
		{name: "OK without a message", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.trailers(id, "0")
		}, err: &want{code: Internal, text: "without a message"}},
		{name: "compressed message", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.send(frameData, 0, id, 1, 0, 0, 0, 1, 'x')
		}, reset: true, err: &want{code: Internal, text: "compressed"}},
		{name: "message over the cap", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.send(frameData, 0, id, 0, 0, 1, 0, 1)
		}, reset: true, err: &want{code: ResourceExhausted, text: "65537 bytes is larger than the limit of 65536", cause: ErrTooLarge}},
		{name: "HTTP 404 page", script: func(p *peer, id uint32) {
			p.headers(id, 0, ":status", "404", "content-type", "text/plain")
		}, reset: true, err: &want{code: Unimplemented, outcome: NotSent, cause: ErrMisconfigured, text: "HTTP status 404"}},
		{name: "HTTP 429", script: func(p *peer, id uint32) { p.headers(id, flagEndStream, ":status", "429") },
			err: &want{code: Unavailable, outcome: NotSent, cause: ErrBusy, text: "HTTP status 429"}},
		{name: "HTTP 503 without a body", script: func(p *peer, id uint32) {
			p.headers(id, flagEndStream, ":status", "503")
		}, err: &want{code: Unavailable, text: "HTTP status 503"}},
		{name: "HTTP 401", script: func(p *peer, id uint32) { p.headers(id, flagEndStream, ":status", "401") },
			err: &want{code: Unauthenticated, outcome: NotSent, cause: ErrMisconfigured, text: "401"}},
		{name: "no HTTP status", script: func(p *peer, id uint32) {
			p.headers(id, 0, "content-type", "application/grpc")
		}, reset: true, err: &want{code: Unknown, text: "HTTP status 0"}},
		{name: "wrong content-type", script: func(p *peer, id uint32) {
			p.headers(id, 0, ":status", "200", "content-type", "text/html")
		}, reset: true, err: &want{code: Unknown, outcome: NotSent, cause: ErrMisconfigured, text: `"text/html"`}},
		{name: "content-type that only begins like gRPC's", script: func(p *peer, id uint32) {
			p.headers(id, 0, ":status", "200", "content-type", "application/grpc-web")
		}, reset: true, err: &want{code: Unknown, text: "application/grpc-web"}},

		{name: "RST NO_ERROR", script: rst(codeNoError), err: &want{code: Internal, text: "NO_ERROR"}},
		{name: "RST REFUSED_STREAM", script: rst(codeRefusedStream), err: &want{code: Unavailable, outcome: NotSent, text: "REFUSED_STREAM"}},
		{name: "RST REFUSED_STREAM behind headers proves nothing", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.reset(id, codeRefusedStream)
		}, err: &want{code: Unavailable, text: "REFUSED_STREAM"}},
		{name: "RST CANCEL", script: rst(codeCancel), err: &want{code: Canceled, text: "CANCEL"}},
		{name: "RST INTERNAL_ERROR", script: rst(codeInternalError), err: &want{code: Internal, text: "INTERNAL_ERROR"}},
		{name: "RST ENHANCE_YOUR_CALM", script: rst(codeEnhanceYourCalm), err: &want{code: ResourceExhausted, text: "ENHANCE_YOUR_CALM"}},
		{name: "RST INADEQUATE_SECURITY", script: rst(codeInadequateSecurity), err: &want{code: PermissionDenied}},
		{name: "RST with an unknown code", script: rst(0xabcd), err: &want{code: Internal, text: "0xabcd"}},
		{name: "RST in the middle of the message", script: func(p *peer, id uint32) {
			p.responseHeaders(id)
			p.send(frameData, 0, id, message("truncated")[:9]...)
			p.reset(id, codeInternalError)
		}, err: &want{code: Internal}},
		{name: "WINDOW_UPDATE of zero", script: func(p *peer, id uint32) { p.window(id, 0) }, reset: true,
			err: &want{code: Internal, text: "WINDOW_UPDATE"}},
		{name: "WINDOW_UPDATE over the maximum", script: func(p *peer, id uint32) { p.window(id, maxWindow) }, reset: true,
			err: &want{code: Internal, text: "WINDOW_UPDATE"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			overLinks(t, func(t *testing.T, l link) {
				conn, p := connect(t, l, Options{MaxMessage: 64 << 10})
				pending := start(conn, simple)
				req := p.request()
				if string(req.body) != string(message("hello")) {
					t.Errorf("request's body is %q", req.body)
				}
				c.script(p, req.id)
				if c.reset {
					if f := p.until(frameRSTStream); f.streamID != req.id {
						t.Errorf("RST_STREAM is for stream %d, want %d", f.streamID, req.id)
					}
				}
				got := pending.wait(t)
				if c.err != nil {
					c.err.check(t, got.err)
				} else if got.err != nil || string(got.reply) != c.reply {
					t.Errorf("got %q, %v; want %q", got.reply, got.err, c.reply)
				}
				// Whatever comes late for the ended stream is ignored.
				p.reset(req.id, codeNoError)
				p.window(req.id, 1)
				p.send(frameData, 0, req.id, 1, 2, 3)
				p.roundTrip(conn)
			})
		})
	}
}

func rst(code errCode) func(p *peer, id uint32) {
	return func(p *peer, id uint32) { p.reset(id, code) }
}

// A Read that brings nothing and no error, as net.Pipe's does for an empty
// Write, once ended the connection.
func TestEmptyReadIsNoError(t *testing.T) {
	conn, p := connect(t, pipeLink, Options{})
	p.write()
	p.roundTrip(conn)
}
