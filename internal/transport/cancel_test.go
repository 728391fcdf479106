package transport

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"time"
)

// A server that never answers: the call ends with its context or its Timeout,
// as unknown, and the server hears of it exactly once.
func TestNeverAnswering(t *testing.T) {
	cases := []struct {
		name string
		run  func(c Conn, sent <-chan struct{}) error
		want want
	}{
		{"context cancelled", func(c Conn, sent <-chan struct{}) error {
			ctx, cancel := context.WithCancel(context.Background())
			go func() { <-sent; cancel() }()
			_, err := c.Call(ctx, simple)
			return err
		}, want{code: Canceled, outcome: MaybeSent, cause: context.Canceled}},
		{"context deadline", func(c Conn, _ <-chan struct{}) error {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			_, err := c.Call(ctx, simple)
			return err
		}, want{code: DeadlineExceeded, outcome: MaybeSent, cause: context.DeadlineExceeded}},
		{"Request.Timeout", func(c Conn, _ <-chan struct{}) error {
			req := simple
			req.Timeout = 300 * time.Millisecond
			_, err := c.Call(context.Background(), req)
			return err
		}, want{code: DeadlineExceeded, outcome: MaybeSent, cause: ErrTimeout}},
		{"stream closed", func(c Conn, sent <-chan struct{}) error {
			s, err := c.Open(context.Background(), simple)
			if err != nil {
				return err
			}
			<-sent
			s.Close()
			s.Close()
			_, err = s.Recv(context.Background())
			s.Close()
			return err
		}, want{code: Canceled, outcome: MaybeSent, cause: ErrClosed}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			overLinks(t, func(t *testing.T, l link) {
				conn, p := connect(t, l, Options{})
				sent := make(chan struct{})
				failed := make(chan error, 1)
				go func() { failed <- c.run(conn, sent) }()
				id := p.until(frameData).streamID
				close(sent)
				c.want.check(t, <-failed)
				f := p.until(frameRSTStream)
				if f.streamID != id || !bytes.Equal(f.payload, []byte{0, 0, 0, byte(codeCancel)}) {
					t.Errorf("RST_STREAM on %d says %x", f.streamID, f.payload)
				}
				p.reply(id, "too late")
				p.send(framePing, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7)
				if f := p.until(frameRSTStream, framePing); f.kind == frameRSTStream {
					t.Error("RST_STREAM is sent twice")
				}
				p.roundTrip(conn)
			})
		})
	}
}

// A context that is over before the call sends nothing.
func TestContextOverBefore(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := conn.Call(ctx, simple)
	want{code: Canceled, outcome: NotSent, cause: context.Canceled}.check(t, err)
	_, err = conn.Open(ctx, simple)
	want{code: Canceled, outcome: NotSent, cause: context.Canceled}.check(t, err)
	p.noRequest()
	p.roundTripAt(conn, 1)
}

// grpc-timeout carries the context's deadline and not Request.Timeout.
func TestGRPCTimeoutHeader(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	pending := startContext(ctx, conn, simple)
	r := p.request()
	if v := r.fields["grpc-timeout"]; len(v) != 9 || v[len(v)-1] != 'u' || v[0] != '8' {
		t.Errorf("grpc-timeout is %q, want a little below 90000000u", v)
	}
	p.reply(r.id, "x")
	pending.wait(t)

	req := simple
	req.Timeout = time.Minute
	for _, ctx := range []context.Context{context.Background(), noDeadline{context.Background()}} {
		pending = startContext(ctx, conn, req)
		r = p.request()
		if v, ok := r.fields["grpc-timeout"]; ok {
			t.Errorf("grpc-timeout %q for a call whose context has no deadline", v)
		}
		p.reply(r.id, "x")
		pending.wait(t)
	}
}

// noDeadline has none, and says so with a time, as contexts of client/v3 do.
type noDeadline struct{ context.Context }

func (noDeadline) Deadline() (time.Time, bool) { return time.Unix(0, 0), false }

func TestCloseWithCallsInFlight(t *testing.T) {
	overLinks(t, func(t *testing.T, l link) {
		conn, p := connect(t, l, Options{})
		call := start(conn, simple)
		p.request()
		s, err := conn.Open(context.Background(), Request{Path: "/test.S/Watch"})
		if err != nil {
			t.Fatal(err)
		}
		p.until(frameHeaders)
		received := make(chan error, 1)
		go func() { _, err := s.Recv(context.Background()); received <- err }()

		var closers sync.WaitGroup
		for range 3 {
			closers.Go(func() { _ = conn.Close() })
		}
		closers.Wait()
		closed := want{code: Canceled, outcome: MaybeSent, cause: ErrClosed}
		closed.check(t, call.wait(t).err)
		closed.check(t, <-received)
		closed.check(t, conn.Err())
		if got := conn.State(); got != Closed {
			t.Errorf("state is %v", got)
		}
		notSent := want{code: Canceled, outcome: NotSent, cause: ErrClosed}
		_, err = conn.Call(context.Background(), simple)
		notSent.check(t, err)
		_, err = conn.Open(context.Background(), simple)
		notSent.check(t, err)
		if err := s.Send(context.Background(), []byte("x")); err == nil {
			t.Error("Send works on a closed connection")
		}
		s.CloseSend()
		s.Close()
	})
}

