package transport

import (
	"io"
	"testing"
)

// A peer that asks for answers and reads none of them is cut off; what waits
// for it stays bounded.
func TestFloods(t *testing.T) {
	cases := []struct {
		name  string
		frame []byte
	}{
		{"PING", appendPing(nil, false, [8]byte{1})},
		{"SETTINGS", appendSettings(nil)},
		{"SETTINGS with changes", appendSettings(nil, setting{settingHeaderTableSize, 0}, setting{settingHeaderTableSize, 4096})},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conn, p := connect(t, pipeLink, Options{})
			pending := start(conn, simple)
			p.request()
			before := allocated()
			var chunk []byte
			for len(chunk) < 16<<10 {
				chunk = append(chunk, c.frame...)
			}
			sent := 0
			for conn.State() != Closed && sent < 100<<20 {
				p.write(chunk...)
				sent += len(chunk)
			}
			want{code: Internal, text: "does not read them"}.check(t, ended(t, conn))
			want{code: Internal, text: "does not read them"}.check(t, pending.wait(t).err)
			if grown := allocated() - before; grown > 16*maxControl {
				t.Errorf("flood of %d bytes made the client allocate %d", sent, grown)
			}
		})
	}
}

// Answers that are read keep coming, however many.
func TestManyPingsAreAnswered(t *testing.T) {
	conn, p := connect(t, pipeLink, Options{})
	const n = 20_000
	go func() {
		for range n {
			p.write(appendPing(nil, false, [8]byte{1})...)
		}
	}()
	for acks := 0; acks < n; {
		if f := p.frame(); f.kind == framePing && f.flags == flagAck {
			acks++
		}
	}
	p.roundTrip(conn)
}

// Frames for streams that have ended cost the client nothing that lasts.
func TestLateFramesForEndedStreams(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	go func() { _, _ = io.Copy(io.Discard, p.nc) }()
	pending := start(conn, simple)
	// A stream's id is known: the first.
	waitFor(t, func() bool { conn.mu.Lock(); defer conn.mu.Unlock(); return conn.nextID == 3 })
	p.reply(1, "x")
	if got := pending.wait(t); got.err != nil {
		t.Fatal(got.err)
	}
	// More than a connection window of DATA: the client still gives it back.
	payload := make([]byte, defaultMaxFrameSize)
	for range 2 * connWindow / defaultMaxFrameSize {
		p.send(frameData, 0, 1, payload...)
		p.send(frameHeaders, flagEndHeaders, 1, p.block("x-late", "1")...)
		p.send(frameRSTStream, 0, 1, 0, 0, 0, 8)
		p.send(frameWindowUpdate, 0, 1, 0, 0, 0, 0)
	}
	pending = start(conn, simple)
	waitFor(t, func() bool { conn.mu.Lock(); defer conn.mu.Unlock(); return conn.nextID == 5 })
	p.reply(3, "still here")
	if got := pending.wait(t); string(got.reply) != "still here" {
		t.Fatal(got.err)
	}
}
