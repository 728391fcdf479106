package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// readResponses shows the revisions of each response there is, like "5 5|6".
func readResponses(t testing.TB, w *Watcher) string {
	t.Helper()
	synctest.Wait()
	var out []string
	for {
		w.mu.Lock()
		n := len(w.queue)
		w.mu.Unlock()
		if n == 0 {
			return strings.Join(out, "|")
		}
		resp, err := w.Read(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		var revisions []string
		for _, ev := range resp.Events {
			revisions = append(revisions, fmt.Sprint(ev.KV.ModRevision))
		}
		out = append(out, strings.Join(revisions, " "))
	}
}

// A fragment ends anywhere between two events; a revision is delivered when all
// of it is there, and not before.
func TestFragments(t *testing.T) {
	// A fragment is its events' revisions; + says that more follows, ! that the
	// connection is cut instead and the watch resumes.
	for _, test := range []struct {
		fragments []string
		want      string
		next      int64
	}{
		{[]string{"5 6 7"}, "5 6 7", 8},
		{[]string{"5 6 7 +", "8"}, "5 6|7 8", 9},
		{[]string{"5 5 +", "5 5"}, "5 5 5 5", 6},
		{[]string{"5 +", "5 +", "5 +", "5"}, "5 5 5 5", 6},
		{[]string{"5 +", "5 6 +", "6 7"}, "5 5|6 6 7", 8},
		{[]string{"5 +", "6"}, "5 6", 7},
		{[]string{"5 +", "6 +", "7"}, "5|6 7", 8},
		{[]string{"4 5 +", "5", "6"}, "4|5 5|6", 7},
		{[]string{"5 5 +", "!", "5 5 +", "5"}, "5 5 5", 6},
		{[]string{"5 6 +", "!", "6 6 +", "6 7"}, "5|6 6 6 7", 8},
		{[]string{"5 5 +", "5 +", "!", "5 5 5"}, "5 5 5", 6},
		{[]string{"3 4 5 +", "!"}, "3 4", 5},
		{[]string{"3 +", "!"}, "", 3},
		{[]string{"3 4", "!", "3 4 5"}, "3 4|5", 6},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newWatchMember("127.0.0.1:1")
			c := watched(t, Config{}, m)
			w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 3})
			for _, f := range test.fragments {
				if f == "!" {
					synctest.Wait()
					m.Cut(nil)
					s = m.next(t)
					create = s.created(t)
					continue
				}
				var events []Event
				for _, word := range strings.Fields(strings.TrimSuffix(f, "+")) {
					var revision int64
					if _, err := fmt.Sscan(word, &revision); err != nil {
						t.Fatal(err)
					}
					events = append(events, puts("a", revision)...)
				}
				r := eventsOf(create.WatchID, events...)
				r.Fragment = strings.HasSuffix(f, "+")
				s.send(r)
			}
			if got := readResponses(t, w); got != test.want {
				t.Errorf("%q: responses %q, want %q", test.fragments, got, test.want)
			}
			m.Cut(nil)
			if create := m.next(t).created(t); create.StartRevision != test.next {
				t.Errorf("%q: resumed at %d, want %d", test.fragments, create.StartRevision, test.next)
			}
		})
	}
}

// A revision that does not fit is a named end, not a full memory.
func TestRevisionTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 3, Fragment: true})
		events := puts("a", 5)
		events[0].KV.Value = make([]byte, 64<<20)
		r := eventsOf(create.WatchID, events...)
		r.Fragment = true
		for range 5 {
			s.send(r)
		}
		if _, err := w.Read(soon(t)); !errors.Is(err, ErrRevisionTooLarge) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// Creations do not wait for each other's answers: ten thousand watches are back
// after one round trip.
func TestPipelinedResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		streams := map[*watchMemberStream]bool{}
		for range n / watchersPerStream {
			_, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
			streams[s] = true
			for range watchersPerStream - 1 {
				beginOn(t, c, s, WatchRequest{Key: "a", Revision: 101})
			}
		}
		m.Cut(nil)
		// Nothing is answered, and all are asked for.
		creations := 0
		began := time.Now()
		for range n / watchersPerStream {
			s := m.next(t)
			ids := map[int64]bool{}
			for range watchersPerStream {
				r := s.request(t)
				if r.Create == nil || r.Create.WatchID == 0 || ids[r.Create.WatchID] {
					t.Fatalf("request %+v", r)
				}
				ids[r.Create.WatchID] = true
				creations++
			}
		}
		if took := time.Since(began); took > watchBackoff.First {
			t.Errorf("it took %v", took)
		}
	})
}

