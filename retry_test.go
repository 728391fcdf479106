package etcd

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// script is a server in memory: it answers each call as the next of its replies
// says, and notes when it came. After the last reply it repeats it.
type script struct {
	mu      sync.Mutex // guards the fields below
	replies []reply
	calls   []call
	dials   int
	silent  bool // it takes connections and says nothing
}

type call struct {
	at  time.Time
	req transport.Request
}

// reply is an error, or the answer; after is how long the server takes.
type reply struct {
	err   *transport.Error
	after time.Duration
	body  []byte // none is a response of zeros
}

func (s *script) client(config Config) *Client {
	return &Client{
		retries: config.retries(), retrySleep: config.retrySleep(), timeout: config.timeout(), retryWrites: config.RetryWrites,
		done: make(chan struct{}),
		set: balance.New(balance.Config{
			Endpoints: []balance.Endpoint{{Name: "a:1", Target: transport.Target{Network: "tcp", Address: "a:1"}}},
			Dial: func(ctx context.Context, _ transport.Target) (transport.Conn, error) {
				if s.silent {
					<-ctx.Done()
					return nil, &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: context.Cause(ctx)}
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				s.dials++
				return &scriptConn{script: s, done: make(chan struct{})}, nil
			},
		}),
	}
}

// pauses are the times between the calls.
func (s *script) pauses() (list []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i < len(s.calls); i++ {
		list = append(list, s.calls[i].at.Sub(s.calls[i-1].at))
	}
	return list
}

type scriptConn struct {
	script *script
	done   chan struct{}
}

func (c *scriptConn) Call(ctx context.Context, req transport.Request) ([]byte, error) {
	s := c.script
	s.mu.Lock()
	r := s.replies[min(len(s.calls), len(s.replies)-1)]
	req.Message = slices.Clone(req.Message) // it is not used after the call
	s.calls = append(s.calls, call{time.Now(), req})
	s.mu.Unlock()
	var expired <-chan time.Time
	if req.Timeout > 0 {
		expired = time.After(req.Timeout)
	}
	select {
	case <-time.After(r.after):
	case <-ctx.Done():
		return nil, &transport.Error{Code: transport.DeadlineExceeded, Cause: ctx.Err()}
	case <-expired:
		return nil, &transport.Error{Code: transport.DeadlineExceeded, Cause: transport.ErrTimeout}
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.body, nil
}

func (c *scriptConn) Open(context.Context, transport.Request) (transport.Stream, error) {
	return nil, &transport.Error{Code: transport.Unimplemented, Outcome: transport.Answered, Message: "unknown method RangeStream"}
}

func (c *scriptConn) State() transport.State { return transport.Ready }
func (c *scriptConn) Answered() bool         { return true }
func (c *scriptConn) Drain()                 {}
func (c *scriptConn) Done() <-chan struct{}  { return c.done }
func (c *scriptConn) Err() error             { return nil }
func (c *scriptConn) Close() error {
	close(c.done) // the set closes a connection once
	return nil
}

var (
	ok       = reply{}
	lost     = reply{err: &transport.Error{Code: transport.Unavailable, Cause: io.EOF}}
	notSent  = reply{err: &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: transport.ErrDraining}}
	noLeader = says(transport.Unavailable, "etcdserver: no leader")
	busy     = says(transport.ResourceExhausted, "etcdserver: too many requests")
	stopped  = says(transport.Unavailable, "etcdserver: server stopped")
	noLease  = says(transport.NotFound, "etcdserver: requested lease not found")
	silence  = reply{after: 1000 * time.Hour}
)

func says(code transport.Code, text string) reply {
	return reply{err: &transport.Error{Code: code, Message: text, Outcome: transport.Answered}}
}

func repeat(r reply, n int) []reply { return slices.Repeat([]reply{r}, n) }

