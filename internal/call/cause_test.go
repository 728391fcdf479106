package call

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

var errShift = errors.New("the shift is over")

// endings end contexts for errShift, after a time.
var endings = map[string]func(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc){
	"cancelled": func(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		if after == 0 {
			cancel(errShift)
		} else {
			time.AfterFunc(after, func() { cancel(errShift) })
		}
		return ctx, func() { cancel(nil) }
	},
	"deadline": func(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
		return context.WithTimeoutCause(ctx, after, errShift)
	},
}

// The cause of a context is in the error, both in its text and for errors.Is,
// wherever the request was when the context ended.
func TestCauseOfContext(t *testing.T) {
	patient := usual
	patient.RetrySleep, patient.Timeout = time.Hour, time.Hour
	stuck := patient
	stuck.Credentials = func(ctx context.Context) (Credentials, error) {
		<-ctx.Done()
		return Credentials{}, ctx.Err()
	}
	const soon = time.Second
	for name, test := range map[string]struct {
		config Config
		after  time.Duration
		reply  reply
		dial   func(context.Context) error // nil: it succeeds
		call   func(context.Context, *Engine, *peertest.Member) *Error
	}{
		"before sending":              {patient, 0, ok, nil, callOf(rpc.Put)},
		"waiting for a token":         {stuck, soon, ok, nil, callOf(rpc.Put)},
		"waiting for a token, stream": {stuck, soon, ok, nil, openStream},
		"connecting":                  {patient, soon, ok, peertest.Ignore, callOf(rpc.Put)},
		"connecting to one member":    {patient, soon, ok, peertest.Ignore, callMember},
		"waiting to connect again":    {Config{Retries: 5, RetrySleep: 1}, 2, ok, peertest.Refuse("a:1"), callOf(rpc.Put)},
		"in flight":                   {patient, soon, silence, nil, callOf(rpc.Put)},
		"in flight to one member":     {patient, soon, silence, nil, callMember},
		"late write":                  {patient, 5 * soon, silence, nil, callOf(rpc.Put)},
		"late read":                   {patient, 5 * soon, silence, nil, callOf(rpc.Get)},
		"in flight, second attempt":   {Config{Retries: 5, RetrySleep: 1}, 5 * soon, stopped.Delayed(3 * soon), nil, callOf(rpc.Get)},
		"in a pause":                  {patient, soon, busy, nil, callOf(rpc.Put)},
		"in an election":              {patient, soon, noLeader, nil, callOf(rpc.Put)},
		"asking":                      {patient, soon, silence, nil, ask},
		"connecting for a stream":     {patient, soon, ok, peertest.Ignore, openStream},
		"beginning a stream":          {patient, 0, ok, nil, beginStream},
		"receiving":                   {patient, soon, ok, nil, receive},
		"sharing a request":           {patient, soon, silence, nil, leaveShared},
	} {
		for ending, end := range endings {
			synctest.Test(t, func(t *testing.T) {
				e, m := scripted(t, test.config, test.reply)
				if test.dial != nil {
					m.OnDial(test.dial)
				}
				ctx, cancel := end(t.Context(), test.after)
				defer cancel()
				checkCause(t, name+", "+ending, ctx, test.call(ctx, e, m))
			})
		}
	}
}

func checkCause(t *testing.T, name string, ctx context.Context, failed *Error) {
	t.Helper()
	if failed == nil || ctx.Err() == nil {
		t.Errorf("%s: %v, and the context %v", name, failed, ctx.Err())
		return
	}
	if !errors.Is(failed, errShift) || !errors.Is(failed, ctx.Err()) {
		t.Errorf("%s: %v is not both %v and %v", name, failed, errShift, ctx.Err())
	}
	if n := strings.Count(failed.Error(), errShift.Error()); n != 1 {
		t.Errorf("%s: %q says the cause %d times", name, failed, n)
	}
	code := transport.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = transport.DeadlineExceeded
	}
	if failed.Code != code {
		t.Errorf("%s: %v of %v", name, failed.Code, failed)
	}
}