// A proxy numbers watches itself, etcd's grpc-proxy from 0 on: the ID is that of the
// confirmation, and confirmations come in the order of the creations.
func TestServerNumbersWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		watchers := make(chan *Watcher, 2)
		for _, key := range []string{"a", "b"} {
			go func() {
				w, err := c.Watch(soon(t), WatchRequest{Key: key, Revision: 101})
				if err != nil {
					t.Error(err)
				}
				watchers <- w
			}()
			synctest.Wait()
		}
		s := m.next(t)
		for id := range int64(2) {
			s.request(t)
			s.send(watchResponse{WatchID: id, Created: true})
		}
		s.send(eventsOf(1, puts("b", 101)...), eventsOf(0, puts("a", 102)...))
		for range 2 {
			w := <-watchers
			want := map[string]int64{"a": 102, "b": 101}[w.create.Key]
			wantRevisions(t, w, want)
			_ = w.Close()
			synctest.Wait()
		}
		if r := s.request(t); r.Cancel == nil || r.Cancel.WatchID > 1 {
			t.Errorf("request %+v, want the cancellation of a watch by the server's ID", r)
		}
	})
}

// A stream that ends, or is refused, right after it has confirmed a watch is not opened
// again without a pause: 46,000 streams in five seconds were seen.
func TestConfirmedAndEnded(t *testing.T) {
	for name, end := range map[string]func(s *watchMemberStream, create watchCreateRequest){
		"ended": func(s *watchMemberStream, _ watchCreateRequest) { s.End(nil) },
		"refused": func(s *watchMemberStream, _ watchCreateRequest) {
			s.End(&transport.Error{Code: transport.Unavailable, Message: "etcdserver: no leader", Outcome: transport.Answered})
		},
		"cancelled": func(s *watchMemberStream, create watchCreateRequest) {
			s.send(watchResponse{WatchID: create.WatchID, Canceled: true, CancelReason: "etcdserver: no leader"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newWatchMember("127.0.0.1:1")
				c := watched(t, Config{}, m)
				_, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
				began, streams := time.Now(), 0
				for time.Since(began) < time.Minute {
					end(s, create)
					s = m.next(t)
					create = s.created(t)
					streams++
				}
				if streams < 30 || streams > 150 {
					t.Errorf("%d streams were opened in a minute", streams)
				}
			})
		})
	}
}

// Regression: a watch that was closed after its stream was lost, while the member confirmed
// it on the next one, stayed in the member, and in the client, as long as that stream. Here
// the confirmation comes between the end of the watch and its leaving the stream.
func TestConfirmedWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		closing := func() {}
		c := watched(t, Config{Hooks: Hooks{WatchEnded: func(WatchEndInfo) { closing() }}}, m)
		w, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
		beginOn(t, c, s, WatchRequest{Key: "b", Revision: 101})
		m.Cut(nil)
		s = m.next(t)
		synctest.Wait() // both have been put on it
		const id = 40   // another than on the first stream
		closing = func() {
			closing = func() {} // Close of the client ends b
			if r := s.request(t); r.Create == nil || r.Create.Key[0] != 'a' {
				t.Errorf("request %+v, want the creation of a", r)
			}
			s.send(watchResponse{Header: ResponseHeader{Revision: 100}, WatchID: id, Created: true})
			s.created(t)
			synctest.Wait()
		}
		_ = w.Close()
		if r := s.request(t); r.Cancel == nil || r.Cancel.WatchID != id {
			t.Errorf("request %+v, want the cancellation of watch %d", r, id)
		}
		if watches, streams, _ := c.watches.count(); watches != 1 || streams != 1 {
			t.Errorf("%d watches on %d streams, want one on one", watches, streams)
		}
	})
}

// A slow reader's watch gets its own stream, where the server waits for it;
// its neighbours stay and lose no time.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		fast, s, createFast := begin(t, c, m, WatchRequest{Key: "a", Revision: 1})
		slow, create := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 1, BufferBytes: 10_000})
		large := func(revision int64) Event {
			ev := puts("b", revision)[0]
			ev.KV.Value = make([]byte, 3000)
			return ev
		}
		for revision := int64(1); revision <= 5; revision++ {
			s.send(eventsOf(create.WatchID, large(revision)))
		}
		if r := s.request(t); r.Cancel == nil || r.Cancel.WatchID != create.WatchID {
			t.Fatalf("request %+v, want the cancellation of %d", r, create.WatchID)
		}
		s.send(watchResponse{WatchID: create.WatchID, Canceled: true})
		own := m.next(t)
		create = own.created(t)
		if create.StartRevision != 4 {
			t.Fatalf("it goes on from %d, want 4: 3 responses fit", create.StartRevision)
		}
		for revision := int64(4); revision <= 40; revision++ {
			own.send(eventsOf(create.WatchID, large(revision)))
		}
		// What is not read stays with the server.
		synctest.Wait()
		slow.mu.Lock()
		buffered := slow.buffered
		slow.mu.Unlock()
		if buffered > 15_000 {
			t.Errorf("%d bytes are buffered", buffered)
		}
		s.send(eventsOf(createFast.WatchID, puts("a", 7)...))
		wantRevisions(t, fast, 7)
		// No other watch comes to the slow one's stream.
		beginOn(t, c, s, WatchRequest{Key: "c", Revision: 1})
		var want []int64
		for revision := int64(1); revision <= 40; revision++ {
			want = append(want, revision)
		}
		var got []int64
		for len(got) < len(want) {
			resp, err := slow.Read(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, resp.Events[0].KV.ModRevision)
		}
		if !slices.Equal(got, want) {
			t.Errorf("revisions %v", got)
		}
	})
}

