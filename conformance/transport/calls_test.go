package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/version"

	"silly.store/etcd/internal/transport"
)

func path(method string) string { return "/conformance.S/" + method }

// failure checks an error's code, outcome and text.
func failure(t *testing.T, err error, code transport.Code, outcome transport.Outcome, text string) {
	t.Helper()
	var e *transport.Error
	if !errors.As(err, &e) || e.Code != code || e.Outcome != outcome || !strings.Contains(err.Error(), text) {
		if e == nil {
			e = &transport.Error{}
		}
		t.Errorf("error is %v (%v, %v), want %q (%v, %v)", err, e.Code, e.Outcome, text, code, outcome)
	}
}

func TestUnary(t *testing.T) {
	everyKind(t, func(t *testing.T, _ *server, c transport.Conn) {
		ctx := context.Background()
		for _, size := range []int{0, 1, 100, 16 << 10, 70_000, 3 << 20, 6 << 20} {
			msg := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			got, err := c.Call(ctx, transport.Request{Path: path("Echo"), Message: msg})
			if err != nil || !bytes.Equal(got, msg) {
				t.Fatalf("echo of %d bytes: %d bytes, %v", size, len(got), err)
			}
		}
		_, err := c.Call(ctx, transport.Request{Path: path("Nothing"), Message: []byte("x")})
		failure(t, err, transport.Unimplemented, transport.Answered, "no such method: /conformance.S/Nothing")
	})
}

func TestStatusAndMessage(t *testing.T) {
	everyKind(t, func(t *testing.T, _ *server, c transport.Conn) {
		for code := transport.Canceled; code <= transport.Unauthenticated; code++ {
			for _, text := range []string{"etcdserver: no leader", "50% of 100%", "grüße, 世界\n\ttab", ""} {
				_, err := c.Call(context.Background(), transport.Request{Path: path("Fail"), Message: fmt.Appendf(nil, "%d %s", code, text)})
				failure(t, err, code, transport.Answered, text)
			}
		}
	})
}

