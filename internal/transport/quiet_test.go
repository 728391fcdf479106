package transport

import (
	"testing"
	"testing/synctest"
	"time"
)

// answersAfter is a peer that answers each call after a while that the test sets.
type answersAfter struct {
	p     *peer
	after chan time.Duration // of each call, in order
}

func slowPeer(p *peer) *answersAfter {
	a := &answersAfter{p: p, after: make(chan time.Duration, 100)}
	go func() {
		for {
			f, err := p.listen()
			if err != nil {
				return
			}
			p.acknowledge(f)
			if f.kind == frameHeaders {
				time.AfterFunc(<-a.after, func() { p.answerBare(f.streamID) })
			}
		}
	}()
	return a
}

// call makes a call that is answered after a while, and returns when it became Pending; 0:
// it never did.
func (a *answersAfter) call(t *testing.T, conn *conn, after time.Duration) (pending time.Duration) {
	t.Helper()
	a.after <- after
	began := time.Now()
	reply, err := conn.Call(t.Context(), lateRequest())
	for {
		p, ok := err.(Pending)
		if !ok {
			break
		}
		if pending == 0 {
			pending = time.Since(began)
			if !p.Early() || !conn.Quiet() || conn.State() != Ready {
				t.Errorf("pending after %v, early %v, quiet %v, %v", pending, p.Early(), conn.Quiet(), conn.State())
			}
		}
		reply, err = p.Wait(t.Context(), nil)
	}
	if string(reply) != "answer" || err != nil {
		t.Fatalf("%q, %v", reply, err)
	}
	if conn.Quiet() {
		t.Error("quiet after an answer")
	}
	return pending
}

// A connection on which a call waits in silence is quiet within 160 ms, the call is early
// then, and the answer ends that.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		peer := slowPeer(p)
		for _, after := range []time.Duration{0, time.Millisecond, 39 * time.Millisecond} {
			if at := peer.call(t, conn, after); at > 0 {
				t.Errorf("an answer after %v: pending after %v", after, at)
			}
		}
		time.Sleep(time.Minute) // nobody calls: nobody is quiet
		if conn.Quiet() {
			t.Error("quiet without a call")
		}
		if at := peer.call(t, conn, 400*time.Millisecond); at < quietTicks*shortTick || at > (quietTicks+1)*shortTick {
			t.Errorf("pending after %v", at)
		}
		_ = conn.Close()
	})
}

// Answers that take long raise the limit, so that a slow member is not quiet for ever. Quick
// ones lower it again.
func TestQuietAdapts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		peer := slowPeer(p)
		early := 0
		for range 100 {
			if peer.call(t, conn, 400*time.Millisecond) > 0 {
				early++
			}
		}
		if early == 0 || early > 8 {
			t.Errorf("%d of 100 slow calls were early", early)
		}
		for range 8 * forgetTicks {
			if peer.call(t, conn, 30*time.Millisecond) > 0 {
				t.Error("a quick call was early")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if at := peer.call(t, conn, 400*time.Millisecond); at == 0 || at > 5*shortTick {
			t.Errorf("pending after %v", at)
		}
		_ = conn.Close()
	})
}

// While calls are answered, one that takes long is no reason: the member is alive.
func TestBusyIsNotQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		peer := slowPeer(p)
		peer.after <- time.Second
		long := start(conn, lateRequest())
		synctest.Wait()
		for range 30 {
			if at := peer.call(t, conn, 30*time.Millisecond); at > 0 {
				t.Errorf("pending after %v", at)
			}
		}
		if got := long.wait(t); got.err != nil {
			t.Error(got.err)
		}
		_ = conn.Close()
	})
}
