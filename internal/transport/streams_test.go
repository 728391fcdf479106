package transport

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// fullOf makes a connection whose server allows so many streams and answers PINGs
// only. told has an entry for each time that it was found full.
func fullOf(t *testing.T, allowed uint32) (c *conn, p *peer, told chan time.Time) {
	c, p = connect(t, pipeLink, Options{}, setting{settingMaxConcurrentStreams, allowed})
	attentive(p)
	told = make(chan time.Time, 1000)
	c.mu.Lock()
	c.onFull = func(l Limited) {
		if l != Limited(c) {
			t.Error("told of another connection")
		}
		_, _ = l.Streams() // calls into the connection are allowed
		told <- time.Now()
	}
	c.mu.Unlock()
	return c, p, told
}

func holdStream(t *testing.T, c *conn) Stream {
	t.Helper()
	s, err := c.Open(t.Context(), Request{Path: "/test.S/Watch", Message: []byte("watch")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Where long-lived streams have taken all that the server allows, requests that wait
// for one are reported soon, and until somebody sheds them; then they are certainly
// not sent.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, told := fullOf(t, 2)
		first, second := holdStream(t, c), holdStream(t, c)
		time.Sleep(time.Minute)
		if len(told) > 0 {
			t.Error("reported though nothing waits")
		}
		if now, allowed := c.Streams(); now != 2 || allowed != 2 {
			t.Errorf("%d of %d streams", now, allowed)
		}
		began := time.Now()
		calls := []pending{start(c, simple), start(c, simple)}
		waiting := holdStream(t, c)
		if took := (<-told).Sub(began); took < tick || took > 3*tick {
			t.Errorf("reported after %v", took)
		}
		<-told // and again
		if now, _ := c.Streams(); now != 5 {
			t.Errorf("%d streams, want those that wait to count", now)
		}
		c.Shed()
		for _, call := range calls {
			want{code: Unavailable, outcome: NotSent, text: "the server allows 2 streams on a connection", cause: ErrStreamsTaken}.check(t, call.wait(t).err)
		}
		_, err := waiting.Recv(t.Context())
		want{code: Unavailable, outcome: NotSent, cause: ErrStreamsTaken}.check(t, err)
		for len(told) > 0 {
			<-told
		}
		time.Sleep(time.Minute)
		if len(told) > 0 || c.State() != Ready {
			t.Errorf("reported %d times more, the connection is %v", len(told), c.State())
		}
		first.Close()
		second.Close()
		_ = c.Close()
	})
}

// A queue that moves, however long, is none that is stuck.
func TestBusyIsNotFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p, told := fullOf(t, 1)
		var calls []pending
		for range 100 {
			calls = append(calls, start(c, simple))
			synctest.Wait()
		}
		for i, call := range calls {
			time.Sleep(tick * 4 / 5)
			p.answerBare(uint32(2*i + 1))
			if r := call.wait(t); r.err != nil {
				t.Fatal(r.err)
			}
		}
		if len(told) > 0 {
			t.Errorf("reported %d times", len(told))
		}
		_ = c.Close()
	})
}

// Shed leaves alone what is about to be opened.
func TestShedWithRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p, _ := fullOf(t, 100)
		call := start(c, simple)
		c.Shed()
		synctest.Wait()
		p.answerBare(1)
		if r := call.wait(t); r.err != nil {
			t.Error(r.err)
		}
		if now, allowed := c.Streams(); now != 0 || allowed != 100 {
			t.Errorf("%d of %d streams", now, allowed)
		}
		_ = c.Close()
	})
}

// The end of a request's time says that it has waited for a stream, and what the limit is.
func TestEndWhileWaitingForAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := fullOf(t, 1)
		s := holdStream(t, c)
		synctest.Wait()
		const text = "waiting for a stream, since the server allows 1 stream on a connection (etcd's --max-concurrent-streams) and all are taken"
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Call(ctx, simple)
		want{code: DeadlineExceeded, outcome: NotSent, text: text, cause: context.DeadlineExceeded}.check(t, err)
		req := simple
		req.Timeout = time.Second
		_, err = c.Call(t.Context(), req)
		want{code: DeadlineExceeded, outcome: NotSent, text: text, cause: ErrTimeout}.check(t, err)
		pending, _ := mustBePending(t, c, t.Context(), lateRequest())
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = pending.Wait(ctx, nil)
		want{code: DeadlineExceeded, outcome: NotSent, text: text, cause: context.DeadlineExceeded}.check(t, err)
		waiting := holdStream(t, c)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = waiting.Recv(ctx)
		want{code: DeadlineExceeded, outcome: MaybeSent, text: text, cause: context.DeadlineExceeded}.check(t, err)

		// What has a stream has not waited.
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Recv(ctx); err == nil || err.Error() != context.DeadlineExceeded.Error() || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		_ = c.Close()
	})
}
