package transport

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"silly.store/etcd/internal/transport"
)

func over(t *testing.T, c transport.Conn) error {
	t.Helper()
	select {
	case <-c.Done():
		return c.Err()
	case <-time.After(patience):
		t.Fatal("the connection does not end")
		return nil
	}
}

// GracefulStop lets calls in flight finish and sends the rest elsewhere.
func TestGracefulStopInMidCall(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { gracefulStop(t, k.start(t)) })
	}
}

func gracefulStop(t *testing.T, s *server) {
	c := s.dial(t, transport.Options{})
	reply := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), transport.Request{Path: path("Gate"), Message: []byte("x")})
		reply <- err
	}()
	<-s.arrived
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if s.web != nil {
			_ = s.web.Shutdown(context.Background())
		} else {
			s.grpc.GracefulStop()
		}
	}()
	for c.State() != transport.Draining {
		<-time.After(time.Millisecond)
	}
	_, err := c.Call(context.Background(), transport.Request{Path: path("Echo"), Message: []byte("x")})
	failure(t, err, transport.Unavailable, transport.NotSent, "shutting down")
	close(s.gate)
	if err := <-reply; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	<-stopped
	if err := over(t, c); !errors.Is(err, transport.ErrDraining) {
		t.Errorf("the connection ends with %v", err)
	}
}

// Calls that are made while the server drains are either answered or not sent: none
// is unknown.
func TestGracefulStopUnderLoad(t *testing.T) {
	t.Parallel()
	s := kinds[0].start(t)
	c := s.dial(t, transport.Options{})
	var callers sync.WaitGroup
	first := make(chan struct{}, 1000)
	for range 50 {
		callers.Go(func() {
			for {
				_, err := c.Call(context.Background(), transport.Request{Path: path("Echo"), Message: []byte("x")})
				if err == nil {
					select {
					case first <- struct{}{}:
					default:
					}
					continue
				}
				var e *transport.Error
				if !errors.As(err, &e) || e.Outcome != transport.NotSent {
					t.Errorf("%v: %v", e.Outcome, err)
				}
				return
			}
		})
	}
	for range 500 {
		<-first
	}
	s.grpc.GracefulStop()
	callers.Wait()
	over(t, c)
}

// Stop cuts the connection: the outcome of calls in flight is unknown.
func TestStopInMidCall(t *testing.T) {
	for _, k := range kinds[:3] {
		t.Run(k.name, func(t *testing.T) {
			s := k.start(t)
			c := s.dial(t, transport.Options{})
			reply := make(chan error, 1)
			go func() {
				_, err := c.Call(context.Background(), transport.Request{Path: path("Hang"), Message: []byte("x")})
				reply <- err
			}()
			<-s.arrived
			s.grpc.Stop()
			var e *transport.Error
			if err := <-reply; !errors.As(err, &e) || e.Outcome == transport.NotSent {
				t.Errorf("the call under way: %v", err)
			}
			over(t, c)
		})
	}
}

// grpc-go enforces its limit by refusing streams; we never exceed the limit.
func TestMaxConcurrentStreams(t *testing.T) {
	s := kinds[0].start(t, grpc.MaxConcurrentStreams(3))
	c := s.dial(t, transport.Options{})
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if _, err := c.Call(context.Background(), transport.Request{Path: path("Gate"), Message: []byte("x")}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		<-s.arrived
	}
	select {
	case <-s.arrived:
		t.Error("a fourth stream was opened")
	case <-time.After(20 * time.Millisecond):
	}
	close(s.gate)
	callers.Wait()
}

// etcd requires 5 s between PINGs and we leave 6. The test uses the same
// proportion, faster. grpc-go ends a connection on the third PING that arrives too
// early, and the second connection here sends such PINGs every two seconds.
func TestPingSpacingIsEnforced(t *testing.T) {
	t.Parallel()
	s := kinds[0].start(t, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 3 * time.Second}))
	kept := s.dial(t, transport.Options{PingSpacing: 3600 * time.Millisecond})
	early := s.dial(t, transport.Options{PingSpacing: time.Millisecond})
	for _, c := range []transport.Conn{kept, early} {
		st, err := c.Open(context.Background(), transport.Request{Path: path("Hang"), Message: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(st.Close)
	}
	if err := over(t, early); !errors.Is(err, transport.ErrTooManyPings) {
		t.Errorf("a connection whose PINGs come too early ends with %v", err)
	}
	select { // longer than the time after which three early PINGs would end it
	case <-kept.Done():
		t.Errorf("a connection that keeps the spacing ends with %v", kept.Err())
	case <-time.After(7 * time.Second):
	}
	if kept.State() != transport.Ready {
		t.Errorf("a connection that keeps the spacing is %v", kept.State())
	}
}
