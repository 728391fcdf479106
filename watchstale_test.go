package etcd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// interruptions records what hooks and the log say of watches that are not served.
type interruptions struct {
	mu      sync.Mutex // guards the fields below
	stale   []WatchStaleInfo
	resumed []WatchResumeInfo
	log     bytes.Buffer
}

func (i *interruptions) Write(line []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.log.Write(line)
}

func (i *interruptions) config() Config {
	return Config{
		Hooks: Hooks{
			WatchStale: func(info WatchStaleInfo) {
				i.mu.Lock()
				defer i.mu.Unlock()
				i.stale = append(i.stale, info)
			},
			WatchResumed: func(info WatchResumeInfo) {
				i.mu.Lock()
				defer i.mu.Unlock()
				i.resumed = append(i.resumed, info)
			},
		},
		Logger: slog.New(slog.NewTextHandler(i, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// want checks how many watches were reported, in all, as stale and as resumed.
func (i *interruptions) want(t *testing.T, stale, resumed int) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.stale) != stale || len(i.resumed) != resumed {
		t.Errorf("%d stale and %d resumed, want %d and %d", len(i.stale), len(i.resumed), stale, resumed)
	}
	if lines := strings.Count(i.log.String(), "watches are stale"); stale > 0 && (lines == 0 || lines > stale) {
		t.Errorf("%d lines in the log:\n%s", lines, i.log.String())
	}
}

func wantNoPatrol(t *testing.T, c *Client) {
	t.Helper()
	c.watches.mu.Lock()
	defer c.watches.mu.Unlock()
	if c.watches.patrolling {
		t.Error("the patrol goes on")
	}
}

// A member without a leader ends watches, or confirms them and ends them then, again and
// again. Since stays what it was, and the user gets one report.
func TestWatchStale(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, s *watchMemberStream){
		"ended": func(_ *testing.T, s *watchMemberStream) { s.End(errNoLeader) },
		"confirmed and ended": func(t *testing.T, s *watchMemberStream) {
			create := s.created(t)
			time.Sleep(time.Second)
			s.send(watchResponse{Header: ResponseHeader{Revision: 100}, WatchID: create.WatchID}) // progress of its own
			time.Sleep(time.Second)
			s.End(errNoLeader)
		},
		"confirmed and cancelled": func(t *testing.T, s *watchMemberStream) {
			create := s.created(t)
			s.send(watchResponse{WatchID: create.WatchID, Canceled: true, CancelReason: "etcdserver: no leader"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, told := newWatchMember("127.0.0.1:1"), new(interruptions)
				c := watched(t, told.config(), m)
				w, s, _ := begin(t, c, m, WatchRequest{Key: "a"})
				for outage := 1; outage <= 2; outage++ {
					time.Sleep(time.Minute)
					told.want(t, outage-1, outage-1)
					if stats := c.Stats(); stats.Watches != 1 || stats.WatchesWaiting != 0 {
						t.Errorf("served: %+v", stats)
					}
					m.set(func(m *watchMember) { m.readErr = errNoLeader })
					lost := time.Now()
					s.End(errNoLeader)
					for time.Since(lost) < 2*staleAfter {
						synctest.Wait()
						if state := w.State(); state.Err == nil || state.Endpoint != "" || !state.Since.Equal(lost) {
							t.Fatalf("after %v: %+v", time.Since(lost), state)
						}
						if stats := c.Stats(); stats.Watches != 1 || stats.WatchesWaiting != 1 {
							t.Fatalf("after %v: %+v", time.Since(lost), stats)
						}
						leave(t, m.next(t))
						synctest.Wait()
					}
					told.want(t, outage, outage-1)
					info := told.stale[outage-1]
					if info.Key != "a" || info.Revision != 101 || info.Interrupted < staleAfter || info.Interrupted > staleAfter+patrolPause || !errors.Is(info.Err, ErrNoLeader) {
						t.Errorf("stale: %+v", info)
					}

					m.set(func(m *watchMember) { m.readErr = nil })
					s = m.next(t)
					s.created(t)
					time.Sleep(2 * watchAgain)
					told.want(t, outage, outage)
					if got := told.resumed[outage-1]; got.Interrupted < 2*staleAfter || got.Key != "a" || got.Endpoint != m.Address {
						t.Errorf("resumed: %+v", got)
					}
					if state := w.State(); state.Err != nil || state.Endpoint != m.Address {
						t.Errorf("served again: %+v", state)
					}
				}
			})
		})
	}
}

// Events show that a watch is served, while reads are slow.
func TestWatchServedByEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, told := newWatchMember("127.0.0.1:1"), new(interruptions)
		c := watched(t, told.config(), m)
		w, s, _ := begin(t, c, m, WatchRequest{Key: "a"})
		hold := make(chan struct{})
		defer close(hold)
		m.set(func(m *watchMember) { m.revision, m.hold = 105, hold })
		s.End(nil)
		s = m.next(t)
		create := s.created(t)
		synctest.Wait()
		if state := w.State(); state.Err == nil {
			t.Errorf("confirmed: %+v", state)
		}
		s.send(eventsOf(create.WatchID, puts("a", 101, 103)...))
		wantRevisions(t, w, 101, 103)
		told.want(t, 0, 1)
		if got := told.resumed[0]; got.Revision != 101 || got.Behind != 5 {
			t.Errorf("resumed: %+v", got)
		}
		if state := w.State(); state.Err != nil {
			t.Errorf("with an event: %+v", state)
		}
	})
}