func TestMetadataAndDeadline(t *testing.T) {
	everyKind(t, func(t *testing.T, _ *server, c transport.Conn) {
		meta := func(ctx context.Context, req transport.Request) string {
			t.Helper()
			req.Path, req.Message = path("Meta"), []byte{}
			got, err := c.Call(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			return string(got)
		}
		long := strings.Repeat("long-token.", 3000)
		for _, token := range []string{"", "simple.123", strings.Repeat("jwt.", 600), long, "simple.123"} {
			got := meta(context.Background(), transport.Request{Token: token, RequireLeader: token != ""})
			hasLeader := ""
			if token != "" {
				hasLeader = "true"
			}
			for _, want := range []string{"token=" + token + "\n", "hasleader=" + hasLeader + "\n",
				"authority=etcd.test:2379\n", "user-agent=silly-etcd", "client-api-version=" + version.APIVersion + "\n", "content-type=application/grpc\n", "deadline=none"} {
				if !strings.Contains(got, want) {
					t.Errorf("server saw %.200q, want %.100q in it", got, want)
				}
			}
		}
		// Request.Timeout stays on the client; the context's deadline reaches the
		// server.
		if got := meta(context.Background(), transport.Request{Timeout: time.Minute}); !strings.Contains(got, "deadline=none") {
			t.Errorf("server saw %q", got)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if got := meta(ctx, transport.Request{}); !strings.Contains(got, "deadline=59m59.") && !strings.Contains(got, "deadline=1h0m0") {
			t.Errorf("server saw %q, want an hour", got)
		}
	})
}

// The server learns that a caller has given up.
func TestCancelReachesTheServer(t *testing.T) {
	everyKind(t, func(t *testing.T, s *server, c transport.Conn) {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-s.arrived; cancel() }()
		_, err := c.Call(ctx, transport.Request{Path: path("Hang"), Message: []byte("x")})
		failure(t, err, transport.Canceled, transport.MaybeSent, "canceled")
		if err := <-s.canceled; !errors.Is(err, context.Canceled) {
			t.Errorf("the handler's context says %v", err)
		}

		_, err = c.Call(context.Background(), transport.Request{Path: path("Hang"), Message: []byte("x"), Timeout: 300 * time.Millisecond})
		failure(t, err, transport.DeadlineExceeded, transport.MaybeSent, "no answer in time")
		<-s.canceled

		ctx, cancel = context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		_, err = c.Call(ctx, transport.Request{Path: path("Hang"), Message: []byte("x")})
		var e *transport.Error
		if !errors.As(err, &e) || e.Code != transport.DeadlineExceeded {
			t.Errorf("call beyond its deadline: %v", err)
		}
		<-s.canceled
		if got, err := c.Call(context.Background(), transport.Request{Path: path("Echo"), Message: []byte("x")}); string(got) != "x" {
			t.Errorf("after cancels: %q, %v", got, err)
		}
	})
}

func TestServerStream(t *testing.T) {
	everyKind(t, func(t *testing.T, _ *server, c transport.Conn) {
		for _, k := range []struct{ n, size, code int }{{0, 0, 0}, {3, 10, 0}, {500, 5000, 0}, {3, 3 << 20, 0}, {4, 100, 14}} {
			s, err := c.Open(context.Background(), transport.Request{
				Path: path("Count"), Message: fmt.Appendf(nil, "%d %d %d", k.n, k.size, k.code), CloseSend: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range k.n {
				msg, err := s.Recv(context.Background())
				if err != nil || len(msg) != k.size || !bytes.HasPrefix(msg, fmt.Append(nil, i)) {
					t.Fatalf("message %d of %+v: %d bytes, %v", i, k, len(msg), err)
				}
			}
			_, err = s.Recv(context.Background())
			if k.code == 0 && err != io.EOF {
				t.Errorf("end of %+v: %v", k, err)
			} else if k.code != 0 {
				failure(t, err, transport.Code(k.code), transport.Answered, "after the last")
			}
			s.Close()
		}
	})
}

func TestBidi(t *testing.T) {
	everyKind(t, func(t *testing.T, _ *server, c transport.Conn) {
		ctx := context.Background()
		s, err := c.Open(ctx, transport.Request{Path: path("Bidi")})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		const n = 1000
		go func() {
			for i := range n {
				if err := s.Send(ctx, bytes.Repeat(fmt.Append(nil, i), 1+i%500)); err != nil {
					t.Errorf("Send %d: %v", i, err)
					break
				}
			}
			s.CloseSend()
		}()
		for i := range n {
			msg, err := s.Recv(ctx)
			if err != nil || !bytes.Equal(msg, bytes.Repeat(fmt.Append(nil, i), 1+i%500)) {
				t.Fatalf("Recv %d: %d bytes, %v", i, len(msg), err)
			}
		}
		if _, err := s.Recv(ctx); err != io.EOF {
			t.Errorf("end: %v", err)
		}
	})
}

// An unread stream holds up neither calls nor other streams, however much the
// server wants to send on it.
func TestUnreadStreamBesideCalls(t *testing.T) {
	everyKind(t, func(t *testing.T, _ *server, c transport.Conn) {
		s, err := c.Open(context.Background(), transport.Request{Path: path("Count"), Message: []byte("30 1000000 0"), CloseSend: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(context.Background()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			msg := bytes.Repeat([]byte("x"), 100_000)
			if got, err := c.Call(context.Background(), transport.Request{Path: path("Echo"), Message: msg, Timeout: patience}); err != nil || !bytes.Equal(got, msg) {
				t.Fatalf("call beside an unread stream: %d bytes, %v", len(got), err)
			}
		}
		for range 29 {
			if _, err := s.Recv(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Recv(context.Background()); err != io.EOF {
			t.Error(err)
		}
	})
}

func TestManyCallers(t *testing.T) {
	everyKind(t, func(t *testing.T, _ *server, c transport.Conn) {
		var callers sync.WaitGroup
		for i := range 200 {
			callers.Go(func() {
				for j := range 3 {
					msg := bytes.Repeat(fmt.Appendf(nil, "%d.%d ", i, j), 1+(i*j)%200)
					got, err := c.Call(context.Background(), transport.Request{Path: path("Echo"), Message: msg})
					if err != nil || !bytes.Equal(got, msg) {
						t.Errorf("caller %d: %d bytes, %v", i, len(got), err)
					}
				}
			})
		}
		callers.Wait()
	})
}
