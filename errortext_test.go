package etcd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// Texts that say what to do about an error. Message stays the server's.
func TestErrorsHint(t *testing.T) {
	for text, test := range map[string]struct {
		code transport.Code
		is   error
		hint string
	}{
		"etcdserver: request is too large":                             {transport.InvalidArgument, ErrRequestTooLarge, "; the limit is the server's --max-request-bytes, 1.5 MiB unless it is set"},
		"grpc: received message larger than max (2097180 vs. 2097152)": {transport.ResourceExhausted, ErrRequestTooLarge, "; the limit is the server's --max-request-bytes, 1.5 MiB unless it is set"},
		"etcdserver: user name is empty":                               {transport.InvalidArgument, ErrUnauthenticated, "; the cluster asks for a user: set Config.Username and Password, or Credentials"},
		"etcdserver: permission denied":                                {transport.PermissionDenied, ErrPermissionDenied, ""},
	} {
		c, _ := scriptedBy(t, Config{}, says(test.code, text))
		_, err := c.Put(t.Context(), PutRequest{Key: "k"})
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, test.is) || e.Message != text || err.Error() != "etcd: Put via a:1: "+text+test.hint {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A timeout says what has bounded the attempt.
func TestTimeoutsNameTheirBound(t *testing.T) {
	put := func(ctx context.Context, c *Client) error { _, err := c.Put(ctx, PutRequest{Key: "k"}); return err }
	renew := func(ctx context.Context, c *Client) error {
		_, err := c.KeepAliveOnce(ctx, KeepAliveRequest{ID: 7})
		return err
	}
	snapshot := func(ctx context.Context, c *Client) error {
		_, err := c.Maintenance().Snapshot(ctx, SnapshotRequest{Endpoint: "a:1"})
		return err
	}
	for name, test := range map[string]struct {
		call  func(context.Context, *Client) error
		fault func(*peertest.Member)
		user  string
		want  string
	}{
		"no answer":     {put, func(m *peertest.Member) { m.Answer(silence) }, "", "etcd: Put via a:1: no answer in time (Config.Timeout is 2s)"},
		"no connection": {put, func(m *peertest.Member) { m.OnDial(peertest.Ignore) }, "", "not sent in time (Config.Timeout is 2s)"},
		"no token":      {put, func(m *peertest.Member) { m.Answer(silence) }, "u", "not sent in time (Config.Timeout is 2s)"},
		"no renewal":    {renew, func(m *peertest.Member) { m.OnDial(peertest.Ignore) }, "", "not sent in time (Config.Timeout is 2s)"},
		"no stream":     {snapshot, func(m *peertest.Member) { m.OnDial(peertest.Ignore) }, "", "not sent in time (Config.Timeout is 2s)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := peertest.NewCluster("a:1")
				test.fault(cluster.Member("a:1"))
				c := scripted(t, cluster, Config{Timeout: 2 * time.Second, DialTimeout: time.Minute, Retry: -1, Username: test.user, Password: test.user})
				began := time.Now()
				err := test.call(t.Context(), c)
				if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), test.want) || strings.Count(err.Error(), "Config.Timeout") != 1 {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if took := time.Since(began); took != 2*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A Watch that nobody confirms ends when all attempts of a call would have.
func TestWatchNamesItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := peertest.NewCluster("a:1")
		cluster.Member("a:1").OnDial(peertest.Ignore)
		c := scripted(t, cluster, Config{Timeout: 2 * time.Second, Retry: 2})
		_, err := c.Watch(t.Context(), WatchRequest{Key: "k", Revision: 1})
		want := "no answer in time (Config.Timeout is 2s, and 3 attempts take 6s)"
		if !errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || !Temporary(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	})
}

// The limit that the keeper sets to connecting is not the caller's deadline: the
// renewal is tried again, and its error is not that of a context.
func TestRenewalsLimitIsNoContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := peertest.NewCluster("a:1")
		cluster.Member("a:1").OnDial(peertest.Ignore)
		c := scripted(t, cluster, Config{DialTimeout: time.Minute})
		_, err := c.KeepAliveOnce(t.Context(), KeepAliveRequest{ID: 7})
		var e *Error
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || !Temporary(err) || !errors.As(err, &e) || e.Attempts != 6 {
			t.Errorf("%+v", err)
		}
		if want := "no connection within 3s"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	})
}

