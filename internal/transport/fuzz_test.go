package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// bytesConn is a server that sends input and then closes; what it receives goes
// nowhere. It hands input out in pieces of step bytes.
type bytesConn struct {
	net.Conn // nil: nothing else is used
	input    []byte
	step     int
}

func (b *bytesConn) Read(p []byte) (int, error) {
	if len(b.input) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.input[:min(b.step, len(b.input))])
	b.input = b.input[n:]
	return n, nil
}

func (b *bytesConn) Write(p []byte) (int, error)      { return len(p), nil }
func (b *bytesConn) Close() error                     { return nil }
func (b *bytesConn) SetDeadline(time.Time) error      { return nil }
func (b *bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (b *bytesConn) SetWriteDeadline(time.Time) error { return nil }

// fuzzConn is a connection that reads input from a goroutine that is not there:
// the fuzz target runs the reader itself, with three streams open.
func fuzzConn(input []byte, step int) (c *conn, in *frameReader, streams []*stream) {
	nc := &bytesConn{input: input, step: step}
	opts := Options{MaxMessage: 1 << 20, StreamWindow: 1000}.withDefaults()
	c = newConn(nc, nc, Target{Authority: "peer:1"}, opts)
	for i := range 3 {
		s := newStream()
		s.init(c, Request{Path: "/test.S/M"})
		s.unary = i < 2
		s.closeSend = i != 1
		s.queueMessage(make([]byte, 100))
		c.opening.push(s)
		streams = append(streams, s)
	}
	c.mu.Lock()
	c.writing = true
	c.assembleLocked()
	c.mu.Unlock()
	return c, newFrameReader(nc), streams
}

// Whatever a server says, the reader does not panic, does not hang and keeps no
// more than the windows allow; the connection ends with an error and so does
// every stream that had no answer.
func FuzzConnection(f *testing.F) {
	seed := func(step uint8, frames ...[]byte) { f.Add(step, bytes.Join(frames, nil)) }
	p := newPeer(f, link{}, &bytesConn{})
	headers := func(id uint32, flags uint8, pairs ...string) []byte {
		return rawFrame(frameHeaders, flags|flagEndHeaders, id, p.block(pairs...)...)
	}
	ok := headers(1, 0, ":status", "200", "content-type", "application/grpc")
	seed(255, appendSettings(nil), ok, rawFrame(frameData, 0, 1, message("x")...), headers(1, flagEndStream, "grpc-status", "0"))
	seed(1, headers(3, flagEndStream, ":status", "200", "grpc-status", "5", "grpc-message", "a%20b"))
	seed(7, headers(5, 0, ":status", "200", "content-type", "application/grpc"),
		rawFrame(frameData, flagPadded, 5, append([]byte{2}, append(message("hello"), 0, 0)...)...),
		rawFrame(frameRSTStream, 0, 5, 0, 0, 0, 7))
	seed(3, appendSettings(nil, setting{settingInitialWindowSize, 0}, setting{settingHeaderTableSize, 0}, setting{settingMaxFrameSize, 1 << 15}),
		appendWindowUpdate(nil, 0, 1), appendWindowUpdate(nil, 1, 5), appendPing(nil, false, [8]byte{}), appendPing(nil, true, [8]byte{}))
	seed(255, appendGoAway(nil, 1, codeEnhanceYourCalm), rawFrame(frameHeaders, 0, 1), rawFrame(frameContinuation, flagEndHeaders, 1, 0x88))
	f.Fuzz(func(t *testing.T, step uint8, input []byte) {
		c, in, streams := fuzzConn(input, int(step)+1)
		newReader(c, in).run(nil)
		err := c.Err()
		if err == nil {
			t.Fatal("the connection does not end")
		}
		if c.State() != Closed || len(c.streams) > 0 || c.opening.head != nil || c.ready.head != nil {
			t.Fatalf("state %v, %d streams are left after %v", c.State(), len(c.streams), err)
		}
		if len(c.control) > maxControl+64 {
			t.Errorf("%d bytes of control frames", len(c.control))
		}
		held := 0
		for i, s := range streams {
			if !s.done {
				t.Errorf("stream %d has not ended", i)
			}
			if s.unary && s.err == nil && s.reply == nil {
				t.Errorf("stream %d has neither an answer nor an error", i)
			}
			held += len(s.reply)
			for _, msg := range s.inbox {
				held += len(msg)
			}
		}
		if held > len(input) {
			t.Errorf("%d bytes are kept of an input of %d", held, len(input))
		}
	})
}

// The reader's view of frames does not depend on how the bytes were cut.
func FuzzFrameReader(f *testing.F) {
	f.Add(uint8(1), appendPing(appendSettings(nil), false, [8]byte{}))
	f.Add(uint8(200), bytes.Repeat(rawFrame(frameData, 0, 1, make([]byte, 5000)...), 30))
	f.Fuzz(func(t *testing.T, step uint8, input []byte) {
		frames := func(step int) (out []byte, end error) {
			in := newFrameReader(&bytesConn{input: input, step: step})
			for {
				h, payload, ok, err := in.next()
				switch {
				case err != nil:
					return out, err
				case ok:
					out = append(appendFrameHeader(out, h.length, h.kind, h.flags, h.streamID), payload...)
				default:
					if err := in.fill(); err != nil {
						return out, err
					}
				}
			}
		}
		whole, err1 := frames(1 << 30)
		cut, err2 := frames(int(step) + 1)
		if !bytes.Equal(whole, cut) || err1.Error() != err2.Error() {
			t.Fatalf("cut in %d: %d bytes of frames and %v, whole: %d and %v", step, len(cut), err2, len(whole), err1)
		}
	})
}

func FuzzHeaderBlock(f *testing.F) {
	p := newPeer(f, link{}, &bytesConn{})
	f.Add(p.block(":status", "200", "content-type", "application/grpc"), p.block("grpc-status", "0", "grpc-message", "%41"))
	f.Add([]byte{0x3f, 0xe1, 0x1f}, []byte{0x80 | 62})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		d := newHeaderDecoder()
		for _, block := range [][]byte{one, two} {
			h, err := d.decode(block)
			var violation *connError
			if err != nil && !errors.As(err, &violation) {
				t.Fatalf("error is no violation: %v", err)
			}
			if err != nil {
				return
			}
			if h.httpStatus != 0 && (h.httpStatus < 100 || h.httpStatus > 999) || h.grpcStatus < -1 || len(h.message) > maxHeaderList {
				t.Errorf("%+v", h)
			}
			if e := h.status(); (e == nil) != (h.grpcStatus == 0) {
				t.Errorf("status %d is the error %v", h.grpcStatus, e)
			}
		}
	})
}

