package call

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Bug: when time ran out in a later attempt, or in a later move within one, the error
// said only that, and lost the previous error of a server or the network.
func TestLastErrorIsKept(t *testing.T) {
	const limit = 2500 * time.Millisecond
	timedOut := says(transport.Unavailable, "etcdserver: request timed out, possibly due to previous leader failure")
	second := Config{Retries: 5, RetrySleep: time.Second, Timeout: time.Second}
	slow := Config{Retries: 5, RetrySleep: time.Hour, Timeout: time.Second}
	quick := Config{Retries: 5, RetrySleep: 1, Timeout: 10 * time.Second}
	deadline := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, limit)
	}
	cancel := func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(limit, cancel)
		return ctx, cancel
	}
	never := func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
	for name, test := range map[string]struct {
		config  Config
		end     func(context.Context) (context.Context, context.CancelFunc)
		method  *rpc.Method
		replies []reply
		is      []error
		text    string // behind "last error: "
	}{
		"a later attempt of a write": {
			usual, deadline, rpc.Put, []reply{busy, silence},
			[]error{context.DeadlineExceeded, ErrTooManyRequests}, "etcdserver: too many requests",
		},
		"a later attempt of a write that was not sent": {
			usual, deadline, rpc.Put, append(repeat(notSent, 4), silence),
			[]error{context.DeadlineExceeded, ErrUnavailable}, "server reset the stream: REFUSED_STREAM",
		},
		"a later attempt of a read": {
			usual, deadline, rpc.Get, []reply{lost, lost, silence},
			[]error{context.DeadlineExceeded, ErrUnavailable}, "EOF",
		},
		"the second of two slow attempts": { // as in a cluster that loses its leader
			usual, deadline, rpc.Get, []reply{timedOut.Delayed(1500 * time.Millisecond)},
			[]error{context.DeadlineExceeded, ErrServerTimeout}, "etcdserver: request timed out, possibly due to previous leader failure",
		},
		"cancelled in a later attempt": {
			usual, cancel, rpc.Put, []reply{busy, silence},
			[]error{context.Canceled, ErrTooManyRequests}, "etcdserver: too many requests",
		},
		"a later move": {
			usual, deadline, rpc.Get, []reply{lost, silence},
			[]error{context.DeadlineExceeded, ErrUnavailable}, "EOF",
		},
		"Timeout in a later move": {
			Config{Timeout: time.Second}, never, rpc.Get, []reply{lost, silence},
			[]error{ErrTimeout, ErrUnavailable}, "EOF",
		},
		"a later move of a write": {
			usual, deadline, rpc.Put, []reply{peertest.Drained, silence},
			[]error{context.DeadlineExceeded, ErrUnavailable, transport.ErrDraining}, transport.ErrDraining.Error(),
		},
		"behind an election and a move": {
			usual, deadline, rpc.Get, []reply{noLeader, lost, silence},
			[]error{context.DeadlineExceeded, ErrUnavailable}, "EOF",
		},
		"cancelled when an attempt has timed out in between": {
			second, cancel, rpc.Get, []reply{stopped, silence},
			[]error{context.Canceled, ErrServerStopped}, "etcdserver: server stopped",
		},
		"cancelled in the pause when an attempt has timed out": {
			slow, cancel, rpc.Get, []reply{lost, silence},
			[]error{context.Canceled, ErrTimeout, ErrUnavailable}, "EOF",
		},
		"every later attempt has timed out": {
			second, never, rpc.Get, []reply{stopped, silence},
			[]error{ErrTimeout, ErrServerStopped}, "etcdserver: server stopped",
		},
		"only timeouts": {
			second, cancel, rpc.Get, []reply{silence},
			[]error{context.Canceled, ErrTimeout}, "no answer in time",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, _ := scripted(t, test.config, test.replies...)
			ctx, cancel := test.end(t.Context())
			defer cancel()
			checkLast(t, name, do(ctx, e, test.method), test.text, test.is...)
		})
	}
	for name, test := range map[string]struct {
		config Config
		member bool // the request is for this member
		dials  []func(context.Context) error
		doing  string
		text   string
	}{
		"connecting in a later attempt": {
			usual, false, []func(context.Context) error{peertest.Refuse("a:1"), peertest.Ignore}, "connecting to a:1", "a:1: a:1 refuses",
		},
		"connecting to one member in a later attempt": {
			usual, true, []func(context.Context) error{peertest.Refuse("a:1"), peertest.Ignore}, "connecting to a:1", "a:1: a:1 refuses",
		},
		"until it may connect again": {
			quick, false, []func(context.Context) error{peertest.Refuse("a:1")}, "waiting to connect again", "a:1: a:1 refuses",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, m := scripted(t, test.config, ok)
			dials := test.dials
			m.OnDial(func(ctx context.Context) error {
				dial := dials[0]
				if len(dials) > 1 {
					dials = dials[1:]
				}
				return dial(ctx)
			})
			wait := limit
			if len(test.dials) == 1 {
				wait = 2 // before its backoff is over
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			r := Request{Method: rpc.Put, Message: []byte("k")}
			if test.member {
				endpoint := endpointOf(m)
				r.Member = &endpoint
			}
			_, failed := e.Do(ctx, r)
			checkLast(t, name, plain(failed), test.text, context.DeadlineExceeded, ErrUnavailable)
			if !strings.Contains(failed.Error(), test.doing+": context deadline exceeded; ") || failed.Outcome != OutcomeNotSent {
				t.Errorf("%s: %+v", name, failed)
			}
		})
	}
}

