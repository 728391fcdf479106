package etcd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/peertest/leasetest"
)

// A panic of Config.Credentials is an error that names it, and the client goes on.
func TestCredentialsMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, log := 0, new(bytes.Buffer)
		c, _ := scriptedBy(t, Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Retry: -1, Credentials: func(context.Context) (Credentials, error) {
			if calls++; calls == 1 {
				panic("no vault")
			}
			return Credentials{Token: "t"}, nil
		}}, peertest.OK)
		_, err := c.Get(t.Context(), GetRequest{Key: "k"})
		if !errors.Is(err, ErrNoCredentials) || !strings.Contains(err.Error(), "Config.Credentials panicked at callbacks_test.go:") || !strings.Contains(err.Error(), "no vault") {
			t.Errorf("got %v", err)
		}
		if !strings.Contains(log.String(), "callback=Config.Credentials") || !strings.Contains(log.String(), "TestCredentialsMayPanic") || c.Stats().HookPanics != 1 {
			t.Errorf("%d panics; the log says %s", c.Stats().HookPanics, log)
		}
		time.Sleep(time.Minute)
		if _, err := c.Get(t.Context(), GetRequest{Key: "k"}); err != nil {
			t.Error(err)
		}
	})
}

// A panic of a function that hears of renewals is counted, and renewals go on.
func TestOnRenewalMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := leaseClient(t, leasetest.NewCluster(), 1)
		l := kept(t, c, 30*time.Second)
		l.OnRenewal(func(KeepAliveResponse) { panic("oh") })
		time.Sleep(5 * time.Minute)
		isAlive(t, l)
		if s := c.Stats(); s.HookPanics == 0 || s.HookPanics != s.Renewals {
			t.Errorf("%d panics in %d renewals", s.HookPanics, s.Renewals)
		}
	})
}

// A log handler that panics loses its record and nothing else.
func TestLogHandlersMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scriptedBy(t, Config{Logger: slog.New(panickyHandler{})}, peertest.OK)
		_, err := c.Get(t.Context(), GetRequest{Key: "k"})
		synctest.Wait() // a separate goroutine logs the connection
		if n := c.Stats().HookPanics; err != nil || n == 0 {
			t.Errorf("%v, %d panics", err, n)
		}
	})
}

type panickyHandler struct{ slog.Handler }

func (panickyHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panickyHandler) Handle(context.Context, slog.Record) error { panic("disk full") }

// Close does not wait for functions that do not heed their contexts, and begins no dial.
func TestCloseLeavesFunctionsBehind(t *testing.T) {
	for name, config := range map[string]func(called func()) Config{
		"DialContext": func(called func()) Config {
			return Config{DialContext: func(context.Context, string, string) (net.Conn, error) {
				called()
				return nil, errors.New("too late")
			}}
		},
		"Credentials": func(called func()) Config {
			return Config{Credentials: func(context.Context) (Credentials, error) {
				called()
				return Credentials{}, errors.New("too late")
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				called, returns := make(chan struct{}, 10), make(chan struct{})
				cf := config(func() { called <- struct{}{}; <-returns })
				cf.Endpoints = []string{"127.0.0.1:1", "127.0.0.1:2"}
				c, err := New(cf)
				if err != nil {
					t.Fatal(err)
				}
				failed := make(chan error, 1)
				go func() {
					_, err := c.Get(t.Context(), GetRequest{Key: "k"})
					failed <- err
				}()
				<-called
				began := time.Now()
				_ = c.Close()
				if took := time.Since(began); took > time.Second {
					t.Errorf("Close took %v", took)
				}
				if err := <-failed; !errors.Is(err, ErrClosed) {
					t.Errorf("got %v", err)
				}
				dials := len(called)
				synctest.Wait()
				if len(called) != dials {
					t.Error("a function was called after Close")
				}
				close(returns)
			})
		})
	}
}

// A provider that does not heed its context is asked again when it has returned: it is
// called by one goroutine at a time.
func TestCredentialsAreAskedOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := make(chan struct{}, 1)
		c, _ := scriptedBy(t, Config{Retry: -1, Timeout: time.Second, Credentials: func(context.Context) (Credentials, error) {
			select {
			case running <- struct{}{}:
			default:
				t.Error("two calls at a time")
			}
			time.Sleep(10 * time.Second)
			<-running
			return Credentials{Token: "t"}, nil
		}}, peertest.OK)
		for _, says := range []string{"waiting for an auth token", "Config.Credentials is not called again: 1 calls have not returned"} {
			_, err := c.Get(t.Context(), GetRequest{Key: "k"})
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v, want one that says %s", err, says)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
	})
}
