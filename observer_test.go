package etcd

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/peertest/leasetest"
)

// The log got the engine's form of an error, in which no handler finds an *Error.
func TestLoggedErrorsAreErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := errorLog{errs: make(map[string]error)}
		c, _ := scriptedBy(t, Config{Logger: slog.New(&logged), Retry: 1}, stopped)
		if _, err := c.Get(t.Context(), GetRequest{Key: "k"}); !errors.Is(err, ErrServerStopped) {
			t.Fatal(err)
		}
		for text, err := range logged.errs {
			var e *Error
			if !errors.As(err, &e) || e.Op != "Get" {
				t.Errorf("%q has %T: %v", text, err, err)
			}
		}
		if len(logged.errs) != 2 {
			t.Errorf("%d kinds of lines: %v", len(logged.errs), logged.errs)
		}
	})
}

// Handlers that add the trace of a line's context to it got context.Background().
func TestLogLinesHaveTheCallsContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		logged := contextLog{key: key{}, values: make(map[string]any)}
		c, _ := scriptedBy(t, Config{Logger: slog.New(&logged), Retry: 1, Hooks: Hooks{
			Attempt: func(context.Context, AttemptInfo) func(AttemptResult) { panic("for the log") },
		}}, stopped)
		ctx := context.WithValue(t.Context(), key{}, "the trace")
		if _, err := c.Get(ctx, GetRequest{Key: "k"}); !errors.Is(err, ErrServerStopped) {
			t.Fatal(err)
		}
		for _, text := range []string{"attempt failed", "retrying", "callback panicked"} {
			if got := logged.values[text]; got != "the trace" {
				t.Errorf("%q has the value %v", text, got)
			}
		}
		if got, logged := logged.values["connected"]; got != nil || !logged {
			t.Errorf("a connection is of no call: value %v, logged %v", got, logged)
		}
	})
}

// contextLog keeps what key is in the context of each text's last line. It is enabled for
// contexts that have it, and from the info level on.
type contextLog struct {
	slog.Handler
	key    any
	mu     sync.Mutex // guards values
	values map[string]any
}

func (l *contextLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || ctx.Value(l.key) != nil
}

func (l *contextLog) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.values[r.Message] = ctx.Value(l.key)
	return nil
}

// errorLog keeps the last error of each text that is logged with one.
type errorLog struct {
	slog.Handler
	mu   sync.Mutex // guards errs
	errs map[string]error
}

func (l *errorLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *errorLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			l.errs[r.Message] = err
		}
		return true
	})
	return nil
}

// Retries of all operations but the simplest called no Hooks.Retry and were not counted:
// each had its own loop.
func TestRetriesAreReported(t *testing.T) {
	for op, do := range map[string]func(t *testing.T, c *Client) error{
		"Get": func(t *testing.T, c *Client) error {
			_, err := c.Get(t.Context(), GetRequest{Key: "k"})
			return err
		},
		"Grant": func(t *testing.T, c *Client) error {
			_, err := c.Grant(t.Context(), GrantRequest{TTL: time.Hour})
			return err
		},
		"Revoke": func(t *testing.T, c *Client) error {
			_, err := c.Revoke(t.Context(), RevokeRequest{ID: 1})
			return err
		},
		"Adopt": func(t *testing.T, c *Client) error {
			_, err := c.Adopt(t.Context(), 1)
			return err
		},
		"KeepAliveOnce": func(t *testing.T, c *Client) error {
			_, err := c.KeepAliveOnce(t.Context(), KeepAliveRequest{ID: 1})
			return err
		},
		"KeepAlive": func(t *testing.T, c *Client) error {
			s, err := c.KeepAlive(t.Context(), KeepAliveRequest{ID: 1})
			if err == nil {
				_ = s.Close()
			}
			return err
		},
		"Snapshot": func(t *testing.T, c *Client) error {
			s, err := c.Maintenance().Snapshot(t.Context(), SnapshotRequest{})
			if err == nil {
				_, err = io.Copy(io.Discard, s)
				_ = s.Close()
			}
			return err
		},
	} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := leasetest.NewCluster()
				p.Put(1, time.Hour)
				if op == "Snapshot" {
					p.Member("a:1").HandleStreams(sendSnapshot)
				}
				p.Down(true)
				var retries []RetryInfo
				c := scripted(t, p.Cluster, Config{Endpoints: p.Addresses(1), Hooks: Hooks{Retry: func(i RetryInfo) {
					retries = append(retries, i)
					if len(retries) == 3 {
						p.Down(false)
					}
				}}})
				if err := do(t, c); err != nil {
					t.Fatal(err)
				}
				if n := c.Stats().Retries; n != 3 || len(retries) != 3 {
					t.Errorf("3 retries: Stats.Retries is %d, Hooks.Retry was called %d times", n, len(retries))
				}
				for i, r := range retries {
					if r.Op != op || r.Attempt != i+1 || r.Err == nil || r.Err.Op != op || r.Pause < 800*time.Millisecond || r.Pause > 1200*time.Millisecond {
						t.Errorf("retry %d is reported as %+v", i+1, r)
					}
				}
			})
		})
	}
}

// sendSnapshot sends an empty database and its checksum.
func sendSnapshot(s *peertest.Stream) {
	sum := sha256.Sum256(nil)
	s.Send(peertest.AppendBytes(peertest.AppendHeader(nil, 1), 3, sum[:]))
	s.End(nil)
	<-s.Over()
}