// A member that comes to a stop inside answers PINGs and no reads. Its watches
// move to another member.
func TestQuietStreamOfAStuckMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, good := newWatchMember("127.0.0.1:1"), newWatchMember("127.0.0.1:2")
		good.Down(true)
		c := watched(t, Config{}, stuck, good)
		w, s, _ := begin(t, c, stuck, WatchRequest{Key: "a"})
		good.Down(false)
		// While reads are answered it stays.
		time.Sleep(time.Minute)
		if s.Closed() || stuck.readCount() < 5 {
			t.Fatalf("the stream of a member that answers was closed (%d reads)", stuck.readCount())
		}
		// A member without a leader says so and ends the stream itself.
		stuck.set(func(m *watchMember) { m.readErr = errNoLeader })
		time.Sleep(time.Minute)
		if s.Closed() {
			t.Fatal("the stream of a member that answers was closed")
		}
		stuck.set(func(m *watchMember) { m.hold = make(chan struct{}) })
		began := time.Now()
		next := good.next(t)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it took %v", took)
		} else {
			t.Logf("it took %v", took)
		}
		create := next.created(t)
		if create.StartRevision != 101 {
			t.Errorf("resumed at %d, want 101", create.StartRevision)
		}
		good.set(func(m *watchMember) { m.revision = 101 }) // or a read after the event would answer an older revision
		next.send(eventsOf(create.WatchID, puts("a", 101)...))
		wantRevisions(t, w, 101)
	})
}

// Reopening backs off: fast at first, then seconds apart, never in a tight loop.
func TestWatchBackoff(t *testing.T) {
	refuse := &transport.Error{Code: transport.Unavailable, Message: "etcdserver: no leader", Outcome: transport.Answered}
	for name, break_ := range map[string]func(m *watchMember){
		"streams refused": func(m *watchMember) { m.RefuseStreams(refuse) },
		"streams ended":   nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newWatchMember("127.0.0.1:1")
				c := watched(t, Config{}, m)
				w, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
				began := time.Now()
				if break_ != nil {
					break_(m)
				}
				s.End(refuse)
				if break_ == nil {
					n := 0
					for time.Since(began) < time.Minute {
						s = m.next(t)
						s.End(refuse)
						n++
					}
					if n < 30 || n > 150 {
						t.Errorf("%d streams were opened in a minute", n)
					}
				} else {
					time.Sleep(time.Minute)
					c.watches.mu.Lock()
					n := c.watches.failures
					c.watches.mu.Unlock()
					if n < 30 || n > 150 {
						t.Errorf("%d streams were tried in a minute", n)
					}
				}
				m.RefuseStreams(nil)
				s = m.next(t)
				create := s.created(t)
				if create.StartRevision != 101 {
					t.Errorf("resumed at %d", create.StartRevision)
				}
				s.send(eventsOf(create.WatchID, puts("a", 101)...))
				synctest.Wait()
				c.watches.mu.Lock()
				n := c.watches.failures
				c.watches.mu.Unlock()
				if n != 0 {
					t.Errorf("%d failures are remembered after a success", n)
				}
				_ = w
			})
		})
	}
}

// A watch that is not to wait for a leader moves to a member that has one, and ends
// when that has none either. Others wait.
func TestWatchEndWithoutLeader(t *testing.T) {
	for name, refused := range map[string]bool{"streams end": false, "streams are refused": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newWatchMember("127.0.0.1:1")
				c := watched(t, Config{}, m)
				ends, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 101, EndWithoutLeader: true})
				waits, _ := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 101})
				s.End(errNoLeader)
				s = m.next(t)
				s.created(t)
				s.created(t)
				synctest.Wait()
				if err := ends.State().Err; err != nil {
					t.Fatalf("ended although a member has a leader: %v", err)
				}

				if refused {
					m.RefuseStreams(errNoLeader)
				}
				s.End(errNoLeader)
				if !refused {
					m.next(t).End(errNoLeader)
				}
				if _, err := ends.Read(soon(t)); !errors.Is(err, ErrNoLeader) {
					t.Errorf("ended with %v", err)
				}
				m.RefuseStreams(nil)
				m.next(t).created(t)
				synctest.Wait()
				if state := waits.State(); state.Err != nil {
					t.Errorf("the other one: %+v", state)
				}
			})
		})
	}
}

