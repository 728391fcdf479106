package call

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// issued is an answer to Authenticate.
func issued(token string) reply {
	return reply{Body: append([]byte{2<<3 | 2, byte(len(token))}, token...), After: 50 * time.Millisecond}
}

var (
	badToken    = says(transport.Unauthenticated, "etcdserver: invalid auth token")
	noUser      = says(transport.InvalidArgument, "etcdserver: user name is empty")
	oldRevision = says(transport.InvalidArgument, textOldAuthRevision)
	forbidden   = says(transport.PermissionDenied, "etcdserver: permission denied")
	badPassword = says(transport.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password")
	authOff     = says(transport.FailedPrecondition, "etcdserver: authentication is not enabled")
)

// withUser is config with a name and a password.
func withUser(config Config) Config {
	config.FixedCredentials = true
	config.Credentials = func(context.Context) (Credentials, error) {
		return Credentials{Username: "u", Password: "p"}, nil
	}
	return config
}

// The requests that are sent for a Put, in order and with their tokens.
func TestTokens(t *testing.T) {
	user := withUser(once)
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
				e, m := scripted(t, user, test.replies...)
				err := do(t.Context(), e, rpc.Put)
				if !errors.Is(err, test.is) || (err == nil) != (test.is == nil) {
					t.Errorf("error %v, want %v", err, test.is)
				}
				if got := trace(m); got != test.trace {
					t.Errorf("sent %s\nwant %s", got, test.trace)
				}
				if err != nil && test.is != ErrUnavailable && maybeApplied(err) {
					t.Errorf("it may have been applied? %v", err)
				}
			})
		})
	}
}

// An engine without credentials fails at once if the cluster requires them.
func TestNoCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, m := scripted(t, usual, noUser)
		if err := do(t.Context(), e, rpc.Put); !errors.Is(err, ErrUnauthenticated) || maybeApplied(err) {
			t.Errorf("error %v", err)
		}
		if got := trace(m); got != "Put" {
			t.Errorf("sent %s", got)
		}
	})
}

// Many callers find the token expired: one Authenticate. Some contexts end before
// it is answered.
func TestTokenStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers = 200
		replies := append([]reply{issued("a.1"), ok}, repeat(badToken.Delayed(10*time.Millisecond), callers)...)
		e, m := scripted(t, withUser(usual), append(replies, issued("a.2"), ok)...)
		if err := do(t.Context(), e, rpc.Put); err != nil {
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
				err := do(ctx, e, rpc.Put)
				if impatient && (!errors.Is(err, context.DeadlineExceeded) || maybeApplied(err)) || !impatient && err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := strings.Count(trace(m), "Authenticate"); n != 2 {
			t.Errorf("%d Authenticate calls, want 2", n)
		}
	})
}

// While the password is wrong the server is asked less and less often, and calls
// fail at once. Once it is right again the next call succeeds.
func TestWrongPasswordIsAskedSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, m := scripted(t, withUser(usual), badPassword)
		for range 6000 { // a minute
			if err := do(t.Context(), e, rpc.Put); !errors.Is(err, ErrAuthFailed) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := m.Counts().Calls; n < 12 || n > 22 {
			t.Errorf("%d Authenticate calls in a minute", n)
		}
		m.Handle(peertest.Script(issued("a.1"), ok))
		time.Sleep(7 * time.Second)
		if err := do(t.Context(), e, rpc.Put); err != nil {
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
		e, m := scripted(t, Config{Timeout: 10 * time.Second, Credentials: func(context.Context) (Credentials, error) {
			asked++
			return next, fails
		}}, issued("a.1"), ok, badToken, issued("a.2"), ok, badToken, ok, badToken)
		put := func() error { return do(t.Context(), e, rpc.Put) }

		fails = down
		if err := put(); !errors.Is(err, down) || !errors.Is(err, ErrNoCredentials) || maybeApplied(err) {
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
		if got := trace(m); got != want {
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

// Close ends the calls that wait for a token, and the callback.
func TestCloseWhileAuthenticating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := scripted(t, Config{Credentials: func(ctx context.Context) (Credentials, error) {
			<-ctx.Done()
			return Credentials{}, ctx.Err()
		}}, ok)
		ended := make(chan error)
		go func() { ended <- do(t.Context(), e, rpc.Get) }()
		synctest.Wait()
		e.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := do(t.Context(), e, rpc.Get); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}
