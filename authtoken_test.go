package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// issued is an answer to Authenticate.
func issued(token string) reply {
	return reply{body: append([]byte{2<<3 | 2, byte(len(token))}, token...), after: 50 * time.Millisecond}
}

var (
	badToken    = says(transport.Unauthenticated, "etcdserver: invalid auth token")
	noUser      = says(transport.InvalidArgument, "etcdserver: user name is empty")
	oldRevision = says(transport.InvalidArgument, textOldAuthRevision)
	forbidden   = says(transport.PermissionDenied, "etcdserver: permission denied")
	badPassword = says(transport.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password")
	authOff     = says(transport.FailedPrecondition, "etcdserver: authentication is not enabled")
)

func (s *script) authClient(config Config) *Client {
	c := s.client(config)
	c.tokens = newTokens(c, &config)
	return c
}

// trace is what was called: a method with the token that it carried.
func (s *script) trace() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, call := range s.calls {
		_, method, _ := strings.Cut(call.req.Path[1:], "/")
		if call.req.Token != "" {
			method += "(" + call.req.Token + ")"
		}
		list = append(list, method)
	}
	return strings.Join(list, " ")
}

func (c *Client) closeScripted() {
	close(c.done)
	c.tokens.close()
	c.set.Close()
}

// What is sent for a Put, in which order and with which token.
func TestTokens(t *testing.T) {
	user := Config{Username: "u", Password: "p", Retry: -1}
	for name, test := range map[string]struct {
		replies []reply
		trace   string
		is      error
	}{
		"first":                  {[]reply{issued("a.1"), ok}, "Authenticate Put(a.1)", nil},
		"rejected":               {[]reply{issued("a.1"), badToken, badToken, issued("a.2"), ok}, "Authenticate Put(a.1) Put(a.1) Authenticate Put(a.2)", nil},
		"rejected, JWT":          {[]reply{issued("a.b.1"), badToken, issued("a.b.2"), ok}, "Authenticate Put(a.b.1) Authenticate Put(a.b.2)", nil},
		"not known there yet":    {[]reply{issued("a.1"), badToken, ok}, "Authenticate Put(a.1) Put(a.1)", nil},
		"auth is off":            {[]reply{authOff, ok}, "Authenticate Put", nil},
		"auth is switched on":    {[]reply{authOff, noUser, issued("a.1"), ok}, "Authenticate Put Authenticate Put(a.1)", nil},
		"on, with a certificate": {[]reply{authOff, forbidden, issued("a.1"), ok}, "Authenticate Put Authenticate Put(a.1)", nil},
		"forbidden":              {[]reply{issued("a.1"), forbidden}, "Authenticate Put(a.1)", ErrPermissionDenied},
		"users changed":          {[]reply{issued("a.1"), oldRevision, ok}, "Authenticate Put(a.1) Put(a.1)", nil},
		"users changed, JWT":     {[]reply{issued("a.b.1"), oldRevision, issued("a.b.2"), ok}, "Authenticate Put(a.b.1) Authenticate Put(a.b.2)", nil},
		"wrong password":         {[]reply{badPassword}, "Authenticate", ErrAuthFailed},
		"no leader for a while":  {[]reply{noLeader, noLeader, issued("a.1"), ok}, "Authenticate Authenticate Authenticate Put(a.1)", nil},
		"connection lost":        {[]reply{lost, issued("a.1"), ok}, "Authenticate Authenticate Put(a.1)", nil},
		"connection lost behind": {[]reply{issued("a.1"), lost}, "Authenticate Put(a.1)", ErrUnavailable},
		"rejected for ever": {
			[]reply{issued("a.1"), badToken, badToken, issued("a.2"), badToken, badToken},
			"Authenticate Put(a.1) Put(a.1) Authenticate Put(a.2) Put(a.2)", ErrInvalidAuthToken,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{replies: test.replies}
				c := s.authClient(user)
				defer c.closeScripted()
				_, err := c.Put(t.Context(), PutRequest{Key: "k"})
				if !errors.Is(err, test.is) || (err == nil) != (test.is == nil) {
					t.Errorf("error %v, want %v", err, test.is)
				}
				if got := s.trace(); got != test.trace {
					t.Errorf("sent %s\nwant %s", got, test.trace)
				}
				if err != nil && test.is != ErrUnavailable && MaybeApplied(err) {
					t.Errorf("it may have been applied? %v", err)
				}
			})
		})
	}
}

// A client without credentials is told at once that the cluster wants some.
func TestNoCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{noUser}}
		c := s.client(Config{})
		defer c.set.Close()
		if _, err := c.Put(t.Context(), PutRequest{Key: "k"}); !errors.Is(err, ErrUnauthenticated) || MaybeApplied(err) {
			t.Errorf("error %v", err)
		}
		if got := s.trace(); got != "Put" {
			t.Errorf("sent %s", got)
		}
	})
}

// Many callers meet an expired token: one Authenticate. Some do not live
// to see it.
func TestTokenStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers = 200
		replies := append([]reply{issued("a.1"), ok}, repeat(reply{err: badToken.err, after: 10 * time.Millisecond}, callers)...)
		s := &script{replies: append(replies, issued("a.2"), ok)}
		c := s.authClient(Config{Username: "u", Password: "p"})
		defer c.closeScripted()
		if _, err := c.Put(t.Context(), PutRequest{Key: "k"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				ctx := t.Context()
				impatient := i%10 == 0
				if impatient {
					short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
					defer cancel()
					ctx = short
				}
				_, err := c.Put(ctx, PutRequest{Key: "k"})
				if impatient && (!errors.Is(err, context.DeadlineExceeded) || MaybeApplied(err)) || !impatient && err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := strings.Count(s.trace(), "Authenticate"); n != 2 {
			t.Errorf("%d Authenticate calls, want 2", n)
		}
	})
}

