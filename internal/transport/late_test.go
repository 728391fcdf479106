package transport

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// acknowledge answers PINGs and SETTINGS, as every server has to.
func (p *peer) acknowledge(f frame) {
	switch {
	case f.flags&flagAck != 0:
	case f.kind == framePing:
		_, _ = p.nc.Write(appendPing(nil, true, [8]byte(f.payload)))
	case f.kind == frameSettings:
		_, _ = p.nc.Write(appendFrameHeader(nil, 0, frameSettings, flagAck, 0))
	}
}

// attentive is a peer that answers PINGs and SETTINGS, and calls only when the test says so. It passes
// on the streams that the client resets.
func attentive(p *peer) (resets <-chan uint32) {
	out := make(chan uint32, 10)
	go func() {
		defer close(out)
		for {
			f, err := p.listen()
			if err != nil {
				return
			}
			p.acknowledge(f)
			if f.kind == frameRSTStream {
				out <- f.streamID
			}
		}
	}()
	return out
}

func lateRequest() Request {
	r := simple
	r.NotifyLate = true
	return r
}

// mustBeLate calls, waits on while the call is only Early, and returns what it becomes.
func mustBeLate(t *testing.T, conn *conn, ctx context.Context, req Request) (Pending, time.Duration) {
	t.Helper()
	began := time.Now()
	p, _ := mustBePending(t, conn, ctx, req)
	if p.Early() {
		if _, err := p.Wait(ctx, nil); err != error(p) || p.Early() {
			t.Fatalf("an early call: %v, early %v", err, p.Early())
		}
	}
	return p, time.Since(began)
}

// mustBePending calls and returns what it becomes.
func mustBePending(t *testing.T, conn *conn, ctx context.Context, req Request) (Pending, time.Duration) {
	t.Helper()
	began := time.Now()
	_, err := conn.Call(ctx, req)
	p, ok := err.(Pending)
	if !ok {
		t.Fatalf("%v after %v, want a pending call", err, time.Since(began))
	}
	return p, time.Since(began)
}

func (p *peer) answerBare(id uint32) {
	b := rawFrame(frameHeaders, flagEndHeaders, id, p.block(":status", "200", "content-type", "application/grpc")...)
	b = append(b, rawFrame(frameData, 0, id, message("answer")...)...)
	_, _ = p.nc.Write(append(b, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, id, p.block("grpc-status", "0")...)...))
}

// A peer that answers PINGs and no calls is not suspect, but its calls are late;
// the answer still counts when it comes.
func TestLateCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		attentive(p)
		pending, took := mustBeLate(t, conn, t.Context(), lateRequest())
		if took < 1500*time.Millisecond || took > 1750*time.Millisecond || conn.State() != Ready {
			t.Errorf("late after %v, the connection is %v", took, conn.State())
		}
		other := make(chan struct{})
		close(other)
		if _, err := pending.Wait(t.Context(), other); err != error(pending) {
			t.Errorf("Wait with something else to do: %v", err)
		}
		time.AfterFunc(time.Minute, func() { p.answerBare(1) })
		if reply, err := pending.Wait(t.Context(), nil); string(reply) != "answer" || err != nil {
			t.Errorf("%q, %v", reply, err)
		}
		_ = conn.Close()
	})
}

// Calls on a connection that turns suspect are late at once, however young, and
// its streams learn of it.
func TestLateBySuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		pings(p, time.Now())
		var told atomic.Int32
		s, err := conn.Open(t.Context(), Request{Path: "/test.S/Watch", OnSuspect: func() { told.Add(1); _ = conn.State() }})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1400 * time.Millisecond)
		_, took := mustBeLate(t, conn, t.Context(), lateRequest())
		if took > 400*time.Millisecond || conn.State() != Suspect {
			t.Errorf("late after %v, the connection is %v", took, conn.State())
		}
		synctest.Wait()
		if told.Load() != 1 {
			t.Errorf("the stream was told %d times", told.Load())
		}
		_, _ = p.nc.Write(appendSettings(nil)) // it recovers, and falls silent again
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if conn.State() != Suspect || told.Load() != 2 {
			t.Errorf("the stream was told %d times, the connection is %v", told.Load(), conn.State())
		}
		s.Close()
		_ = conn.Close()
	})
}

// LateAfter is a time of the caller's own, and Timeout counts on from it.
func TestLateAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		resets := attentive(p)
		req := lateRequest()
		req.LateAfter, req.Timeout = 30*time.Millisecond, 300*time.Millisecond
		began := time.Now()
		pending, took := mustBePending(t, conn, t.Context(), req)
		if took != req.LateAfter {
			t.Errorf("late after %v", took)
		}
		_, err := pending.Wait(t.Context(), nil)
		want{code: DeadlineExceeded, outcome: MaybeSent, cause: ErrTimeout}.check(t, err)
		if took := time.Since(began); took != req.Timeout {
			t.Errorf("timed out after %v", took)
		}
		if id := <-resets; id != 1 {
			t.Errorf("stream %d was reset", id)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		req.Timeout = 0
		pending, _ = mustBePending(t, conn, ctx, req)
		_, err = pending.Wait(ctx, nil)
		want{code: DeadlineExceeded, outcome: MaybeSent, cause: context.DeadlineExceeded}.check(t, err)
		if id := <-resets; id != 3 {
			t.Errorf("stream %d was reset", id)
		}

		// A connection that is quiet makes a call Early at the next short tick, which may be due at once:
		// before the call is sent, and then there would be no stream to reset.
		pending, _ = mustBePending(t, conn, t.Context(), req)
		synctest.Wait()
		pending.Cancel()
		if id := <-resets; id != 5 {
			t.Errorf("stream %d was reset", id)
		}
		// The connection is none the worse for it.
		time.AfterFunc(10*time.Millisecond, func() { p.answerBare(7) })
		reply, err := conn.Call(t.Context(), req)
		if p, ok := err.(Pending); ok { // it is quiet
			reply, err = p.Wait(t.Context(), nil)
		}
		if string(reply) != "answer" || err != nil {
			t.Errorf("%q, %v", reply, err)
		}
		_ = conn.Close()
	})
}

// Bug: a call with LateAfter that the watchdog made a Pending first took the timer of
// LateAfter for that of its Timeout, and timed out when it was to be hedged.
func TestQuietBeforeLateAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		attentive(p)
		req := lateRequest()
		req.LateAfter, req.Timeout = 300*time.Millisecond, time.Second
		began := time.Now()
		pending, took := mustBePending(t, conn, t.Context(), req)
		if took >= req.LateAfter || !pending.Early() {
			t.Errorf("pending after %v, early %v", took, pending.Early())
		}
		_, err := pending.Wait(t.Context(), nil)
		want{code: DeadlineExceeded, outcome: MaybeSent, cause: ErrTimeout}.check(t, err)
		if took := time.Since(began); took != req.Timeout {
			t.Errorf("timed out after %v", took)
		}
		_ = conn.Close()
	})
}

// The end of the connection ends a pending call with its reason.
func TestPendingCallOfALostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		attentive(p)
		pending, _ := mustBePending(t, conn, t.Context(), lateRequest())
		_ = p.nc.Close()
		_, err := pending.Wait(t.Context(), nil)
		want{code: Unavailable, outcome: MaybeSent}.check(t, err)
		if !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
		_ = conn.Close()
	})
}