func FuzzSettings(f *testing.F) {
	f.Add(appendSettings(nil, setting{settingInitialWindowSize, 7}, setting{0xff, 1})[frameHeaderLen:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		p := defaultPeerSettings()
		if err := p.apply(payload); err != nil {
			return
		}
		if p.initialWindow < 0 || p.initialWindow > maxWindow || p.maxFrameSize < defaultMaxFrameSize || p.maxFrameSize > maxMaxFrameSize ||
			p.headerTableLeast > p.headerTableSize {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzPercentDecode(f *testing.F) {
	f.Add("50%25")
	f.Add("%zz%4")
	f.Fuzz(func(t *testing.T, s string) {
		got := percentDecode(s)
		if len(got) > len(s) || !strings.Contains(s, "%") && got != s {
			t.Errorf("%q decodes to %q", s, got)
		}
		const hex = "0123456789ABCDEF"
		var encoded strings.Builder
		for i := range len(s) {
			encoded.WriteString("%" + string(hex[s[i]>>4]) + string(hex[s[i]&15]))
		}
		if back := percentDecode(encoded.String()); back != s {
			t.Errorf("%q comes back as %q", s, back)
		}
	})
}

// A timeout on the wire is never shorter than it was, at most eight digits, and
// at most a thousandth longer (or a unit of the smallest).
func FuzzAppendTimeout(f *testing.F) {
	f.Add(int64(1))
	f.Add(int64(time.Hour))
	f.Fuzz(func(t *testing.T, n int64) {
		if n <= 0 {
			return
		}
		d := time.Duration(n)
		b := appendTimeout(nil, d)
		value := int64(0)
		for _, digit := range b[:len(b)-1] {
			value = value*10 + int64(digit-'0')
		}
		unit := map[byte]time.Duration{'u': time.Microsecond, 'm': time.Millisecond, 'S': time.Second, 'M': time.Minute, 'H': time.Hour}[b[len(b)-1]]
		if unit == 0 || len(b) > 9 || value < 1 {
			t.Fatalf("%d ns is %s", n, b)
		}
		units := (n-1)/int64(unit) + 1 // rounded up
		if value != units {
			t.Errorf("%d ns is %s, want %d of that unit", n, b, units)
		}
		if unit > time.Microsecond && n/int64(unit) < 1000 {
			t.Errorf("%d ns is %s, which is coarse", n, b)
		}
	})
}

// A fuzzed connection must not depend on who called: the same through Dial.
func TestHostileGreeting(t *testing.T) {
	for _, input := range []string{"", "\x00", "HTTP/1.1", strings.Repeat("\xff", 100), string(appendFrameHeader(nil, 1<<24-1, frameSettings, 0, 0))} {
		_, err := Dial(context.Background(), Target{}, Options{DialContext: dialTo(&bytesConn{input: []byte(input), step: 1})})
		if err == nil {
			t.Errorf("%q is taken for a greeting", input)
		}
	}
}