// Each message of a stream arrives, in order, then the status; it stays.
func TestStreamBothWays(t *testing.T) {
	overLinks(t, func(t *testing.T, l link) {
		conn, p := connect(t, l, Options{})
		ctx := context.Background()
		s, err := conn.Open(ctx, Request{Path: "/test.S/Bidi", Message: []byte("a")})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(ctx, []byte("b")); err != nil {
			t.Fatal(err)
		}
		s.CloseSend()
		s.CloseSend()
		if err := s.Send(ctx, []byte("c")); err == nil {
			t.Error("Send after CloseSend succeeds")
		}
		r := p.request()
		if got, want := string(r.body), string(message("a"))+string(message("b")); got != want {
			t.Errorf("server got %q, want %q", got, want)
		}
		p.responseHeaders(r.id)
		p.send(frameData, 0, r.id, append(append(message("one"), message("")...), message("three")...)...)
		p.trailers(r.id, "0")
		for _, want := range []string{"one", "", "three"} {
			if got, err := s.Recv(ctx); err != nil || string(got) != want {
				t.Fatalf("Recv: %q, %v; want %q", got, err, want)
			}
		}
		for range 2 {
			if _, err := s.Recv(ctx); err != io.EOF {
				t.Errorf("Recv at the end: %v, want EOF", err)
			}
		}
		s.Close()
	})
}

// A Recv whose context ends leaves the stream usable.
func TestRecvContext(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	s, err := conn.Open(context.Background(), Request{Path: "/test.S/Watch"})
	if err != nil {
		t.Fatal(err)
	}
	id := p.until(frameHeaders).streamID
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	_, err = s.Recv(ctx)
	want{code: DeadlineExceeded, cause: context.DeadlineExceeded}.check(t, err)
	p.responseHeaders(id)
	p.data(id, "later")
	if got, err := s.Recv(context.Background()); string(got) != "later" {
		t.Fatalf("Recv: %q, %v", got, err)
	}
	// What has arrived is delivered before the error behind it.
	p.data(id, "last words")
	p.trailers(id, "14", "grpc-message", "etcdserver: no leader")
	if got, err := s.Recv(context.Background()); string(got) != "last words" {
		t.Fatalf("Recv: %q, %v", got, err)
	}
	for range 2 {
		_, err = s.Recv(context.Background())
		want{code: Unavailable, outcome: Answered, text: "no leader"}.check(t, err)
	}
	p.roundTrip(conn)
}

// When the server ends a stream before the client does, the client resets the stream.
func TestServerEndsBeforeClient(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	s, err := conn.Open(context.Background(), Request{Path: "/test.S/Bidi"})
	if err != nil {
		t.Fatal(err)
	}
	id := p.until(frameHeaders).streamID
	p.responseHeaders(id)
	p.trailers(id, "0")
	if _, err := s.Recv(context.Background()); err != io.EOF {
		t.Errorf("Recv: %v, want EOF", err)
	}
	if f := p.until(frameRSTStream); f.streamID != id {
		t.Errorf("RST_STREAM on %d, want %d", f.streamID, id)
	}
	if err := s.Send(context.Background(), []byte("x")); err == nil {
		t.Error("Send succeeds on a stream that the server has ended")
	}
	p.roundTrip(conn)
}

// Nothing is sent for a context that has ended.
func TestEndedContextSendsNothing(t *testing.T) {
	conn, p := connect(t, tcpLink, Options{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := conn.Open(t.Context(), Request{Path: "/test.S/Bidi"})
	if err != nil {
		t.Fatal(err)
	}
	id := p.until(frameHeaders).streamID
	for what, do := range map[string]func() error{
		"Call": func() error { _, err := conn.Call(over, Request{Path: "/test.S/M"}); return err },
		"Open": func() error { _, err := conn.Open(over, Request{Path: "/test.S/Bidi"}); return err },
		"Send": func() error { return s.Send(over, []byte("x")) },
	} {
		err := do()
		if err == nil {
			t.Errorf("%s succeeds", what)
		}
		want{code: Canceled, outcome: NotSent, cause: context.Canceled}.check(t, err)
	}
	if err := s.Send(t.Context(), []byte("y")); err != nil {
		t.Fatal(err)
	}
	if f := p.until(frameData); f.streamID != id || f.payload[len(f.payload)-1] != 'y' {
		t.Errorf("the peer got %q on stream %d", f.payload, f.streamID)
	}
	s.Close()
	p.roundTrip(conn)
}
