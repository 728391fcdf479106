package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// sent reads frames until n bytes of DATA have come on stream id.
func (p *peer) sent(id uint32, n int) {
	p.t.Helper()
	for n > 0 {
		f := p.until(frameData)
		if f.streamID != id {
			p.t.Fatalf("DATA on stream %d, want %d", f.streamID, id)
		}
		n -= f.length
	}
	if n < 0 {
		p.t.Fatalf("client has sent %d bytes more than the window", -n)
	}
}

// quiet sees that no DATA is on its way: the answer to a PING comes first.
func (p *peer) quiet() {
	p.t.Helper()
	p.send(framePing, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7)
	if f := p.until(frameData, framePing); f.kind == frameData {
		p.t.Fatalf("client sends %d bytes of DATA beyond its window", f.length)
	}
}

func TestInitialWindowOfZero(t *testing.T) {
	overLinks(t, func(t *testing.T, l link) {
		conn, p := connect(t, l, Options{}, setting{settingInitialWindowSize, 0})
		p.quiet() // the settings have been read
		pending := start(conn, simple)
		id := p.until(frameHeaders).streamID
		p.quiet()
		for range message("hello") {
			p.window(id, 1)
			p.sent(id, 1)
			p.quiet()
		}
		p.reply(id, "x")
		if got := pending.wait(t); got.err != nil {
			t.Fatal(got.err)
		}
	})
}

func TestInitialWindowOfOneThenMore(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{}, setting{settingInitialWindowSize, 1})
	p.quiet()
	pending := start(conn, simple)
	id := p.until(frameHeaders).streamID
	p.sent(id, 1)
	p.settings(setting{settingInitialWindowSize, 100})
	p.sent(id, len(message("hello"))-1)
	p.reply(id, "x")
	if got := pending.wait(t); got.err != nil {
		t.Fatal(got.err)
	}
}

// INITIAL_WINDOW_SIZE may shrink under what a stream has sent already; its
// window is then below zero and has to be filled up from there.
func TestShrinkingInitialWindow(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{}, setting{settingInitialWindowSize, 10})
	p.quiet()
	pending := start(conn, Request{Path: "/test.S/M", Message: make([]byte, 45)})
	id := p.until(frameHeaders).streamID
	p.sent(id, 10)
	p.settings(setting{settingInitialWindowSize, 3}) // window: -7
	p.quiet()
	p.window(id, 7) // 0
	p.quiet()
	p.window(id, 1)
	p.sent(id, 1)
	p.settings(setting{settingInitialWindowSize, 23}) // 20
	p.sent(id, 20)
	p.quiet()
	p.window(id, 19)
	p.sent(id, 19)
	p.reply(id, "x")
	if got := pending.wait(t); got.err != nil {
		t.Fatal(got.err)
	}
}

// An exhausted connection window holds up every stream; its first bytes are
// shared out. END_STREAM needs none; it once waited behind those that do.
func TestConnectionWindowExhausted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{}, setting{settingInitialWindowSize, 1 << 20})
		p.quiet()
		one := start(conn, Request{Path: "/test.S/M", Message: make([]byte, defaultWindow-messagePrefixLen+100)})
		id := p.until(frameHeaders).streamID
		p.sent(id, defaultWindow)
		calls := []pending{one}
		for range 10 {
			calls = append(calls, start(conn, simple))
			p.until(frameHeaders)
		}
		p.quiet()
		s, err := conn.Open(context.Background(), Request{Path: "/test.S/Stream"})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.CloseSend()
		if r := p.request(); len(r.body) != 0 {
			t.Errorf("stream's body is %q", r.body)
		}
		s.Close()
		if since := time.Since(began); since > 0 {
			t.Errorf("END_STREAM took %v", since)
		}
		p.window(0, 50)
		p.window(0, 1000)
		for range calls {
			p.reply(p.request().id, "x")
		}
		for _, c := range calls {
			if got := c.wait(t); got.err != nil {
				t.Error(got.err)
			}
		}
	})
}

