package transport

import (
	"context"
	"strings"
	"testing"
)

// The peer's frame size bounds DATA and HEADERS from when its SETTINGS arrive.
func TestMaxFrameSizeChanges(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{}, setting{settingInitialWindowSize, 1 << 20}, setting{settingMaxFrameSize, 20_000})
	p.window(0, 1<<20)
	p.quiet()
	for _, size := range []int{20_000, 16_384, 40_000} {
		p.settings(setting{settingMaxFrameSize, uint32(size)})
		p.quiet()
		pending := start(conn, Request{Path: "/test.S/M", Message: make([]byte, 45_000)})
		largest := 0
		var id uint32
		for left := 45_000 + messagePrefixLen; left > 0; {
			f := p.until(frameData)
			largest, id = max(largest, f.length), f.streamID
			left -= f.length
		}
		if largest != size {
			t.Errorf("largest frame is %d bytes, the peer's limit %d", largest, size)
		}
		p.reply(id, "x")
		if got := pending.wait(t); got.err != nil {
			t.Fatal(got.err)
		}
	}
}

// A header block above the peer's frame size goes on in CONTINUATIONs.
func TestLongHeadersAreSplit(t *testing.T) {
	overLinks(t, func(t *testing.T, l link) {
		conn, p := connect(t, l, Options{})
		token := strings.Repeat("\x01", 40_000) // Huffman makes this longer, not shorter
		for range 2 {
			pending := start(conn, Request{Path: "/test.S/M", Message: []byte("hello"), Token: token})
			r := p.request()
			if r.frames < 3 || r.fields["token"] != token || string(r.body) != string(message("hello")) {
				t.Fatalf("%d header frames, token of %d bytes, body %q", r.frames, len(r.fields["token"]), r.body)
			}
			p.reply(r.id, "x")
			if got := pending.wait(t); got.err != nil {
				t.Fatal(got.err)
			}
		}
		p.roundTrip(conn)
	})
}

// The peer may take the dynamic table away and give it back, also within one
// SETTINGS frame. Its decoder follows only what the blocks announce.
func TestHeaderTableSizeChanges(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	check := func() {
		t.Helper()
		for range 3 {
			pending := start(conn, Request{Path: "/test.S/M", Message: []byte("hello"), Token: "token", RequireLeader: true})
			r := p.request()
			if r.fields[":path"] != "/test.S/M" || r.fields["token"] != "token" || r.fields["hasleader"] != "true" {
				t.Fatalf("request's fields are %v", r.fields)
			}
			p.reply(r.id, "x")
			if got := pending.wait(t); got.err != nil {
				t.Fatal(got.err)
			}
		}
	}
	check()
	for _, sizes := range [][]uint32{{0}, {4096}, {100}, {4096}, {0, 4096}, {1 << 20}, {50, 0, 200}} {
		var s []setting
		for _, n := range sizes {
			s = append(s, setting{settingHeaderTableSize, n})
			p.dec.SetAllowedMaxDynamicTableSize(n)
			// What shrinks is emptied at once: a later reference to it is an error.
			p.dec.SetMaxDynamicTableSize(min(n, 4096))
		}
		p.settings(s...)
		p.quiet()
		check()
	}
}

// Calls above the peer's limit wait in line, first in, first out.
func TestMaxConcurrentStreams(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{}, setting{settingMaxConcurrentStreams, 0})
	p.quiet()
	var calls []pending
	for i := range 5 {
		calls = append(calls, start(conn, Request{Path: "/test.S/M", Message: []byte{byte(i)}}))
		waitFor(t, func() bool { return conn.queued() == i+1 })
	}
	p.noRequest()
	p.settings(setting{settingMaxConcurrentStreams, 1})
	answer := func(i int) {
		t.Helper()
		r := p.request()
		if got := r.body[messagePrefixLen]; int(got) != i {
			t.Fatalf("call %d goes first, want %d", got, i)
		}
		p.noRequest()
		p.reply(r.id, "x")
		if got := calls[i].wait(t); got.err != nil {
			t.Fatal(got.err)
		}
	}
	answer(0)
	answer(1)
	p.settings(setting{settingMaxConcurrentStreams, 100})
	for i := 2; i < 5; i++ {
		r := p.request()
		p.reply(r.id, "x")
		if got := calls[r.body[messagePrefixLen]].wait(t); got.err != nil {
			t.Fatal(got.err)
		}
	}
}