func callOf(m *rpc.Method) func(context.Context, *Engine, *peertest.Member) *Error {
	return func(ctx context.Context, e *Engine, _ *peertest.Member) *Error {
		_, failed := e.Do(ctx, Request{Method: m, Message: []byte("k")})
		return failed
	}
}

func callMember(ctx context.Context, e *Engine, m *peertest.Member) *Error {
	member := endpointOf(m)
	_, failed := e.Do(ctx, Request{Method: rpc.Put, Message: []byte("k"), Member: &member})
	return failed
}

func ask(ctx context.Context, e *Engine, m *peertest.Member) *Error {
	conn, err := e.Set.PickNamed(ctx, balance.Unary, endpointOf(m))
	if err != nil {
		return FromTransport(rpc.Status, "", err)
	}
	_, failed := e.AskStatus(ctx, conn, time.Hour)
	return failed
}

func openStream(ctx context.Context, e *Engine, _ *peertest.Member) *Error {
	_, failed := e.Open(ctx, Request{Method: rpc.Watch}, StreamOptions{})
	return failed
}

func beginStream(ctx context.Context, e *Engine, m *peertest.Member) *Error {
	return e.Begin(ctx, Request{Method: rpc.Watch}, func() *Error { return openStream(ctx, e, m) })
}

func receive(ctx context.Context, e *Engine, _ *peertest.Member) *Error {
	stream, failed := e.Open(ctx, Request{Method: rpc.Watch}, StreamOptions{})
	if failed != nil {
		return failed
	}
	defer stream.Close()
	_, err := stream.Recv(ctx)
	return stream.Fail(ctx, err)
}

func leaveShared(ctx context.Context, e *Engine, _ *peertest.Member) *Error {
	p := &Progress{Calls: 2}
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = e.Do(own, Request{Method: rpc.PutShared, Progress: p})
	}()
	<-ctx.Done()
	failed := p.GivenUp(ctx, rpc.Put)
	stop()
	<-done
	return failed
}

// A read waits for two members, and both are silent.
func TestCauseOfContextWhenHedged(t *testing.T) {
	for ending, end := range endings {
		for _, config := range []Config{usual, hedging(50 * time.Millisecond)} {
			synctest.Test(t, func(t *testing.T) {
				config.Timeout = time.Hour
				e, _ := many(t, config, silence, silence)
				ctx, cancel := end(t.Context(), 5*time.Second)
				defer cancel()
				_, failed := e.Do(ctx, Request{Method: rpc.Get})
				checkCause(t, "hedged, "+ending, ctx, failed)
				if counted(e).hedges == 0 {
					t.Error("the read was not hedged")
				}
			})
		}
	}
}

// The server notices the deadline first, in its own words.
func TestCauseOfDeadlineThatTheServerSees(t *testing.T) {
	for _, answer := range []reply{
		says(transport.DeadlineExceeded, "context deadline exceeded"),
		says(transport.Unavailable, "etcdserver: request timed out"),
		says(transport.DeadlineExceeded, "a text of a later etcd"),
		peertest.ResetAtDeadline,
	} {
		synctest.Test(t, func(t *testing.T) {
			const limit = 5 * time.Second
			e, _ := scripted(t, usual, answer.Delayed(limit-deadlineSlack/2))
			ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errShift)
			defer cancel()
			d, err := took(func() error { return do(ctx, e, rpc.Put) })
			var failed *Error
			errors.As(err, &failed)
			checkCause(t, answer.Err.Error(), ctx, failed)
			if d != limit {
				t.Errorf("%v after %v", err, d)
			}
		})
	}
}

// An error that the end of the context did not produce does not show its cause.
func TestCauseOfContextIsNotEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := scripted(t, usual, noLease.Delayed(time.Second))
		ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
		defer cancel(nil)
		err := do(ctx, e, rpc.Put)
		cancel(errShift)
		failed := FromTransport(rpc.Put, "a:1", &transport.Error{Code: transport.Unavailable, Cause: transport.ErrSilent}).explained(ctx)
		if errors.Is(err, errShift) || errors.Is(failed, errShift) || strings.Contains(failed.Error(), errShift.Error()) {
			t.Errorf("%v; %v", err, failed)
		}
	})
}