// What is sent again, and how often.
func TestRetry(t *testing.T) {
	get := func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, GetRequest{Key: "k"}); return err }
	put := func(ctx context.Context, c *Client) error { _, err := c.Put(ctx, PutRequest{Key: "k"}); return err }
	readTxn := func(ctx context.Context, c *Client) error {
		_, err := c.Txn(ctx, TxnRequest{If: []Compare{{Key: "k"}}})
		return err
	}
	writeTxn := func(ctx context.Context, c *Client) error {
		_, err := c.Txn(ctx, TxnRequest{Then: []Op{DeleteRequest{Key: "k"}}})
		return err
	}
	compact := func(ctx context.Context, c *Client) error {
		_, err := c.Compact(ctx, CompactRequest{Revision: 1})
		return err
	}
	again := Config{RetryWrites: AtLeastOnce}
	never := Config{Retry: -1}

	for name, test := range map[string]struct {
		config   Config
		call     func(context.Context, *Client) error
		replies  []reply
		calls    int
		is       error // nil: it succeeds
		attempts int
		maybe    bool
	}{
		"read":                            {Config{}, get, []reply{ok}, 1, nil, 0, false},
		"read, lost twice":                {Config{}, get, []reply{lost, lost, ok}, 3, nil, 0, false},
		"read, lost for ever":             {Config{}, get, []reply{lost}, 12, ErrUnavailable, 6, false},
		"read, lost, no retries":          {never, get, []reply{lost}, 2, ErrUnavailable, 1, false},
		"read, lost, two retries":         {Config{Retry: 2}, get, []reply{lost}, 6, ErrUnavailable, 3, false},
		"read, stopped":                   {Config{}, get, []reply{stopped, ok}, 2, nil, 0, false},
		"read, refused for good":          {Config{}, get, []reply{noLease}, 1, ErrLeaseNotFound, 1, false},
		"read-only txn, lost":             {Config{}, readTxn, []reply{lost, ok}, 2, nil, 0, false},
		"write, lost":                     {Config{}, put, []reply{lost, ok}, 1, ErrUnavailable, 1, true},
		"write, stopped":                  {Config{}, put, []reply{stopped, ok}, 1, ErrServerStopped, 1, true},
		"write, busy":                     {Config{}, put, []reply{busy, busy, ok}, 3, nil, 0, false},
		"write, busy for ever":            {Config{}, put, []reply{busy}, 6, ErrTooManyRequests, 6, false},
		"write, refused for good":         {Config{}, put, []reply{noLease, ok}, 1, ErrLeaseNotFound, 1, false},
		"write, busy and then lost":       {Config{}, put, []reply{busy, lost, ok}, 2, ErrUnavailable, 2, true},
		"write, lost, at least once":      {again, put, []reply{lost, lost, ok}, 3, nil, 0, false},
		"write, stopped, at least once":   {again, put, []reply{stopped, ok}, 2, nil, 0, false},
		"write, lost for ever":            {again, put, []reply{lost}, 6, ErrUnavailable, 6, true},
		"write, refused, at least once":   {again, put, []reply{noLease, ok}, 1, ErrLeaseNotFound, 1, false},
		"txn that writes, lost":           {Config{}, writeTxn, []reply{lost, ok}, 1, ErrUnavailable, 1, true},
		"compact, lost":                   {Config{}, compact, []reply{lost, ok}, 1, ErrUnavailable, 1, true},
		"write, not sent":                 {never, put, []reply{notSent, notSent, notSent, ok}, 4, nil, 0, false},
		"write, not sent four times":      {never, put, []reply{notSent}, 4, ErrUnavailable, 1, false},
		"write, not sent again and again": {Config{Retry: 1}, put, append(repeat(notSent, 7), ok), 8, nil, 0, false},
		"write, election":                 {never, put, append(repeat(noLeader, 20), ok), 21, nil, 0, false},
		"read, election":                  {never, get, append(repeat(noLeader, 20), ok), 21, nil, 0, false},
		"write, election and then lost":   {never, put, []reply{noLeader, noLeader, lost, ok}, 3, ErrUnavailable, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{replies: test.replies}
				c := s.client(test.config)
				defer c.set.Close()
				err := test.call(t.Context(), c)
				if len(s.calls) != test.calls {
					t.Errorf("%d calls, want %d: %v", len(s.calls), test.calls, err)
				}
				if test.is == nil {
					if err != nil {
						t.Error(err)
					}
					return
				}
				var e *Error
				if !errors.As(err, &e) || !errors.Is(err, test.is) || e.Attempts != test.attempts || MaybeApplied(err) != test.maybe {
					t.Errorf("error %v, want %v after %d attempts, MaybeApplied %v", err, test.is, test.attempts, test.maybe)
				}
			})
		})
	}
}

