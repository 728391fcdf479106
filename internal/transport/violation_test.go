package transport

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// What a server may not do: it ends the connection, with a GOAWAY that names the
// fault, and the calls under way are unknown.
func TestViolations(t *testing.T) {
	goAway := func(payload ...byte) func(*peer, uint32) { return raw(frameGoAway, 0, 0, payload...) }
	cases := []struct {
		name   string
		script func(p *peer, id uint32)
		code   errCode
		text   string
	}{
		{"oversized frame", func(p *peer, id uint32) {
			p.write(appendFrameHeader(nil, defaultMaxFrameSize+1, frameData, 0, id)...)
		}, codeFrameSizeError, "frame of 16385 bytes"},
		{"frame of 16 MB", func(p *peer, id uint32) {
			p.write(appendFrameHeader(nil, 1<<24-1, 0xbe, 0, id)...)
		}, codeFrameSizeError, "limit is 16384"},
		{"DATA on stream 0", raw(frameData, 0, 0, 1), codeProtocolError, "stream 0"},
		{"DATA on an even stream", raw(frameData, 0, 2, 1), codeProtocolError, "stream 2"},
		{"DATA on an idle stream", raw(frameData, 0, 99, 1), codeProtocolError, "never opened"},
		{"DATA with its pad length missing", onStream(frameData, flagPadded), codeFrameSizeError, "pad length"},
		{"DATA with more padding than payload", onStream(frameData, flagPadded, 3, 0, 0), codeProtocolError, "padding of 3"},
		{"HEADERS on stream 0", raw(frameHeaders, flagEndHeaders, 0), codeProtocolError, "stream 0"},
		{"HEADERS on stream 0, unfinished", raw(frameHeaders, 0, 0), codeProtocolError, "stream 0"},
		{"HEADERS on an even stream", raw(frameHeaders, flagEndHeaders, 4), codeProtocolError, "stream 4"},
		{"HEADERS on an idle stream", raw(frameHeaders, flagEndHeaders, 77), codeProtocolError, "stream 77"},
		{"HEADERS too short for its priority", onStream(frameHeaders, flagEndHeaders|flagPriority, 0, 0, 0, 0), codeFrameSizeError, "priority"},
		{"HEADERS with too much padding", onStream(frameHeaders, flagEndHeaders|flagPadded, 9, 0), codeProtocolError, "padding"},
		{"HPACK: index that is not there", onStream(frameHeaders, flagEndHeaders, 0xff, 0xff, 0xff, 0x0f), codeCompressionError, ""},
		{"HPACK: truncated", onStream(frameHeaders, flagEndHeaders, 0x00, 0x05, 'a'), codeCompressionError, ""},
		{"HPACK: table larger than allowed", onStream(frameHeaders, flagEndHeaders, 0x3f, 0xff, 0xff, 0x03), codeCompressionError, ""},
		{"HPACK: bad Huffman code", onStream(frameHeaders, flagEndHeaders, 0x00, 0x81, 0xff, 0x00), codeCompressionError, ""},
		{"HTTP status that is no number", func(p *peer, id uint32) { p.headers(id, 0, ":status", "2x0") }, codeProtocolError, ":status"},
		{"header list too large", func(p *peer, id uint32) {
			p.send(frameHeaders, 0, id, p.block("x", strings.Repeat("v", 3000))...)
			one := bytes.Repeat([]byte{0x80 | 62}, 100) // the field again, a byte each
			p.send(frameContinuation, flagEndHeaders, id, one...)
		}, codeEnhanceYourCalm, "response headers of more than"},
		{"header block too large", func(p *peer, id uint32) {
			p.send(frameHeaders, 0, id)
			for range 5 {
				p.send(frameContinuation, 0, id, make([]byte, 16<<10)...)
			}
		}, codeEnhanceYourCalm, "header block"},
		{"flood of empty CONTINUATIONs", func(p *peer, id uint32) {
			p.send(frameHeaders, 0, id)
			for range 1000 {
				p.send(frameContinuation, 0, id)
			}
		}, codeEnhanceYourCalm, "header block"},
		{"CONTINUATION without HEADERS", onStream(frameContinuation, flagEndHeaders), codeProtocolError, "CONTINUATION"},
		{"CONTINUATION of another stream", func(p *peer, id uint32) {
			p.send(frameHeaders, 0, id)
			p.send(frameContinuation, flagEndHeaders, id+2)
		}, codeProtocolError, "inside a header block"},
		{"PING inside a header block", func(p *peer, id uint32) {
			p.send(frameHeaders, 0, id)
			p.send(framePing, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		}, codeProtocolError, "inside a header block"},
		{"unknown frame inside a header block", func(p *peer, id uint32) {
			p.send(frameHeaders, 0, id)
			p.send(0xbe, 0, id)
		}, codeProtocolError, "inside a header block"},
		{"PUSH_PROMISE", onStream(framePushPromise, flagEndHeaders, 0, 0, 0, 2), codeProtocolError, "PUSH_PROMISE"},
		{"RST_STREAM on stream 0", raw(frameRSTStream, 0, 0, 0, 0, 0, 1), codeProtocolError, "stream 0"},
		{"RST_STREAM on an idle stream", raw(frameRSTStream, 0, 101, 0, 0, 0, 1), codeProtocolError, "101"},
		{"RST_STREAM of five bytes", onStream(frameRSTStream, 0, 0, 0, 0, 0, 1), codeFrameSizeError, "RST_STREAM of 5"},
		{"WINDOW_UPDATE of three bytes", onStream(frameWindowUpdate, 0, 0, 0, 1), codeFrameSizeError, "WINDOW_UPDATE of 3"},
		{"WINDOW_UPDATE on an idle stream", raw(frameWindowUpdate, 0, 99, 0, 0, 0, 1), codeProtocolError, "99"},
		{"WINDOW_UPDATE of zero for the connection", raw(frameWindowUpdate, 0, 0, 0, 0, 0, 0), codeFlowControlError, "by 0"},
		{"connection window overflows", raw(frameWindowUpdate, 0, 0, 0x7f, 0xff, 0xff, 0xff), codeFlowControlError, "WINDOW_UPDATE"},
		{"SETTINGS on a stream", onStream(frameSettings, 0), codeProtocolError, "SETTINGS on stream"},
		{"SETTINGS of seven bytes", raw(frameSettings, 0, 0, 0, 0, 0, 0, 0, 0, 0), codeFrameSizeError, "SETTINGS of 7"},
		{"SETTINGS acknowledgement with payload", raw(frameSettings, flagAck, 0, 0, 0, 0, 0, 0, 0), codeFrameSizeError, "acknowledgement"},
		{"ENABLE_PUSH", set(settingEnablePush, 1), codeProtocolError, "ENABLE_PUSH"},
		{"INITIAL_WINDOW_SIZE too large", set(settingInitialWindowSize, 1<<31), codeFlowControlError, "INITIAL_WINDOW_SIZE"},
		{"INITIAL_WINDOW_SIZE overflows a stream", func(p *peer, id uint32) {
			p.window(id, maxWindow-defaultWindow)
			p.settings(setting{settingInitialWindowSize, 1 << 20})
		}, codeFlowControlError, "overflows stream"},
		{"MAX_FRAME_SIZE too small", set(settingMaxFrameSize, defaultMaxFrameSize-1), codeProtocolError, "MAX_FRAME_SIZE"},
		{"MAX_FRAME_SIZE too large", set(settingMaxFrameSize, 1<<24), codeProtocolError, "MAX_FRAME_SIZE"},
		{"PING of seven bytes", raw(framePing, 0, 0, 1, 2, 3, 4, 5, 6, 7), codeFrameSizeError, "PING of 7"},
		{"PING on a stream", onStream(framePing, 0, 1, 2, 3, 4, 5, 6, 7, 8), codeFrameSizeError, "PING"},
		{"GOAWAY of seven bytes", goAway(0, 0, 0, 0, 0, 0, 0), codeFrameSizeError, "GOAWAY of 7"},
		{"GOAWAY on a stream", onStream(frameGoAway, 0, 0, 0, 0, 0, 0, 0, 0, 0), codeFrameSizeError, "GOAWAY"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, l := range allLinks {
				t.Run(l.name, func(t *testing.T) {
					conn, p := connect(t, l, Options{})
					pending := start(conn, simple)
					id := p.request().id
					if !l.pipe { // GOAWAY goes out only if nobody is writing
						waitFor(t, conn.writeSideIsFree)
					}
					go c.script(p, id)
					if l.pipe {
						// What the peer does not read, the client's writer holds; the
						// connection must still end.
						want{code: Internal, text: c.text}.check(t, pending.wait(t).err)
						want{code: Internal, text: c.code.String()}.check(t, ended(t, conn))
						return
					}
					for {
						f, err := p.tryFrame()
						if err != nil {
							t.Fatalf("no GOAWAY: %v", err)
						}
						if f.kind == frameGoAway {
							if got := errCode(binary.BigEndian.Uint32(f.payload[4:])); got != c.code {
								t.Errorf("GOAWAY says %v, want %v", got, c.code)
							}
							break
						}
					}
					want{code: Internal, text: c.text}.check(t, pending.wait(t).err)
					want{code: Internal, text: c.code.String()}.check(t, ended(t, conn))
				})
			}
		})
	}
}

func raw(kind frameType, flags uint8, id uint32, payload ...byte) func(*peer, uint32) {
	return func(p *peer, _ uint32) { p.send(kind, flags, id, payload...) }
}

func onStream(kind frameType, flags uint8, payload ...byte) func(*peer, uint32) {
	return func(p *peer, id uint32) { p.send(kind, flags, id, payload...) }
}

func set(id uint16, value uint32) func(*peer, uint32) {
	return func(p *peer, _ uint32) { p.settings(setting{id, value}) }
}