// The connection window is given back on receipt, a stream's only as it is
// read: an unread stream holds its server up and no other.
func TestUnreadStreamPushesBack(t *testing.T) {
	const window = 64 << 10
	conn, p := connect(t, tcpLink, Options{StreamWindow: window})
	s, err := conn.Open(context.Background(), Request{Path: "/test.S/Watch"})
	if err != nil {
		t.Fatal(err)
	}
	id := p.until(frameHeaders).streamID
	p.responseHeaders(id)
	// The messages are as large as would tempt the client to let each complete.
	msg := string(bytes.Repeat([]byte("m"), 10_000))
	total := p.sendWithin(id, message(msg), window)
	if total > 2*window {
		t.Fatalf("server could send %d bytes to a stream that is not read, its window is %d", total, window)
	}
	p.roundTrip(conn)
	for range 3 {
		if got, err := s.Recv(context.Background()); err != nil || string(got) != msg {
			t.Fatalf("Recv: %d bytes, %v", len(got), err)
		}
	}
	for len(s.(*stream).inbox) > 0 {
		if _, err := s.Recv(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	f := p.until(frameWindowUpdate)
	if f.streamID != id {
		f = p.until(frameWindowUpdate)
	}
	if f.streamID != id {
		t.Errorf("a stream that has been read gets no window back: WINDOW_UPDATE on %d", f.streamID)
	}
	s.Close()
}

// sendWithin repeats msg on stream id as long as the client's windows allow,
// and returns how many bytes that was. It gives up at 20 windows.
func (p *peer) sendWithin(id uint32, msg []byte, window int) (total int) {
	p.t.Helper()
	left := window
	var rest []byte
	for total < 20*window {
		if left == 0 {
			p.send(framePing, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7)
			for {
				f := p.until(frameWindowUpdate, framePing)
				if f.kind == framePing {
					break
				}
				if n := binary.BigEndian.Uint32(f.payload); n == 0 {
					p.t.Fatal("client sends WINDOW_UPDATE by zero")
				} else if f.streamID == id {
					left += int(n)
				}
			}
			if left == 0 {
				return total
			}
		}
		if len(rest) == 0 {
			rest = msg
		}
		n := min(len(rest), left, defaultMaxFrameSize)
		p.send(frameData, 0, id, rest[:n]...)
		rest, left, total = rest[n:], left-n, total+n
	}
	return total
}

// Empty messages cost their prefix: a flood of them is held up too.
func TestUnreadEmptyMessagesPushBack(t *testing.T) {
	const window = 10_000
	conn, p := connect(t, tcpLink, Options{StreamWindow: window})
	s, err := conn.Open(context.Background(), Request{Path: "/test.S/Watch"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := p.until(frameHeaders).streamID
	p.responseHeaders(id)
	if total := p.sendWithin(id, bytes.Repeat(message(""), 1000), window); total > 2*window {
		t.Fatalf("server could send %d bytes of empty messages, the window is %d", total, window)
	}
}

// A message larger than the window completes, whatever the window is.
func TestMessageLargerThanTheWindow(t *testing.T) {
	for _, window := range []int{1, 2, 9, 100, 65536} {
		conn, p := connect(t, tcpLink, Options{StreamWindow: window})
		big := bytes.Repeat([]byte("0123456789"), 20_000)

		pending := start(conn, simple)
		id := p.request().id
		p.responseHeaders(id)
		if got := p.sendOnce(id, message(string(big)), window); got != len(big)+messagePrefixLen {
			t.Fatalf("window %d: server could send only %d bytes of the message", window, got)
		}
		p.trailers(id, "0")
		if got := pending.wait(t); !bytes.Equal(got.reply, big) {
			t.Fatalf("window %d: unary reply of %d bytes, %v", window, len(got.reply), got.err)
		}

		s, err := conn.Open(context.Background(), Request{Path: "/test.S/M", Message: []byte("x"), CloseSend: true})
		if err != nil {
			t.Fatal(err)
		}
		id = p.request().id
		p.responseHeaders(id)
		received := make(chan []byte, 1)
		go func() {
			msg, _ := s.Recv(context.Background())
			received <- msg
		}()
		p.sendOnce(id, message(string(big)), window)
		if got := <-received; !bytes.Equal(got, big) {
			t.Fatalf("window %d: streamed message of %d bytes", window, len(got))
		}
		_ = conn.Close()
	}
}

// sendOnce sends msg within the client's window and returns how much it took.
func (p *peer) sendOnce(id uint32, msg []byte, window int) (total int) {
	p.t.Helper()
	for len(msg) > 0 {
		for window == 0 {
			f := p.until(frameWindowUpdate)
			if f.streamID == id {
				window += int(binary.BigEndian.Uint32(f.payload))
			}
		}
		n := min(len(msg), window, defaultMaxFrameSize)
		p.send(frameData, 0, id, msg[:n]...)
		msg, window, total = msg[n:], window-n, total+n
	}
	return total
}

// A prefix alone must not make the client allocate what it promises.
func TestHugePrefixAllocatesLittle(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	var before, after int64
	var calls []pending
	before = allocated()
	for range 4 {
		calls = append(calls, start(conn, simple))
		id := p.request().id
		p.responseHeaders(id)
		p.send(frameData, 0, id, 0, 0x7f, 0xff, 0xff, 0xff, 'x')
	}
	p.quiet()
	after = allocated()
	if got := after - before; got > 4*(maxEagerAlloc+1<<20) {
		t.Errorf("4 prefixes of 2 GiB made the client allocate %d bytes", got)
	}
	_ = conn.Close()
	for _, c := range calls {
		want{code: Canceled, cause: ErrClosed}.check(t, c.wait(t).err)
	}
}

// A message beyond the first buffer grows; all of its bytes stay.
func TestMessageLargerThanItsFirstBuffer(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	big := make([]byte, 300_000)
	for i := range big {
		big[i] = byte(i * 7 >> 3)
	}
	pending := start(conn, simple)
	id := p.request().id
	p.responseHeaders(id)
	p.send(frameData, 0, id, message(string(big))[:1005]...)
	p.quiet()
	conn.mu.Lock()
	s := conn.streams[id]
	s.in = s.in[:len(s.in):1010] // as if this were all that was dared
	conn.mu.Unlock()
	p.sendOnce(id, message(string(big))[1005:], defaultStreamWindow)
	p.trailers(id, "0")
	if got := pending.wait(t); !bytes.Equal(got.reply, big) {
		t.Fatalf("reply of %d bytes differs, %v", len(got.reply), got.err)
	}
}

// The server may not send more than it was allowed.
func TestServerOverrunsTheWindows(t *testing.T) {
	t.Run("stream", func(t *testing.T) {
		conn, p := connect(t, tcpLink, Options{StreamWindow: 100})
		pending := start(conn, simple)
		id := p.request().id
		p.responseHeaders(id)
		p.send(frameData, 0, id, make([]byte, 101)...)
		want{code: Internal, text: "overran the stream's window"}.check(t, pending.wait(t).err)
		p.until(frameRSTStream)
		p.roundTrip(conn)
	})
	t.Run("padding counts", func(t *testing.T) {
		conn, p := connect(t, tcpLink, Options{StreamWindow: 100})
		pending := start(conn, simple)
		id := p.request().id
		p.responseHeaders(id)
		p.send(frameData, flagPadded, id, append([]byte{100}, make([]byte, 100)...)...)
		want{code: Internal, text: "overran the stream's window"}.check(t, pending.wait(t).err)
	})
}

// A Send waits while a lot is queued, until its context ends or there is room.
func TestSendWaitsForRoom(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{}, setting{settingInitialWindowSize, 0})
	p.quiet()
	s, err := conn.Open(context.Background(), Request{Path: "/test.S/M"})
	if err != nil {
		t.Fatal(err)
	}
	id := p.until(frameHeaders).streamID
	if err := s.Send(context.Background(), make([]byte, maxQueuedSend)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	want{code: DeadlineExceeded, outcome: NotSent, cause: context.DeadlineExceeded}.check(t, s.Send(ctx, []byte("x")))

	sent := make(chan error, 1)
	go func() { sent <- s.Send(context.Background(), []byte("x")) }()
	p.window(0, 1<<20)
	p.window(id, maxQueuedSend)
	p.sent(id, maxQueuedSend)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	// The rest waits for the window: fill the queue again, and close under it.
	if err := s.Send(context.Background(), make([]byte, maxQueuedSend)); err != nil {
		t.Fatal(err)
	}
	go func() { sent <- s.Send(context.Background(), []byte("x")) }()
	s.Close()
	if err := <-sent; err == nil {
		t.Error("Send on a closed stream succeeds")
	}
}

// A stream with its own limit refuses what is larger, telling its beginning;
// other streams of the connection do not have that limit.
func TestStreamMaxMessage(t *testing.T) {
	overLinks(t, func(t *testing.T, l link) {
		conn, p := connect(t, l, Options{})
		open := func(limit int) (Stream, uint32) {
			s, err := conn.Open(t.Context(), Request{Path: "/a/b", Message: []byte("x"), MaxMessage: limit})
			if err != nil {
				t.Fatal(err)
			}
			id := p.until(frameHeaders).streamID
			p.responseHeaders(id)
			return s, id
		}
		limited, limitedID := open(10)
		free, freeID := open(0)
		p.send(frameData, 0, limitedID, message("0123456789")...)
		p.send(frameData, 0, limitedID, message("0123456789a")...)
		p.send(frameData, 0, freeID, message("0123456789a")...)
		if msg, err := free.Recv(t.Context()); err != nil || string(msg) != "0123456789a" {
			t.Errorf("got %q, %v", msg, err)
		}
		if msg, err := limited.Recv(t.Context()); err != nil || string(msg) != "0123456789" {
			t.Errorf("got %q, %v", msg, err)
		}
		_, err := limited.Recv(t.Context())
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrTooLarge) || string(e.Head) != "0123456789a" {
			t.Errorf("error %v, want ErrTooLarge with the message's head", err)
		}
		if f := p.until(frameRSTStream); f.streamID != limitedID {
			t.Errorf("RST_STREAM is for stream %d, want %d", f.streamID, limitedID)
		}
		free.Close()
	})
}
