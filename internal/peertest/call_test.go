package peertest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// dialed returns a member that answers with r, and a connection to it.
func dialed(t *testing.T, r Reply) (*Member, transport.Conn) {
	t.Helper()
	cluster := NewCluster("a:1")
	m := cluster.Member("a:1")
	m.Answer(r)
	conn, err := cluster.Dial(t.Context(), transport.Target{Address: "a:1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return m, conn
}

// isError checks the code, the outcome and the cause of a transport's error.
func isError(t *testing.T, err error, code transport.Code, outcome transport.Outcome, cause error) {
	t.Helper()
	var e *transport.Error
	if !errors.As(err, &e) || e.Code != code || e.Outcome != outcome || cause != nil && !errors.Is(err, cause) {
		t.Errorf("error %#v, want %v, %v, %v", err, code, outcome, cause)
	}
}

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, conn := dialed(t, Reply{Body: []byte("pong"), After: time.Second})
		if conn.Answered() {
			t.Error("it has answered before any call")
		}
		msg := []byte("ping")
		began := time.Now()
		body, err := conn.Call(t.Context(), transport.Request{Path: "/p", Message: msg})
		if string(body) != "pong" || err != nil || time.Since(began) != time.Second {
			t.Errorf("%q, %v after %v", body, err, time.Since(began))
		}
		msg[0] = 'P' // the caller's again
		if calls := m.Calls(); len(calls) != 1 || string(calls[0].Message) != "ping" || calls[0].Path != "/p" || !calls[0].At.Equal(began) {
			t.Errorf("calls %+v", calls)
		}
		if n := m.Counts(); n != (Counts{Dials: 1, Conns: 1, Calls: 1}) || !conn.Answered() {
			t.Errorf("counts %+v", n)
		}
		m.Handle(Script(Says(transport.NotFound, "no"), OK), "/other")
		_, err = conn.Call(t.Context(), transport.Request{Path: "/other"})
		isError(t, err, transport.NotFound, transport.Answered, nil)
		for range 2 {
			if body, err := conn.Call(t.Context(), transport.Request{Path: "/other"}); body != nil || err != nil {
				t.Errorf("%q, %v", body, err)
			}
		}
	})
}

// The ways in which an unanswered call ends, and their errors.
func TestCallEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end     func(m *Member, conn transport.Conn, cancel func())
		timeout time.Duration
		code    transport.Code
		cause   error
		counts  Counts
	}{
		"cancelled": {func(_ *Member, _ transport.Conn, cancel func()) { cancel() }, 0, transport.Canceled, context.Canceled, Counts{Calls: 1, Cancelled: 1}},
		"deadline":  {nil, 0, transport.DeadlineExceeded, context.DeadlineExceeded, Counts{Calls: 1, Cancelled: 1}},
		"timeout":   {nil, time.Second, transport.DeadlineExceeded, transport.ErrTimeout, Counts{Calls: 1, Cancelled: 1}},
		"cut":       {func(m *Member, _ transport.Conn, _ func()) { m.Cut(nil) }, 0, transport.Unavailable, nil, Counts{Calls: 1}},
		"closed":    {func(_ *Member, c transport.Conn, _ func()) { _ = c.Close() }, 0, transport.Canceled, transport.ErrClosed, Counts{Calls: 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			m, conn := dialed(t, Silence)
			m.ResetCounts()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			ended := make(chan error)
			go func() {
				_, err := conn.Call(ctx, transport.Request{Timeout: test.timeout})
				ended <- err
			}()
			synctest.Wait()
			if n := m.Counts(); n.Waiting != 1 {
				t.Errorf("%s: %d calls wait", name, n.Waiting)
			}
			if test.end != nil {
				test.end(m, conn, cancel)
			}
			isError(t, <-ended, test.code, transport.MaybeSent, test.cause)
			if n := m.Counts(); n != test.counts {
				t.Errorf("%s: counts %+v, want %+v", name, n, test.counts)
			}
		})
	}
}