// Attempts counts what was tried.
func TestAttemptsOfNothing(t *testing.T) {
	calls := map[string]func(context.Context, *Client) error{
		"Get": func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, GetRequest{Key: "k"}); return err },
		"Put": func(ctx context.Context, c *Client) error { _, err := c.Put(ctx, PutRequest{Key: "k"}); return err },
		"Txn": func(ctx context.Context, c *Client) error { _, err := c.Txn(ctx, TxnRequest{}); return err },
		"Grant": func(ctx context.Context, c *Client) error {
			_, err := c.Grant(ctx, GrantRequest{TTL: time.Minute})
			return err
		},
		"KeepAliveOnce": func(ctx context.Context, c *Client) error {
			_, err := c.KeepAliveOnce(ctx, KeepAliveRequest{ID: 7})
			return err
		},
		"Snapshot": func(ctx context.Context, c *Client) error {
			_, err := c.Maintenance().Snapshot(ctx, SnapshotRequest{Endpoint: "a:1"})
			return err
		},
		"Batch": func(ctx context.Context, c *Client) error {
			return c.Batch(ctx, GetRequest{Key: "a"}, GetRequest{Key: "b"}).Err()
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := scriptedBy(t, Config{}, busy)
				attempts := func(ctx context.Context, is error, want int) {
					t.Helper()
					err := call(ctx, c)
					var e *Error
					if !errors.Is(err, is) || !errors.As(err, &e) || e.Attempts != want {
						t.Errorf("%+v, want %v after %d attempts", err, is, want)
					}
				}
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				attempts(ended, context.Canceled, 0)
				if n := m.Counts(); n.Calls+n.Streams != 0 {
					t.Errorf("the member got %+v", n)
				}
				_ = c.Close()
				attempts(t.Context(), ErrClosed, 0)
			})
		})
	}

	// The second attempt finds that the context has ended, before it does anything.
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, _ := scriptedBy(t, Config{Hooks: Hooks{Retry: func(RetryInfo) { cancel() }}, RetrySleep: time.Second}, busy)
		_, err := c.Get(ctx, GetRequest{Key: "k"})
		var e *Error
		if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.Attempts != 1 {
			t.Errorf("%+v", err)
		}
	})
}

// What a text says of the request fits its outcome: nothing has an answer due that was not
// sent, and where an earlier attempt may have been applied the text says what became of it.
func TestTextsFitTheOutcome(t *testing.T) {
	refused := reply{Err: &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: "stream refused"}}
	unsent := reply{Err: &transport.Error{Code: transport.DeadlineExceeded, Outcome: transport.NotSent, Cause: transport.ErrTimeout}}
	for name, test := range map[string]struct {
		replies []reply
		outcome Outcome
		says    string
		not     string
	}{
		"lost, then rejected":        {[]reply{lost, noLease}, OutcomeUnknown, "requested lease not found; an earlier attempt: EOF (after 2 attempts); the request may", ""},
		"lost, then refused":         {[]reply{lost, refused}, OutcomeUnknown, "stream refused; an earlier attempt: EOF (after 3 attempts); the request may", ""},
		"lost, then not sent":        {[]reply{lost, unsent}, OutcomeUnknown, "not sent in time (Config.Timeout is 10s); last error: EOF (after 3 attempts); the request may", "an earlier attempt"},
		"lost":                       {[]reply{lost}, OutcomeUnknown, ": EOF (after 3 attempts); the request may", "an earlier attempt"},
		"refused":                    {[]reply{refused}, OutcomeNotSent, ": stream refused (after 3 attempts)", "may have been"},
		"refused, then not sent":     {[]reply{refused, refused, refused, refused, unsent}, OutcomeNotSent, "not sent in time", "answer"},
		"not sent":                   {[]reply{unsent}, OutcomeNotSent, ": not sent in time (Config.Timeout is 10s) (after 3 attempts)", "answer"},
		"rejected, then no answer":   {[]reply{busy, silence}, OutcomeUnknown, "no answer in time (Config.Timeout is 10s); last error: etcdserver: too many requests", "an earlier attempt"},
		"no answer, then not sent":   {[]reply{silence, unsent}, OutcomeUnknown, "not sent in time (Config.Timeout is 10s); last error: no answer in time (Config.Timeout is 10s)", ""},
		"no answer, then no leader ": {[]reply{silence, noLeader}, OutcomeUnknown, "no leader", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := scriptedBy(t, Config{Retry: 2, RetryWrites: AtLeastOnce}, test.replies...)
				_, err := c.Put(t.Context(), PutRequest{Key: "k"})
				var e *Error
				if !errors.As(err, &e) || e.Outcome != test.outcome || !strings.Contains(err.Error(), test.says) || test.not != "" && strings.Contains(err.Error(), test.not) {
					t.Errorf("%v: %v", e.Outcome, err)
				}
				if says := strings.Contains(err.Error(), "may have been applied"); says != MaybeApplied(err) {
					t.Errorf("MaybeApplied is %v of: %v", !says, err)
				}
			})
		})
	}
}