// The same bytes are sent each time.
func TestRetrySendsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{lost, noLeader, notSent, ok}}
		c := s.client(Config{})
		defer c.set.Close()
		if _, err := c.Get(t.Context(), GetRequest{Key: "key", Prefix: true, Limit: 7}); err != nil {
			t.Fatal(err)
		}
		for i, call := range s.calls {
			if string(call.req.Message) != string(s.calls[0].req.Message) || call.req.Path != "/etcdserverpb.KV/Range" || !call.req.RequireLeader {
				t.Errorf("call %d: %+v", i, call.req)
			}
		}
	})
}

func TestRetryPauses(t *testing.T) {
	for config, want := range map[*Config][2]time.Duration{
		{}:                         {800 * time.Millisecond, 1200 * time.Millisecond},
		{RetrySleep: time.Minute}:  {48 * time.Second, 72 * time.Second},
		{RetrySleep: 1}:            {1, 1},
		{RetrySleep: 10, Retry: 9}: {8, 12},
	} {
		synctest.Test(t, func(t *testing.T) {
			var all []time.Duration
			for range 20 {
				s := &script{replies: []reply{stopped}}
				c := s.client(*config)
				if _, err := c.Get(t.Context(), GetRequest{Key: "k"}); err == nil {
					t.Error("no error")
				}
				c.set.Close()
				all = append(all, s.pauses()...)
			}
			low, high := slices.Min(all), slices.Max(all)
			if low < want[0] || high > want[1] {
				t.Errorf("%+v: pauses of %v-%v, want %v-%v", *config, low, high, want[0], want[1])
			}
			if spread := want[1] - want[0]; high-low < spread/2 {
				t.Errorf("%+v: pauses of %v-%v are not spread", *config, low, high)
			}
		})
	}
}

// An election is waited for within Timeout, without a pause of RetrySleep.
func TestElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{noLeader}}
		c := s.client(Config{Timeout: 2 * time.Second, Retry: 1})
		defer c.set.Close()
		begin := time.Now()
		_, err := c.Put(t.Context(), PutRequest{Key: "k"})
		took := time.Since(begin)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrNoLeader) || e.Attempts != 2 || e.Outcome != Rejected || MaybeApplied(err) {
			t.Errorf("error %v", err)
		}
		if took < 4*time.Second || took > 5500*time.Millisecond { // two attempts and a pause
			t.Errorf("it took %v", took)
		}
		short := 0
		for _, p := range s.pauses() {
			if p < 500*time.Millisecond {
				if short++; p < 24*time.Millisecond || p > 50*time.Millisecond {
					t.Errorf("a pause of %v", p)
				}
			}
		}
		if n := len(s.calls); n < 70 || n > 180 || short != n-2 {
			t.Errorf("%d calls, %d of them at once", n, short)
		}
	})

	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc, error){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			return ctx, cancel, context.DeadlineExceeded
		},
		"cancel": func(ctx context.Context) (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(30*time.Second, cancel)
			return ctx, cancel, context.Canceled
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{replies: []reply{noLeader}}
			c := s.client(Config{Timeout: -1})
			defer c.set.Close()
			ctx, cancel, want := end(t.Context())
			defer cancel()
			begin := time.Now()
			_, err := c.Put(ctx, PutRequest{Key: "k"})
			if took := time.Since(begin); took != 30*time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
			// Not sent in vain: each time the server has refused.
			var e *Error
			if !errors.Is(err, want) || !errors.Is(err, ErrNoLeader) || !errors.As(err, &e) || e.Attempts != 1 || MaybeApplied(err) {
				t.Errorf("%s: error %+v", name, e)
			}
			if !strings.Contains(err.Error(), want.Error()) || !strings.Contains(err.Error(), "no leader") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// The context ends in the pause before another attempt.
func TestContextEndsInPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, replies := range [][]reply{{busy}, {notSent}} {
			s := &script{replies: replies}
			c := s.client(Config{RetrySleep: time.Hour})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			begin := time.Now()
			_, err := c.Put(ctx, PutRequest{Key: "k"})
			if took := time.Since(begin); took != time.Minute {
				t.Errorf("it took %v", took)
			}
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || e.Code != CodeDeadlineExceeded || e.Attempts != 1 {
				t.Errorf("error %+v", e)
			}
			if e.sentinel == nil || !errors.Is(err, e.sentinel) || !strings.Contains(err.Error(), "last error: ") || MaybeApplied(err) {
				t.Errorf("error %v", err)
			}
			if cause := replies[0].err.Cause; cause != nil && !errors.Is(err, cause) {
				t.Errorf("the cause of the last error is lost in %v", err)
			}
			cancel()
			c.set.Close()
		}
	})
}

func TestCloseEndsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, r := range []reply{busy, noLeader} {
			s := &script{replies: []reply{r}}
			c := s.client(Config{RetrySleep: time.Hour, Timeout: time.Minute, Retry: 1})
			done := make(chan error)
			go func() {
				_, err := c.Put(t.Context(), PutRequest{Key: "k"})
				done <- err
			}()
			time.Sleep(time.Second)
			close(c.done)
			err := <-done
			if !errors.Is(err, ErrClosed) || MaybeApplied(err) {
				t.Errorf("error %v", err)
			}
			c.set.Close()
		}
	})
}

// Timeout bounds each attempt; a context's deadline replaces it, and some calls
// have no bound.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		minute, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for name, test := range map[string]struct {
			config Config
			ctx    context.Context
			call   func(context.Context, *Client) error
			took   time.Duration
			is     error
		}{
			"default": {Config{Retry: -1}, t.Context(), func(ctx context.Context, c *Client) error {
				_, err := c.Put(ctx, PutRequest{Key: "k"})
				return err
			}, 10 * time.Second, ErrTimeout},
			"set": {Config{Retry: -1, Timeout: time.Second}, t.Context(), func(ctx context.Context, c *Client) error {
				_, err := c.Put(ctx, PutRequest{Key: "k"})
				return err
			}, time.Second, ErrTimeout},
			"a deadline in its place": {Config{Retry: -1, Timeout: time.Second}, minute, func(ctx context.Context, c *Client) error {
				_, err := c.Put(ctx, PutRequest{Key: "k"})
				return err
			}, time.Minute, context.DeadlineExceeded},
		} {
			s := &script{replies: []reply{silence}}
			c := s.client(test.config)
			begin := time.Now()
			err := test.call(test.ctx, c)
			if took := time.Since(begin); name != "a deadline in its place" && took != test.took || !errors.Is(err, test.is) || !MaybeApplied(err) {
				t.Errorf("%s: %v after %v", name, err, took)
			}
			c.set.Close()
		}
	})
	for name, call := range map[string]func(context.Context, *Client) error{
		"no bound": func(ctx context.Context, c *Client) error {
			c.timeout = 0
			_, err := c.Get(ctx, GetRequest{Key: "k"})
			return err
		},
		"physical compaction": func(ctx context.Context, c *Client) error {
			_, err := c.Compact(ctx, CompactRequest{Revision: 1, Physical: true})
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{replies: []reply{{after: time.Hour}}}
			c := s.client(Config{Retry: -1})
			defer c.set.Close()
			if err := call(t.Context(), c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got := s.calls[0].req.Timeout; got != 0 {
				t.Errorf("%s: bounded by %v", name, got)
			}
		})
	}
	// Each attempt of a read has the whole of it.
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{silence}}
		c := s.client(Config{Retry: 2, Timeout: 3 * time.Second, RetrySleep: 1})
		defer c.set.Close()
		begin := time.Now()
		_, err := c.Get(t.Context(), GetRequest{Key: "k"})
		if took := time.Since(begin).Round(time.Second); took != 9*time.Second || !errors.Is(err, ErrTimeout) {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// Which member may answer: only what is serializable is asked of one without
// leader.
func TestRequireLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			want bool
			call func(ctx context.Context, c *Client) error
		}{
			"Get": {true, func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, GetRequest{Key: "k"}); return err }},
			"serializable Get": {false, func(ctx context.Context, c *Client) error {
				_, err := c.Get(ctx, GetRequest{Key: "k", Serializable: true})
				return err
			}},
			"Put": {true, func(ctx context.Context, c *Client) error { _, err := c.Put(ctx, PutRequest{Key: "k"}); return err }},
			"Txn": {true, func(ctx context.Context, c *Client) error { _, err := c.Txn(ctx, TxnRequest{}); return err }},
			"serializable Txn": {false, func(ctx context.Context, c *Client) error {
				_, err := c.Txn(ctx, TxnRequest{Serializable: true})
				return err
			}},
			"Ready": {true, func(ctx context.Context, c *Client) error { return c.Ready(ctx) }},
		} {
			s := &script{replies: []reply{ok}}
			c := s.client(Config{})
			if err := test.call(t.Context(), c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got := s.calls[0].req.RequireLeader; got != test.want {
				t.Errorf("%s: requires a leader: %v", name, got)
			}
			c.set.Close()
		}
	})
}

