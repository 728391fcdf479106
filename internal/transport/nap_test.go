package transport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Messages of a patient stream that follow each other closely are read together;
// a call ends the waiting, and while one is under way there is none.
func TestPatientStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		ctx := context.Background()
		s, err := conn.Open(ctx, Request{Path: "/s/Patient", Message: []byte("m"), Patient: true})
		if err != nil {
			t.Fatal(err)
		}
		id := p.until(frameHeaders).streamID
		p.until(frameData)
		p.responseHeaders(id)
		began := time.Now()
		recv := func(want time.Duration) {
			t.Helper()
			if _, err := s.Recv(ctx); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d != want {
				t.Errorf("received after %v, want %v", d, want)
			}
		}
		send := func(n int) {
			for i := range n {
				if i > 0 {
					time.Sleep(time.Millisecond)
				}
				p.data(id, "answer")
			}
		}
		go send(3)
		recv(0)
		recv(nap)
		recv(nap + time.Millisecond) // the pipe has held it up; what is read behind a nap is not slept for

		// The reader sleeps again; the call wakes it.
		synctest.Wait()
		go send(1)
		time.Sleep(2 * time.Millisecond)
		began = time.Now()
		pending := start(conn, simple)
		recv(0)
		call := p.until(frameHeaders).streamID
		p.until(frameData)
		go send(3)
		began = time.Now()
		recv(0)
		recv(time.Millisecond)
		recv(2 * time.Millisecond)
		p.reply(call, "reply")
		if got := pending.wait(t); got.err != nil {
			t.Error(got.err)
		}
		s.Close()
	})
}