// Lose ends the connection, and each call on it.
func TestLose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conn := dialed(t, Cut.Delayed(time.Second))
		other := make(chan error)
		go func() {
			time.Sleep(time.Second / 2)
			_, err := conn.Call(t.Context(), transport.Request{})
			other <- err
		}()
		_, err := conn.Call(t.Context(), transport.Request{})
		isError(t, err, transport.Unavailable, transport.MaybeSent, nil)
		isError(t, <-other, transport.Unavailable, transport.MaybeSent, nil)
		<-conn.Done()
		isError(t, conn.Err(), transport.Unavailable, transport.MaybeSent, nil)
		if conn.State() != transport.Closed || conn.Answered() {
			t.Errorf("it is %v, answered: %v", conn.State(), conn.Answered())
		}
		_, err = conn.Call(t.Context(), transport.Request{})
		isError(t, err, transport.Unavailable, transport.NotSent, nil)
	})
}

// Calls become late in time, and a late call can be waited for and cancelled.
func TestLateCalls(t *testing.T) {
	for name, test := range map[string]struct {
		early    time.Duration // the request's LateAfter
		suspect  bool          // the connection turns, after a second
		late     time.Duration
		wasEarly bool
	}{
		"by the clock":          {0, false, LateAfter, false},
		"early":                 {100 * time.Millisecond, false, 100 * time.Millisecond, true},
		"suspect":               {0, true, time.Second, false},
		"no earlier than asked": {time.Hour, false, LateAfter, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			m, conn := dialed(t, Reply{Body: []byte("at last"), After: 5 * time.Second})
			if test.suspect {
				time.AfterFunc(time.Second, m.TurnSuspect)
			}
			began := time.Now()
			_, err := conn.Call(t.Context(), transport.Request{NotifyLate: true, LateAfter: test.early, Timeout: time.Minute})
			p, late := err.(transport.Pending)
			if !late || p.Early() != test.wasEarly || time.Since(began) != test.late {
				t.Fatalf("%s: %v after %v", name, err, time.Since(began))
			}
			other := make(chan struct{})
			close(other)
			if _, err := p.Wait(t.Context(), other); err != error(p) {
				t.Errorf("%s: %v while it waits", name, err)
			}
			if test.wasEarly { // it becomes late like any other
				if _, err := p.Wait(t.Context(), nil); err != error(p) || p.Early() || time.Since(began) != LateAfter {
					t.Errorf("%s: %v after %v", name, err, time.Since(began))
				}
			}
			body, err := p.Wait(t.Context(), nil)
			if string(body) != "at last" || err != nil || time.Since(began) != 5*time.Second {
				t.Errorf("%s: %q, %v after %v", name, body, err, time.Since(began))
			}

			m.ResetCounts()
			_, err = conn.Call(t.Context(), transport.Request{NotifyLate: true})
			err.(transport.Pending).Cancel()
			if n := m.Counts(); n != (Counts{Calls: 1, Cancelled: 1}) {
				t.Errorf("%s: counts %+v", name, n)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // its Timeout goes on
		_, conn := dialed(t, Silence)
		began := time.Now()
		_, err := conn.Call(t.Context(), transport.Request{NotifyLate: true, Timeout: 3 * time.Second})
		_, err = err.(transport.Pending).Wait(t.Context(), nil)
		isError(t, err, transport.DeadlineExceeded, transport.MaybeSent, transport.ErrTimeout)
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, conn := dialed(t, OK)
		var g Gate
		m.Handle(g.Handle)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		want, _ := ctx.Deadline()
		answers := make(chan string, 2)
		for _, msg := range []string{"one", "two"} {
			go func() {
				body, _ := conn.Call(ctx, transport.Request{Message: []byte(msg)})
				answers <- string(body)
			}()
			synctest.Wait()
		}
		held := g.Came()
		if len(held) != 2 || string(held[1].Request.Message) != "two" || !held[0].Deadline.Equal(want) {
			t.Fatalf("%d calls came: %+v", len(held), held)
		}
		held[0].Answer(Reply{Body: []byte("done")})
		if got := <-answers; got != "done" {
			t.Errorf("the first got %q", got)
		}
		cancel()
		<-answers
		synctest.Wait()
		if held[0].Cancelled() || !held[1].Cancelled() {
			t.Error("the wrong call was cancelled")
		}
	})
}