// Dial returns once the server's first SETTINGS hold: many callers may wait for
// the connection, and those above its limit would be refused.
func TestFirstSettingsHoldFromTheStart(t *testing.T) {
	overLinks(t, func(t *testing.T, l link) {
		conn, _ := connect(t, l, Options{}, setting{settingMaxConcurrentStreams, 7}, setting{settingInitialWindowSize, 9})
		conn.mu.Lock()
		defer conn.mu.Unlock()
		if conn.peer.maxStreams != 7 || conn.peer.initialWindow != 9 {
			t.Errorf("settings are %+v when Dial returns", conn.peer)
		}
	})
}

// noRequest sees that no stream is opened before the next PING is answered.
func (p *peer) noRequest() {
	p.t.Helper()
	p.send(framePing, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7)
	if f := p.until(frameHeaders, framePing); f.kind == frameHeaders {
		p.t.Fatalf("client opens stream %d beyond the peer's limit", f.streamID)
	}
}

// A call that waits in line was not sent, whatever ends it.
func TestQueuedCallIsNotSent(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{}, setting{settingMaxConcurrentStreams, 1})
	p.quiet()
	first := start(conn, simple)
	id := p.request().id

	ctx, cancel := context.WithCancel(context.Background())
	canceled := startContext(ctx, conn, simple)
	waitFor(t, func() bool { return conn.queued() == 1 })
	cancel()
	want{code: Canceled, outcome: NotSent, cause: context.Canceled}.check(t, canceled.wait(t).err)

	late := simple
	late.Timeout = 1
	_, err := conn.Call(context.Background(), late)
	want{code: DeadlineExceeded, outcome: NotSent, cause: ErrTimeout}.check(t, err)

	s, err := conn.Open(context.Background(), simple)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	_, err = s.Recv(context.Background())
	want{code: Canceled, outcome: NotSent, cause: ErrClosed}.check(t, err)

	// Nothing of the three went out, no RST_STREAM either.
	p.send(framePing, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7)
	for {
		f := p.frame()
		if f.kind == framePing {
			break
		}
		if f.streamID > id || f.kind == frameRSTStream {
			t.Fatalf("frame type %d on stream %d for calls that never left the line", f.kind, f.streamID)
		}
	}
	last := start(conn, simple)
	waitFor(t, func() bool { return conn.queued() == 1 })
	_ = conn.Close()
	want{code: Canceled, outcome: NotSent, cause: ErrClosed}.check(t, last.wait(t).err)
	want{code: Canceled, outcome: MaybeSent, cause: ErrClosed}.check(t, first.wait(t).err)
}

// A request whose headers, by RFC 9113's count, are larger than the server takes
// is not sent; the same without its token is.
func TestMaxHeaderListSize(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{}, setting{settingMaxHeaderListSize, 1000})
	req := simple
	req.Token = strings.Repeat("t", 600)
	_, err := conn.Call(t.Context(), req)
	want{code: ResourceExhausted, outcome: NotSent, cause: ErrHeadersTooLarge, text: "the server takes 1000"}.check(t, err)
	if strings.Contains(err.Error(), "ttt") {
		t.Errorf("the error shows the token: %v", err)
	}
	_, err = conn.Open(t.Context(), req)
	want{code: ResourceExhausted, outcome: NotSent, cause: ErrHeadersTooLarge}.check(t, err)
	p.roundTrip(conn)
}

// listSize counts no less than what is sent.
func TestHeaderListSize(t *testing.T) {
	e := newHeaderEncoder("https", "etcd.test:2379", "agent")
	for _, req := range []Request{{Path: "/a"}, {Path: "/a/b", RequireLeader: true}, {Path: "/a/b", Token: "token"}} {
		var sent uint32
		for _, f := range e.fieldsOf(nil, &blockKey{req.Path, req.Token, req.RequireLeader}) {
			sent += f.size()
		}
		timeout := uint64(32 + len("grpc-timeout") + maxTimeoutLen)
		if got := e.listSize(&req); got != uint64(sent)+timeout {
			t.Errorf("%+v: %d, want %d", req, got, uint64(sent)+timeout)
		}
	}
}