// Bug: a server that answered pages of a range with Unimplemented was asked for
// ever, without a pause.
func TestRangePagesUnimplemented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{says(transport.Unimplemented, "unknown method Range")}}
		c := s.client(Config{})
		defer c.set.Close()
		r := &Range{c: c, ctx: t.Context(), first: GetResponse{More: true, KVs: []KeyValue{{Key: "a"}}}}
		var last error
		for _, err := range r.All() {
			last = err
		}
		var e *Error
		if !errors.As(last, &e) || e.Code != CodeUnimplemented || len(s.calls) != 1 {
			t.Errorf("%v after %d calls", last, len(s.calls))
		}
	})
}

// Timeout also bounds the connecting, before anything is sent.
func TestTimeoutOfConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{silent: true}
		c := s.client(Config{Retry: -1, Timeout: time.Second})
		defer c.set.Close()
		begin := time.Now()
		_, err := c.Put(t.Context(), PutRequest{Key: "k"})
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrTimeout) || e.Outcome != NotSent || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %+v", e)
		}
		if took := time.Since(begin); took != time.Second || !strings.Contains(err.Error(), "a:1") {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// An answer that makes no sense was an answer: a write has been done.
func TestUndecodableAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{{body: []byte{0x0a, 0x7f}}}}
		c := s.client(Config{})
		defer c.set.Close()
		_, err := c.Put(t.Context(), PutRequest{Key: "k"})
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeInternal || !MaybeApplied(err) || len(s.calls) != 1 {
			t.Errorf("%v after %d calls", err, len(s.calls))
		}
		if _, err = c.Get(t.Context(), GetRequest{Key: "k"}); err == nil || MaybeApplied(err) {
			t.Errorf("read: %v", err)
		}
	})
}

// The member that answers a serializable page may not know the revision yet that
// another has named; then the leader is asked.
func TestRangeMemberBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{says(transport.OutOfRange, "etcdserver: mvcc: required revision is a future revision"), ok}}
		c := s.client(Config{})
		defer c.set.Close()
		r := &Range{
			c: c, ctx: t.Context(), revision: 7, req: rangeRequest{Serializable: true, MinModRevision: 1},
			first: GetResponse{More: true, KVs: []KeyValue{{Key: "a"}}},
		}
		n := 0
		for _, err := range r.All() {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n != 1 || len(s.calls) != 2 || s.calls[0].req.RequireLeader || !s.calls[1].req.RequireLeader {
			t.Errorf("%d pairs after %d calls", n, len(s.calls))
		}
	})
}