// A Watch whose context ends before the server has confirmed it leaves nothing
// behind, and no blame.
func TestWatchGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := c.Watch(ctx, WatchRequest{Key: "a", Revision: 1})
			ended <- err
		}()
		s := m.next(t)
		s.request(t)
		cancel()
		var e *Error
		if err := <-ended; !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.Op != "Watch" {
			t.Errorf("Watch: %v", err)
		}
		if !s.Closed() {
			t.Error("its stream is still open")
		}
		c.watches.mu.Lock()
		if n := c.watches.failures; n != 0 {
			t.Errorf("%d failures are held against the members", n)
		}
		c.watches.mu.Unlock()

		// Beside another watch, only its own is cancelled.
		_, s, _ = begin(t, c, m, WatchRequest{Key: "b", Revision: 1})
		ctx, cancel = context.WithCancel(t.Context())
		go func() {
			_, err := c.Watch(ctx, WatchRequest{Key: "c", Revision: 1})
			ended <- err
		}()
		id := s.request(t).Create.WatchID
		cancel()
		<-ended
		s.send(watchResponse{WatchID: id, Created: true})
		if r := s.request(t); r.Cancel == nil || r.Cancel.WatchID != id {
			t.Errorf("request %+v, want the cancellation of %d", r, id)
		}
		if s.Closed() {
			t.Error("the stream of another watch was closed")
		}
	})
}

// Without a server Watch ends with what is wrong, in time.
func TestWatchTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		m.Down(true)
		c := watched(t, Config{Timeout: time.Second, Retry: 2}, m)
		began := time.Now()
		_, err := c.Watch(t.Context(), WatchRequest{Key: "a", Revision: 1})
		if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "refuses") {
			t.Errorf("error %v, want ErrTimeout and the reason", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Close takes every watch with it, those in line for a stream too.
func TestClientCloseEndsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 1})
		s.send(eventsOf(create.WatchID, puts("a", 5)...))
		synctest.Wait()
		m.Down(true)
		m.Cut(nil)
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wantNext(t, w, 5)
		for range 2 {
			if _, err := w.Read(soon(t)); !errors.Is(err, ErrClosed) {
				t.Errorf("Read: %v", err)
			}
		}
		if _, err := c.Watch(t.Context(), WatchRequest{Key: "a", Revision: 1}); !errors.Is(err, ErrClosed) {
			t.Errorf("Watch: %v", err)
		}
		if _, err := c.Watch(t.Context(), WatchRequest{Key: "a"}); !errors.Is(err, ErrClosed) {
			t.Errorf("Watch from now: %v", err)
		}
	})
}

// The current revision is read once for all who ask while a read is under way,
// and never by a read that was sent before they asked.
func TestNowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		hold := make(chan struct{})
		m.hold = hold
		revisions := make(chan int64, 100)
		ask := func(ctx context.Context) {
			go func() {
				revision, err := c.watches.now.read(ctx, "k")
				if err != nil {
					revision = -1
				}
				revisions <- revision
			}()
			synctest.Wait()
		}
		ask(t.Context()) // makes the first read
		m.set(func(m *watchMember) { m.revision = 200 })
		for range 20 {
			ask(t.Context()) // share the next one
		}
		ctx, cancel := context.WithCancel(t.Context())
		ask(ctx)
		cancel()
		if got := <-revisions; got != -1 {
			t.Errorf("the one who gave up got revision %d", got)
		}
		if n := m.readCount(); n != 1 {
			t.Fatalf("%d reads before the first was answered", n)
		}
		m.set(func(m *watchMember) { m.hold = nil })
		close(hold)
		synctest.Wait()
		got := map[int64]int{}
		for range 21 {
			got[<-revisions]++
		}
		if got[100] != 1 || got[200] != 20 {
			t.Errorf("revisions %v, want one of 100 and twenty of 200", got)
		}
		if n := m.readCount(); n != 2 {
			t.Errorf("%d reads, want 2", n)
		}

		// The caller that makes the shared read gives up: the others read for
		// themselves.
		hold = make(chan struct{})
		m.set(func(m *watchMember) { m.hold, m.revision = hold, 300 })
		ask(t.Context())
		ctx, cancel = context.WithCancel(t.Context())
		ask(ctx)
		for range 3 {
			ask(t.Context())
		}
		cancel()
		synctest.Wait()
		close(hold)
		synctest.Wait()
		got = map[int64]int{}
		for range 5 {
			got[<-revisions]++
		}
		if got[300] != 4 || got[-1] != 1 {
			t.Errorf("revisions %v, want four of 300 and one given up", got)
		}
	})
}
