package call

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
)

// An attempt waits out an election within Timeout, without a pause of RetrySleep.
func TestElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, m := scripted(t, Config{Timeout: 2 * time.Second, Retries: 1, RetrySleep: time.Second}, noLeader)
		d, err := took(func() error { return do(t.Context(), e, rpc.Put) })
		var failed *Error
		if !errors.As(err, &failed) || !errors.Is(err, ErrNoLeader) || failed.Attempts != 2 || failed.Outcome != OutcomeRejected || maybeApplied(err) {
			t.Errorf("error %v", err)
		}
		if d < 4*time.Second || d > 5500*time.Millisecond { // two attempts and a pause
			t.Errorf("it took %v", d)
		}
		short := 0
		for _, p := range pauses(m) {
			if p < 500*time.Millisecond {
				if short++; p < 24*time.Millisecond || p > 50*time.Millisecond {
					t.Errorf("a pause of %v", p)
				}
			}
		}
		if n := m.Counts().Calls; n < 70 || n > 180 || short != n-2 {
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
			unbounded := usual
			unbounded.Timeout = 0
			e, _ := scripted(t, unbounded, noLeader)
			ctx, cancel, want := end(t.Context())
			defer cancel()
			d, err := took(func() error { return do(ctx, e, rpc.Put) })
			if d != 30*time.Second {
				t.Errorf("%s: it took %v", name, d)
			}
			// Every request was sent, and the server refused it.
			var failed *Error
			if !errors.Is(err, want) || !errors.Is(err, ErrNoLeader) || !errors.As(err, &failed) || failed.Attempts != 1 || maybeApplied(err) {
				t.Errorf("%s: error %+v", name, failed)
			}
			if !strings.Contains(err.Error(), want.Error()) || !strings.Contains(err.Error(), "no leader") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// An error after time runs out during an election names both.
func TestTimeoutInElection(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		limit  time.Duration // of the context; 0: none
		is     error
	}{
		"Timeout":  {Config{Timeout: time.Second}, 0, ErrTimeout},
		"deadline": {once, time.Second, context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, _ := scripted(t, test.config, append(repeat(noLeader, 5), silence)...)
			ctx, cancel := context.WithCancel(t.Context())
			if test.limit > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), test.limit)
			}
			defer cancel()
			err := do(ctx, e, rpc.Put)
			if !errors.Is(err, test.is) || !errors.Is(err, ErrNoLeader) || !maybeApplied(err) {
				t.Errorf("%s: %v", name, err)
			}
			if text := fmt.Sprint(err); !strings.Contains(text, "no leader") {
				t.Errorf("%s: %s", name, text)
			}
		})
	}
}

// Timeout bounds each attempt; a context's deadline replaces it, and some calls
// have no bound.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := Config{Timeout: time.Second}
		minute, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for name, test := range map[string]struct {
			config Config
			ctx    context.Context
			took   time.Duration
			is     error
		}{
			"ten seconds":             {once, t.Context(), 10 * time.Second, ErrTimeout},
			"a second":                {second, t.Context(), time.Second, ErrTimeout},
			"a deadline in its place": {second, minute, time.Minute, context.DeadlineExceeded},
		} {
			e, _ := scripted(t, test.config, silence)
			d, err := took(func() error { return do(test.ctx, e, rpc.Put) })
			if name != "a deadline in its place" && d != test.took || !errors.Is(err, test.is) || !maybeApplied(err) {
				t.Errorf("%s: %v after %v", name, err, d)
			}
		}
	})
	for name, test := range map[string]struct {
		config Config
		method *rpc.Method
	}{
		"no bound":            {Config{}, rpc.Get},
		"physical compaction": {once, rpc.CompactPhysical},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, m := scripted(t, test.config, reply{After: time.Hour})
			if err := do(t.Context(), e, test.method); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got := m.Calls()[0].Timeout; got != 0 {
				t.Errorf("%s: bounded by %v", name, got)
			}
		})
	}
	// Each attempt of a read gets the whole Timeout.
	synctest.Test(t, func(t *testing.T) {
		e, _ := scripted(t, Config{Retries: 2, Timeout: 3 * time.Second, RetrySleep: 1}, silence)
		d, err := took(func() error { return do(t.Context(), e, rpc.Get) })
		if d.Round(time.Second) != 9*time.Second || !errors.Is(err, ErrTimeout) {
			t.Errorf("%v after %v", err, d)
		}
	})
}

// Timeout also bounds the time to connect, before anything is sent.
func TestTimeoutOfConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, m := scripted(t, Config{Timeout: time.Second}, ok)
		m.OnDial(peertest.Ignore)
		d, err := took(func() error { return do(t.Context(), e, rpc.Put) })
		var failed *Error
		if !errors.As(err, &failed) || !errors.Is(err, ErrTimeout) || failed.Outcome != OutcomeNotSent || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %+v", failed)
		}
		if d != time.Second || !strings.Contains(err.Error(), "a:1") {
			t.Errorf("%v after %v", err, d)
		}
	})
}