// Each watch is reported; a watch that is closed, or that moved in time, is not. Watches
// that are being made are not, and the patrol ends.
func TestWatchesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, told := newWatchMember("127.0.0.1:1"), new(interruptions)
		c := watched(t, told.config(), m)
		var all []*Watcher
		w, s, _ := begin(t, c, m, WatchRequest{Key: "0"})
		for i := range 20 {
			all = append(all, w)
			w, _ = beginOn(t, c, s, WatchRequest{Key: fmt.Sprint(i + 1)})
		}
		m.Down(true)
		m.Cut(nil)
		time.Sleep(staleAfter / 2)
		m.Down(false)
		s = m.next(t)
		for range 21 {
			s.created(t)
		}
		time.Sleep(time.Minute)
		told.want(t, 0, 21)
		wantNoPatrol(t, c)

		m.Down(true)
		m.Cut(nil)
		for _, w := range all[:5] {
			_ = w.Close()
		}
		beginning := make(chan error, 1)
		go func() {
			_, err := c.Watch(soon(t), WatchRequest{Key: "new", Revision: 1})
			beginning <- err
		}()
		time.Sleep(staleAfter / 2)
		if stats := c.Stats(); stats.Watches != 17 || stats.WatchesWaiting != 17 {
			t.Errorf("all members are down: %+v", stats)
		}
		time.Sleep(2 * staleAfter)
		told.want(t, 16, 21)
		if lines := strings.Count(told.log.String(), "watches are stale"); lines != 1 {
			t.Errorf("%d lines in the log:\n%s", lines, told.log.String())
		}
		wantNoPatrol(t, c)
		_ = c.Close()
		if err := <-beginning; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// Regression: when the read after a move was answered by a proxy, with an HTTP status that is
// none of etcd's answers, nobody asked again: the watch did not count as served, and its
// history was not checked.
func TestWatchCheckedAfterAProxysAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
		m.set(func(m *watchMember) {
			m.readErr = &transport.Error{Code: transport.Unimplemented, Outcome: transport.NotSent, Cause: transport.ErrMisconfigured}
		})
		s.End(nil)
		m.next(t).created(t)
		synctest.Wait()
		if m.readCount() == 0 || w.State().Err == nil {
			t.Error("nothing was asked of the member")
		}
		m.set(func(m *watchMember) { m.readErr = nil })
		time.Sleep(2 * watchAgain)
		if state := w.State(); state.Endpoint != m.Address {
			t.Errorf("%+v", state)
		}
	})
}

// Regression: a watch that was served again, or ended, while Hooks.WatchStale was being called
// for another one was reported as stale afterwards, and for good.
func TestWatchStaleIsToldFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		told := make(map[string][]string) // by key
		tell := func(key, what string) {
			mu.Lock()
			defer mu.Unlock()
			told[key] = append(told[key], what)
		}
		first, goOn := make(chan struct{}), make(chan struct{})
		begins := sync.OnceFunc(func() {
			close(first)
			<-goOn
		})
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{Hooks: Hooks{
			WatchStale:   func(info WatchStaleInfo) { tell(info.Key, "stale"); begins() },
			WatchResumed: func(info WatchResumeInfo) { tell(info.Key, "resumed") },
			WatchEnded:   func(info WatchEndInfo) { tell(info.Key, "ended") },
		}}, m)
		_, s, _ := begin(t, c, m, WatchRequest{Key: "a"})
		beginOn(t, c, s, WatchRequest{Key: "b"})
		closed, _ := beginOn(t, c, s, WatchRequest{Key: "c"})
		m.Down(true)
		m.Cut(nil)
		<-first
		_ = closed.Close()
		m.Down(false)
		s = m.next(t)
		s.created(t)
		s.created(t)
		time.Sleep(2 * watchAgain)
		if stats := c.Stats(); stats.Watches != 2 || stats.WatchesWaiting != 0 {
			t.Errorf("%+v", stats)
		}
		close(goOn)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for key, last := range map[string]string{"a": "resumed", "b": "resumed", "c": "ended"} {
			if got := told[key]; !slices.Equal(got, []string{"stale", last}) {
				t.Errorf("%s: %q", key, got)
			}
		}
	})
}

// A hook that takes very long hears of the next outage of a watch after that of the first.
func TestWatchStaleAgainWhileItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		tell := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, what)
		}
		want := func(want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(told, want) {
				t.Errorf("%q, want %q", told, want)
			}
		}
		goOn := make(chan struct{})
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{Hooks: Hooks{
			WatchStale:   func(WatchStaleInfo) { tell("stale"); <-goOn },
			WatchResumed: func(WatchResumeInfo) { tell("resumed") },
		}}, m)
		begin(t, c, m, WatchRequest{Key: "a"})
		for range 2 {
			m.Down(true)
			m.Cut(nil)
			time.Sleep(3 * staleAfter)
			m.Down(false)
			m.next(t).created(t)
			time.Sleep(2 * watchAgain)
		}
		want("stale")
		m.Down(true)
		m.Cut(nil)
		time.Sleep(3 * staleAfter)
		want("stale")
		close(goOn)
		want("stale", "resumed", "resumed")
		time.Sleep(2 * patrolPause)
		want("stale", "resumed", "resumed", "stale")
	})
}
