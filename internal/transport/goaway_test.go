package transport

import (
	"context"
	"net"
	"testing"
)

// A GOAWAY in mid-call: streams above its last id were not processed, those
// below go on, and when they are done the connection ends.
func TestGoAwayInMidCall(t *testing.T) {
	overLinks(t, func(t *testing.T, l link) {
		conn, p := connect(t, l, Options{})
		first := start(conn, simple)
		firstID := p.request().id
		second := start(conn, simple)
		p.request()

		p.goAway(firstID, codeNoError, "")
		want{code: Unavailable, outcome: NotSent, cause: ErrDraining}.check(t, second.wait(t).err)
		if s := conn.State(); s != Draining {
			t.Errorf("state is %v, want draining", s)
		}
		_, err := conn.Call(context.Background(), simple)
		want{code: Unavailable, outcome: NotSent, cause: ErrDraining}.check(t, err)
		_, err = conn.Open(context.Background(), simple)
		want{code: Unavailable, outcome: NotSent, cause: ErrDraining}.check(t, err)

		p.reply(firstID, "done nevertheless")
		if got := first.wait(t); got.err != nil || string(got.reply) != "done nevertheless" {
			t.Errorf("stream below the last id: %q, %v", got.reply, got.err)
		}
		want{code: Unavailable, cause: ErrDraining}.check(t, ended(t, conn))
	})
}

// grpc-go says GOAWAY twice: first with the highest possible id, so that nothing
// that is on its way is lost, then with the real one.
func TestGoAwayTwice(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	first := start(conn, simple)
	firstID := p.request().id
	second := start(conn, simple)
	secondID := p.request().id

	p.goAway(maxStreamID, codeNoError, "")
	p.send(framePing, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	if f := p.until(framePing); f.flags != flagAck {
		t.Fatalf("PING is not acknowledged: %+v", f)
	}
	p.goAway(firstID, codeNoError, "")
	want{code: Unavailable, outcome: NotSent, cause: ErrDraining}.check(t, second.wait(t).err)
	p.reply(secondID, "late, and for nobody")
	p.reply(firstID, "first")
	if got := first.wait(t); string(got.reply) != "first" {
		t.Errorf("stream below the last id: %q, %v", got.reply, got.err)
	}
	ended(t, conn)
}

func TestGoAwayOnAnIdleConnection(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	p.goAway(0, codeNoError, "")
	want{code: Unavailable, cause: ErrDraining}.check(t, ended(t, conn))
}

// A stream that is being answered was processed, whatever GOAWAY's last id says.
func TestGoAwayBelowAnAnsweredStream(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	pending := start(conn, simple)
	p.responseHeaders(p.request().id)
	p.goAway(0, codeNoError, "")
	want{code: Unavailable, outcome: MaybeSent, cause: ErrDraining}.check(t, pending.wait(t).err)
}

func TestGoAwayWithAnErrorCode(t *testing.T) {
	cases := []struct {
		name  string
		code  errCode
		debug string
		want  want
	}{
		{"too many pings", codeEnhanceYourCalm, "too_many_pings",
			want{code: Unavailable, text: "ENHANCE_YOUR_CALM", cause: ErrTooManyPings}},
		{"calm for another reason", codeEnhanceYourCalm, "busy",
			want{code: Unavailable, text: "ENHANCE_YOUR_CALM", cause: ErrDraining}},
		{"internal error", codeInternalError, "", want{code: Unavailable, text: "INTERNAL_ERROR"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conn, p := connect(t, tcpLink, Options{})
			below := start(conn, simple)
			id := p.request().id
			above := start(conn, simple)
			p.request()
			p.goAway(id, c.code, c.debug)
			notSent := c.want
			notSent.outcome, notSent.text = NotSent, ""
			notSent.check(t, above.wait(t).err)
			_ = p.nc.(*net.TCPConn).SetLinger(0) // a reset, which hides no GOAWAY
			p.quiet()
			_ = p.nc.Close()
			c.want.check(t, below.wait(t).err)
			c.want.check(t, ended(t, conn))
		})
	}
}

// The last stream of a draining connection may end on our side: the reader then
// has nothing to wake it.
func TestDrainingEndsAfterTheLastCancel(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	pending := startContext(ctx, conn, simple)
	p.goAway(p.request().id, codeNoError, "")
	for conn.State() != Draining {
		p.send(framePing, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		p.until(framePing)
	}
	cancel()
	want{code: Canceled, outcome: MaybeSent, cause: context.Canceled}.check(t, pending.wait(t).err)
	want{code: Unavailable, cause: ErrDraining}.check(t, ended(t, conn))
}

// The last stream id goes to one call; those behind it were not sent.
func TestStreamIDsUsedUp(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{}, setting{settingMaxConcurrentStreams, 1})
	p.roundTrip(conn) // the settings have arrived
	conn.mu.Lock()
	conn.nextID = maxStreamID - 2
	conn.mu.Unlock()

	p.roundTripAt(conn, maxStreamID-2)
	last := start(conn, simple)
	id := p.request().id
	if id != maxStreamID {
		t.Fatalf("stream id is %d, want %d", id, maxStreamID)
	}
	_, err := conn.Call(context.Background(), simple)
	want{code: Unavailable, outcome: NotSent, cause: ErrDraining}.check(t, err)
	p.reply(id, "the last")
	if got := last.wait(t); string(got.reply) != "the last" {
		t.Errorf("last stream: %q, %v", got.reply, got.err)
	}
	ended(t, conn)
}

// Calls that are queued when the ids run out fail; none is forgotten.
func TestStreamIDsUsedUpWithCallsInLine(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{}, setting{settingMaxConcurrentStreams, 1})
	p.roundTrip(conn)
	conn.mu.Lock()
	conn.nextID = maxStreamID - 2
	conn.mu.Unlock()
	first := start(conn, simple)
	id := p.request().id
	var inLine []pending
	for range 3 {
		inLine = append(inLine, start(conn, simple))
	}
	waitFor(t, func() bool { return conn.queued() == 3 })
	p.reply(id, "x")
	first.wait(t)
	p.reply(p.request().id, "x")
	refused := 0
	for _, c := range inLine {
		if err := c.wait(t).err; err != nil {
			want{code: Unavailable, outcome: NotSent, cause: ErrDraining}.check(t, err)
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d calls were refused, want 2", refused)
	}
	ended(t, conn)
}
