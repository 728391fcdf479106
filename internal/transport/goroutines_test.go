package transport

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/leaktest"
)

// goroutines returns the stacks of the connections in the test's bubble.
func goroutines() []string {
	return leaktest.InBubble("transport.(*conn).", "transport.(*frameReader).", "alarm.(*Alarm).")
}

// A connection has one goroutine, its reader, also while a stream is open and the watchdog
// ticks. The writer ends when all is sent.
func TestGoroutinesOfConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		check := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := goroutines(); len(got) != want {
				t.Fatalf("%s: %d goroutines, want %d:\n\n%s", when, len(got), want, strings.Join(got, "\n\n"))
			}
		}
		go func() {
			for f, err := p.listen(); err == nil; f, err = p.listen() {
				p.acknowledge(f)
			}
		}()
		check("idle", 1)
		s, err := conn.Open(context.Background(), Request{Path: "/test.S/Watch", Message: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		check("with an open stream", 1)
		s.Close()
		time.Sleep(time.Minute)
		check("idle again", 1)
		_ = conn.Close()
		if got := goroutines(); len(got) > 0 {
			t.Fatalf("after Close:\n\n%s", strings.Join(got, "\n\n"))
		}
	})
}

// A function of AfterEnd is called once, whether the connection ends before or after.
func TestAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		var ended []error
		note := func() { ended = append(ended, conn.Err()) }
		conn.AfterEnd(note)
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatal("called while the connection lives")
		}
		_ = p.nc.Close()
		synctest.Wait()
		if len(ended) != 1 || ended[0] == nil {
			t.Fatalf("called with %v at the end, want one error", ended)
		}
		conn.AfterEnd(note)
		synctest.Wait()
		if len(ended) != 2 || ended[1] == nil {
			t.Fatalf("called with %v after the end, want two errors", ended)
		}
	})
}

// Close waits for a tick under way.
func TestCloseWaitsForTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := connect(t, pipeLink, Options{})
		release := make(chan struct{})
		_, err := conn.Open(context.Background(), Request{Path: "/test.S/Watch", OnSuspect: func() { <-release }})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // suspect after a second and a half
		closed := make(chan struct{})
		go func() { _ = conn.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("closed during a tick")
		default:
		}
		close(release)
		<-closed
	})
}