// checkLast checks an error that says that time ran out.
func checkLast(t *testing.T, name string, err error, text string, is ...error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", name)
		return
	}
	for _, target := range is {
		if !errors.Is(err, target) {
			t.Errorf("%s: %v is not %v", name, err, target)
		}
	}
	_, last, found := strings.Cut(err.Error(), "; last error: ")
	if !found || !strings.HasPrefix(last, text) || strings.Contains(last, "last error: ") {
		t.Errorf("%s: %v, want the last error %q", name, err, text)
	}
}

// The server notices the deadline just before the client does, and reports nothing
// else, or only resets the stream.
func TestLastErrorBeforeTheServersDeadline(t *testing.T) {
	for name, test := range map[string]struct {
		last reply
		is   []error
	}{
		"answer": {says(transport.DeadlineExceeded, "context deadline exceeded"), []error{context.DeadlineExceeded, ErrServerTimeout, ErrTooManyRequests}},
		"reset":  {peertest.ResetAtDeadline, []error{context.DeadlineExceeded, ErrTooManyRequests}},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, m := scripted(t, usual, ok)
			var calls atomic.Int64
			m.Handle(func(ctx context.Context, _ transport.Request) ([]byte, error) {
				if calls.Add(1) == 1 {
					return nil, busy.Err
				}
				deadline, _ := ctx.Deadline()
				_ = peertest.Sleep(ctx, time.Until(deadline)-deadlineSlack/2)
				return nil, test.last.Err
			})
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := do(ctx, e, rpc.Put)
			checkLast(t, name, err, "etcdserver: too many requests", test.is...)
			if ctx.Err() == nil {
				t.Errorf("%s: the error says that the context has ended, which it has not", name)
			}
			if errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "CANCEL") {
				t.Errorf("%s: %v blames the reset", name, err)
			}
		})
	}
}

// One of several members accepts and stays silent, the others refuse.
func TestLastErrorOfConnecting(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		limit  time.Duration
		is     error
	}{
		"deadline": {usual, time.Second, context.DeadlineExceeded},
		"Timeout":  {Config{Timeout: time.Second}, time.Minute, ErrTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			cluster := peertest.NewCluster("a:1", "b:1", "c:1")
			cluster.Member("a:1").Down(true)
			cluster.Member("b:1").Down(true)
			cluster.Member("c:1").OnDial(peertest.Ignore)
			e := newEngine(t, cluster, test.config)
			ctx, cancel := context.WithTimeout(t.Context(), test.limit)
			if name == "Timeout" { // a deadline would replace Timeout
				ctx = t.Context()
			}
			defer cancel()
			err := do(ctx, e, rpc.Put)
			checkLast(t, name, err, "no endpoint can be reached: a:1: a:1 refuses; b:1: b:1 refuses", test.is, ErrUnavailable)
			if !strings.Contains(err.Error(), "connecting to c:1: ") || maybeApplied(err) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// The caller's time runs out while it waits for a token, because the members have no
// leader.
func TestLastErrorOfAuthenticating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := scripted(t, withUser(usual), noLeader)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := do(ctx, e, rpc.Put)
		checkLast(t, "token", err, "etcdserver: no leader", context.DeadlineExceeded, ErrNoLeader)
		if !strings.Contains(err.Error(), "waiting for an auth token: ") || maybeApplied(err) {
			t.Error(err)
		}
	})
}

// The first member of a hedged read is silent, and the second one has no leader.
func TestLastErrorOfHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := many(t, once, silence, noLeader)
		for {
			conn, up := e.Set.Up(balance.Unary)
			if !up || conn.Endpoint != "a:1" {
				continue
			}
			s := sending{e: e, r: Request{Method: rpc.Get}, conn: conn, bound: e.Bound(t.Context())}
			_, failed := s.send(t.Context(), false)
			checkLast(t, "hedge", plain(failed), "etcdserver: no leader", ErrTimeout, ErrNoLeader)
			return
		}
	})
}

// A call that leaves a shared request learns the last error of that request.
func TestLastErrorOfSharedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := scripted(t, usual, busy, silence)
		p := &Progress{Calls: 2}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := e.Do(t.Context(), Request{Method: rpc.PutShared, Progress: p}); err == nil {
				t.Error("no error")
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		<-ctx.Done()
		failed := p.GivenUp(ctx, rpc.Put)
		checkLast(t, "shared", plain(failed), "etcdserver: too many requests", context.DeadlineExceeded, ErrTooManyRequests)
		if failed.Attempts != 2 || !failed.MaybeApplied() {
			t.Errorf("%+v", failed)
		}
		if n := counted(e); n.calls != 2*n.attempts {
			t.Errorf("%d calls in %d attempts", n.calls, n.attempts)
		}
		<-done
	})
}