// While the password is wrong the server is asked ever less often, and calls
// fail at once; when it is right again the next one succeeds.
func TestWrongPasswordIsAskedSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{badPassword}}
		c := s.authClient(Config{Username: "u", Password: "p"})
		defer c.closeScripted()
		for range 6000 { // a minute
			if _, err := c.Put(t.Context(), PutRequest{Key: "k"}); !errors.Is(err, ErrAuthFailed) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		s.mu.Lock()
		if n := len(s.calls); n < 12 || n > 22 {
			t.Errorf("%d Authenticate calls in a minute", n)
		}
		s.replies = append(repeat(badPassword, len(s.calls)), issued("a.1"), ok)
		s.mu.Unlock()
		time.Sleep(7 * time.Second)
		if _, err := c.Put(t.Context(), PutRequest{Key: "k"}); err != nil {
			t.Error(err)
		}
	})
}

func TestCredentialsCallback(t *testing.T) {
	down := errors.New("the vault is sealed")
	synctest.Test(t, func(t *testing.T) {
		var next Credentials
		var fails error
		asked := 0
		s := &script{replies: []reply{issued("a.1"), ok, badToken, issued("a.2"), ok, badToken, ok, badToken}}
		c := s.authClient(Config{Retry: -1, Credentials: func(context.Context) (Credentials, error) {
			asked++
			return next, fails
		}})
		defer c.closeScripted()
		put := func() error { _, err := c.Put(t.Context(), PutRequest{Key: "k"}); return err }

		fails = down
		if err := put(); !errors.Is(err, down) || !errors.Is(err, ErrNoCredentials) || MaybeApplied(err) {
			t.Errorf("error %v", err)
		}
		fails, next = nil, Credentials{Username: "u", Password: "one"}
		time.Sleep(time.Second)
		if err := put(); err != nil {
			t.Error(err)
		}
		next.Password = "two"
		time.Sleep(time.Minute)
		if err := put(); err != nil {
			t.Error(err)
		}
		next = Credentials{Token: "x.y.z"}
		time.Sleep(time.Minute)
		if err := put(); err != nil {
			t.Error(err)
		}
		for range 20 {
			if err := put(); !errors.Is(err, ErrInvalidAuthToken) {
				t.Errorf("the callback has only the token that was rejected: %v", err)
			}
		}
		const want = "Authenticate Put(a.1) Put(a.1) Authenticate Put(a.2) Put(a.2) Put(x.y.z) Put(x.y.z) Put(x.y.z)"
		if got := s.trace(); got != want {
			t.Errorf("sent %s\nwant %s", got, want)
		}
		if asked != 5 {
			t.Errorf("the callback was asked %d times, want 5", asked)
		}
		for _, bad := range []Credentials{
			{}, {Username: "u"}, {Password: "secret"}, {Username: "u", Password: "secret", Token: "t"},
			{Token: "secret\n"}, {Username: "u\xff", Password: "secret"}, {Username: "u", Password: "secret\xff"},
		} {
			time.Sleep(time.Minute)
			next = bad
			if err := put(); !errors.Is(err, ErrNoCredentials) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v", err)
			}
		}
	})
}

// Close ends those who wait for a token, and the callback.
func TestCloseWhileAuthenticating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{ok}}
		c := s.authClient(Config{Credentials: func(ctx context.Context) (Credentials, error) {
			<-ctx.Done()
			return Credentials{}, ctx.Err()
		}})
		ended := make(chan error)
		go func() {
			_, err := c.Get(t.Context(), GetRequest{Key: "k"})
			ended <- err
		}()
		synctest.Wait()
		c.closeScripted()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := c.Get(t.Context(), GetRequest{Key: "k"}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestCredentialsConfig(t *testing.T) {
	ask := func(context.Context) (Credentials, error) { return Credentials{}, nil }
	for want, config := range map[string]Config{
		"Config.Password is empty":       {Username: "u"},
		"Config.Username is empty":       {Password: "secret"},
		"Config.Username is not valid":   {Username: "u\xff", Password: "secret"},
		"Config.Password is not valid":   {Username: "u", Password: "secret\xff"},
		"Config.Credentials is set, and": {Username: "u", Password: "secret", Credentials: ask},
	} {
		config.Endpoints = []string{"127.0.0.1:1"}
		_, err := New(config)
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in %v", err)
		}
	}
}

// However they are printed or logged, secrets are not in it.
func TestSecretsAreHidden(t *testing.T) {
	config := Config{Endpoints: []string{"127.0.0.1:1"}, Username: "name", Password: "secret"}
	credentials := Credentials{Username: "name", Password: "secret"}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	values := []any{config, &config, credentials, &credentials, []Credentials{credentials}, Credentials{Token: "secret"}, c}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%+q"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "secret") || strings.Contains(out, fmt.Sprintf("%x", "secret")) {
				t.Errorf("%s prints %s", verb, out)
			}
		}
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("made", "value", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("made", "value", v)
		if strings.Contains(log.String(), "secret") {
			t.Errorf("logged %s", log.String())
		}
	}
	if out := fmt.Sprintf("%+v", config); !strings.Contains(out, "Username:name Password:(hidden)") {
		t.Errorf("printed %s", out)
	}
}
