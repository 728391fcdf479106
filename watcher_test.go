package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

// begin makes a watch from a revision on a scripted member and takes its
// creation.
func begin(t testing.TB, c *Client, m *watchMember, req WatchRequest) (*Watcher, *watchMemberStream, watchCreateRequest) {
	t.Helper()
	type result struct {
		w   *Watcher
		err error
	}
	done := make(chan result, 1)
	go func() {
		w, err := c.Watch(t.Context(), req)
		done <- result{w, err}
	}()
	s := m.next(t)
	create := s.created(t)
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.w, s, create
}

// beginOn makes a further watch, whose creation comes on s.
func beginOn(t testing.TB, c *Client, s *watchMemberStream, req WatchRequest) (*Watcher, watchCreateRequest) {
	t.Helper()
	done := make(chan *Watcher, 1)
	go func() {
		w, err := c.Watch(t.Context(), req)
		if err != nil {
			t.Error(err)
		}
		done <- w
	}()
	create := s.created(t)
	return <-done, create
}

// readAll is the revisions of everything that can be read.
func readAll(t testing.TB, w *Watcher) []int64 {
	t.Helper()
	synctest.Wait()
	var out []int64
	for {
		w.mu.Lock()
		n, err := len(w.queue), w.life.err
		w.mu.Unlock()
		if n == 0 {
			if err != nil {
				t.Errorf("the watch has ended: %v", err)
			}
			return out
		}
		resp, err := w.Read(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			out = append(out, ev.KV.ModRevision)
		}
	}
}

func wantRevisions(t testing.TB, w *Watcher, want ...int64) {
	t.Helper()
	if got := readAll(t, w); !slices.Equal(got, want) {
		t.Errorf("events of revisions %v, want %v", got, want)
	}
}

// A progress response may be older than a watch on its stream, and says nothing
// of it then. A watch that took it for its own would drop the events that the
// server is about to replay: two ways in which that comes about.
func TestProgressOlderThanTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		first, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
		first.RequestProgress()
		if s.request(t).Progress == nil {
			t.Fatal("no request for progress")
		}
		m.set(func(m *watchMember) { m.revision = 200 })
		// The member has answered; the answer has been overtaken by the creation.
		w, create := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 50})
		s.send(watchResponse{Header: ResponseHeader{Revision: 200}, WatchID: allWatches})
		s.send(eventsOf(create.WatchID, puts("b", 60, 200)...))
		wantRevisions(t, w, 60, 200)

		// An event that comes before its watch is confirmed is kept back by the
		// member until it is; progress is not.
		m.set(func(m *watchMember) { m.revision = 201 }) // as the responses below say
		done := make(chan *Watcher, 1)
		go func() {
			w, err := c.Watch(t.Context(), WatchRequest{Key: "c", Revision: 201})
			if err != nil {
				t.Error(err)
			}
			done <- w
		}()
		r := s.request(t)
		first.RequestProgress()
		s.request(t)
		s.send(
			watchResponse{Header: ResponseHeader{Revision: 201}, WatchID: allWatches},
			watchResponse{Header: ResponseHeader{Revision: 201}, WatchID: r.Create.WatchID, Created: true},
			eventsOf(r.Create.WatchID, puts("c", 201)...),
		)
		wantRevisions(t, <-done, 201)
	})
}

// Once its watch is older than the question, progress moves it.
func TestProgressMovesTheResumePoint(t *testing.T) {
	for version, trusted := range map[string]bool{
		"3.5.12": false, "3.5.13": true, "3.5.27": true, "3.6.0": true, "3.6.0-rc.1": true, "3.7.3": true, "3.4.30": false,
		"4.0.0": true, "": false, "three": false, "3.5": false, "3.5.x": false,
	} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newWatchMember("127.0.0.1:1")
				m.version = version
				c := watched(t, Config{}, m)
				one, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
				two, createTwo := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 101})
				// For one watch, and for all of them.
				m.set(func(m *watchMember) { m.revision = 200 })
				s.send(watchResponse{Header: ResponseHeader{Revision: 120}, WatchID: create.WatchID})
				s.send(watchResponse{Header: ResponseHeader{Revision: 110}, WatchID: allWatches})
				synctest.Wait()
				s.End(nil)
				s = m.next(t)
				got := []int64{s.created(t).StartRevision, s.created(t).StartRevision}
				slices.Sort(got)
				want := []int64{101, 101}
				if trusted {
					want = []int64{111, 121}
				}
				if !slices.Equal(got, want) {
					t.Errorf("resumed at %v, want %v", got, want)
				}
				_, _, _ = one, two, createTwo
			})
		})
	}
}

// Found by the soak: a member that was shutting down sent progress to a watch and no
// longer answered for its version. The reader got the progress, the watch resumed at
// an earlier revision, and that revision was compacted.
func TestProgressWhileTheVersionIsUnknown(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		told bool
	}{
		"no new calls": {&transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: "draining"}, false},
		"cut":          {&transport.Error{Code: transport.Unavailable, Outcome: transport.MaybeSent, Message: "connection lost"}, false},
		"no leader":    {&transport.Error{Code: transport.Unavailable, Outcome: transport.Answered, Message: "etcdserver: no leader"}, false},
		"not allowed":  {&transport.Error{Code: transport.PermissionDenied, Outcome: transport.Answered, Message: "etcdserver: permission denied"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newWatchMember("127.0.0.1:1")
				m.statusErr = test.err
				c := watched(t, Config{}, m)
				w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 101, ProgressNotify: true})
				m.set(func(m *watchMember) { m.revision = 200 })
				s.send(watchResponse{Header: ResponseHeader{Revision: 120}, WatchID: create.WatchID})
				synctest.Wait()
				w.mu.Lock()
				n := len(w.queue)
				told := n > 0 && w.queue[n-1].resp.Header.Revision == 120 // and not 100, where it began
				w.mu.Unlock()
				if told != test.told {
					t.Errorf("told of the progress: %v, want %v", told, test.told)
				}
				// To the next stream the member says its version.
				m.set(func(m *watchMember) { m.statusErr = nil })
				s.End(nil)
				s = m.next(t)
				if create = s.created(t); create.StartRevision != 101 {
					t.Errorf("resumed at %d, want 101", create.StartRevision)
				}
				s.send(watchResponse{Header: ResponseHeader{Revision: 130}, WatchID: create.WatchID})
				synctest.Wait()
				s.End(nil)
				if got := m.next(t).created(t).StartRevision; got != 131 {
					t.Errorf("resumed at %d, want 131", got)
				}
			})
		})
	}
}

// It resumes behind the last event, whatever a server sends again.
func TestResumeAtNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 50})
		if create.StartRevision != 50 || create.WatchID == 0 {
			t.Errorf("creation %+v", create)
		}
		s.send(eventsOf(create.WatchID, puts("a", 50, 60)...), eventsOf(create.WatchID, puts("a", 70)...))
		synctest.Wait()
		m.Cut(nil)
		s = m.next(t)
		create = s.created(t)
		if create.StartRevision != 71 {
			t.Errorf("resumed at %d, want 71", create.StartRevision)
		}
		s.send(eventsOf(create.WatchID, puts("a", 60, 70, 80)...))
		wantRevisions(t, w, 50, 60, 70, 80)
		// Without an event in between it resumes where it was.
		s.End(nil)
		if create := m.next(t).created(t); create.StartRevision != 81 {
			t.Errorf("resumed at %d, want 81", create.StartRevision)
		}
	})
}

// With NotifyResume, a response between the events of two streams says that the second has
// taken the watch over. The first confirmation is no resumption.
func TestNotifyResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 50, NotifyResume: true})
		s.send(eventsOf(create.WatchID, puts("a", 50)...))
		synctest.Wait()
		m.set(func(m *watchMember) { m.revision = 120 })
		s.End(nil)
		s = m.next(t)
		s.send(eventsOf(s.created(t).WatchID, puts("a", 110)...))
		for i, want := range []WatchResponse{{Header: ResponseHeader{Revision: 50}}, {Header: ResponseHeader{Revision: 120}, Resumed: true}, {Header: ResponseHeader{Revision: 110}}} {
			r, err := w.Read(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			if r.Header.Revision != want.Header.Revision || r.Resumed != want.Resumed || r.Resumed == (len(r.Events) > 0) || r.IsProgress() {
				t.Errorf("response %d is %+v, want one like %+v", i, r, want)
			}
		}
	})
}

// A watch that has seen nothing yet resumes at its start, also from revision 0.
func TestResumeBeforeTheFirstEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a"})
		if create.StartRevision != 101 || w.Revision() != 101 {
			t.Errorf("created at %d, Revision is %d; want 101", create.StartRevision, w.Revision())
		}
		m.set(func(m *watchMember) { m.revision = 150 })
		s.End(nil)
		if create := m.next(t).created(t); create.StartRevision != 101 {
			t.Errorf("resumed at %d, want 101", create.StartRevision)
		}
	})
}

// A cluster that has lost revisions ends the watches that knew of them, also
// those that have had no event.
func TestHistoryReset(t *testing.T) {
	for name, test := range map[string]struct {
		req   WatchRequest
		event int64 // 0: none
		back  int64 // the revision the cluster is found at
		reset bool
	}{
		"from now, idle":                  {WatchRequest{Key: "a"}, 0, 99, true},
		"from now, nothing lost":          {WatchRequest{Key: "a"}, 0, 100, false},
		"an event lost":                   {WatchRequest{Key: "a", Revision: 90}, 110, 109, true},
		"no event lost":                   {WatchRequest{Key: "a", Revision: 90}, 110, 110, false},
		"an event of before its creation": {WatchRequest{Key: "a", Revision: 90}, 95, 99, true},
		"the revision of its creation":    {WatchRequest{Key: "a", Revision: 90}, 0, 99, true},
		"a future revision is not missed": {WatchRequest{Key: "a", Revision: 1000}, 0, 100, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newWatchMember("127.0.0.1:1")
				c := watched(t, Config{}, m)
				w, s, create := begin(t, c, m, test.req)
				if test.event > 0 {
					s.send(eventsOf(create.WatchID, puts("a", test.event)...))
					wantRevisions(t, w, test.event)
				}
				m.set(func(m *watchMember) { m.revision = test.back })
				m.Cut(nil)
				if s := m.next(t); !test.reset {
					s.created(t)
				}
				wantEnd(t, w, test.reset)
			})
		})
	}
}

// A watch that begins after the store was replaced, at a revision that the client has from
// before, would wait for revisions of another history. The confirmation shows that the
// member has fewer revisions than the client has seen; a linearizable read shows whether
// the others have them.
func TestWatchBeginsAfterAReset(t *testing.T) {
	for name, test := range map[string]struct {
		read      int64 // what linearizable reads show before the watch, 0: there is none
		told      bool  // another caller has learned of the reset
		confirmed int64 // the revision at which the watch is confirmed
		now       int64 // the store's then
		from      int64 // where the watch begins
		reset     bool
	}{
		"wiped":                                 {100, false, 1, 1, 101, true},
		"set back":                              {100, false, 60, 60, 101, true},
		"set back behind where it begins":       {100, false, 60, 60, 50, true},
		"a member that is behind":               {100, false, 60, 100, 101, false},
		"a member that is behind, newer store":  {100, false, 60, 200, 101, false},
		"a member and the watch are behind":     {100, false, 60, 100, 50, false},
		"nothing was seen":                      {0, false, 1, 1, 101, false},
		"wiped, and another caller was told":    {100, true, 1, 1, 101, true},
		"set back, and another caller was told": {100, true, 60, 60, 80, true},
		"told, and a member that is behind":     {100, true, 40, 60, 61, false},
		"told, and from the new history":        {100, true, 60, 60, 61, false},
		"told, and a revision to come":          {100, true, 60, 60, 1000, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newWatchMember("127.0.0.1:1")
				c := watched(t, Config{}, m)
				at := func(revision int64) { m.set(func(m *watchMember) { m.revision = revision }) }
				get := func() error {
					_, err := c.Get(soon(t), GetRequest{Key: "a"})
					return err
				}
				if at(test.read); test.read > 0 {
					if err := get(); err != nil {
						t.Fatal(err)
					}
				}
				if at(test.now); test.told {
					if err := get(); !errors.Is(err, ErrHistoryReset) {
						t.Fatalf("error %v, want ErrHistoryReset", err)
					}
				}
				m.set(func(m *watchMember) { m.confirms = test.confirmed })
				w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: test.from})
				if !test.reset {
					time.Sleep(time.Minute)
				}
				wantEnd(t, w, test.reset) // at once
				if test.reset {
					// The watch has reported it, so no read does; and the next watch lives.
					if err := get(); err != nil {
						t.Errorf("a read: %v", err)
					}
					next, _, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: test.now + 1})
					time.Sleep(time.Minute)
					wantEnd(t, next, false)
					return
				}
				at(max(test.now, test.from))
				s.send(eventsOf(create.WatchID, puts("a", test.from)...))
				wantRevisions(t, w, test.from)
			})
		})
	}
}

// While no answer tells a wiped store from a member that is behind, the watch lives.
func TestWatchBeginsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		if _, err := c.Get(soon(t), GetRequest{Key: "a"}); err != nil {
			t.Fatal(err)
		}
		m.set(func(m *watchMember) { m.revision, m.readErr = 1, errNoLeader })
		w, _, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
		time.Sleep(time.Minute)
		wantEnd(t, w, false)
		m.set(func(m *watchMember) { m.readErr = nil })
		time.Sleep(2 * watchAgain)
		wantEnd(t, w, true)
	})
}

// The check of history is made again when it fails.
func TestHistoryResetAfterAFailedCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, _, _ := begin(t, c, m, WatchRequest{Key: "a"})
		m.set(func(m *watchMember) { m.revision, m.readErr = 50, errNoLeader })
		m.Cut(nil)
		m.next(t).created(t)
		synctest.Wait()
		m.set(func(m *watchMember) { m.readErr = nil })
		time.Sleep(30 * time.Second)
		wantEnd(t, w, true)
	})
}

// A creation that the server refuses has no id in its answer: it is the oldest
// that is unanswered.
func TestRefusedCreations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		_, s, _ := begin(t, c, m, WatchRequest{Key: "first", Revision: 1})
		type result struct {
			w   *Watcher
			err error
		}
		results := map[string]chan result{}
		ids := map[string]int64{}
		for _, key := range []string{"a", "no b", "c", "no d", "no e", "f"} {
			done := make(chan result, 1)
			results[key] = done
			go func() {
				w, err := c.Watch(t.Context(), WatchRequest{Key: key, Revision: 1})
				done <- result{w, err}
			}()
			r := s.request(t)
			ids[r.Create.Key] = r.Create.WatchID
		}
		for _, key := range []string{"a", "no b", "c", "no d", "no e", "f"} {
			if key[0] == 'n' {
				s.send(watchResponse{WatchID: -1, Created: true, Canceled: true, CancelReason: "rpc error: code = PermissionDenied desc = etcdserver: permission denied"})
			} else {
				s.send(watchResponse{WatchID: ids[key], Created: true})
			}
		}
		for key, done := range results {
			r := <-done
			if key[0] != 'n' {
				if r.err != nil {
					t.Errorf("%s: %v", key, r.err)
				}
				s.send(eventsOf(ids[key], puts(key, 7)...))
				wantRevisions(t, r.w, 7)
				continue
			}
			var e *Error
			if !errors.Is(r.err, ErrPermissionDenied) || !errors.As(r.err, &e) || e.Code != CodePermissionDenied {
				t.Errorf("%s: error %v, want ErrPermissionDenied", key, r.err)
			}
		}
		if s.Closed() {
			t.Error("the stream was closed for refused watches")
		}
	})
}

// HistoryLost is for the ends after which the keys must be read again.
func TestHistoryLost(t *testing.T) {
	for _, err := range []error{
		ErrCompacted, ErrHistoryReset, ErrRevisionTooLarge, &CompactedError{Revision: 5},
		&Error{cause: &CompactedError{Revision: 5}}, fmt.Errorf("following: %w", &Error{sentinel: ErrHistoryReset}),
	} {
		if !HistoryLost(err) {
			t.Errorf("%v", err)
		}
	}
	for _, err := range []error{nil, ErrWatchClosed, ErrClosed, ErrPermissionDenied, ErrUnavailable, context.Canceled} {
		if HistoryLost(err) {
			t.Errorf("%v", err)
		}
	}
}

// A permission that is gone when the watch must be made again ends it, by name;
// its neighbours go on.
func TestPermissionGoneAtResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 50})
		other, _ := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 50})
		s.send(eventsOf(create.WatchID, puts("a", 60)...))
		synctest.Wait()
		m.Cut(nil)
		s = m.next(t)
		for range 2 {
			switch r := s.request(t); r.Create.Key {
			case "a":
				s.send(watchResponse{WatchID: -1, Created: true, Canceled: true, CancelReason: "rpc error: code = PermissionDenied desc = etcdserver: permission denied"})
			case "b":
				s.send(watchResponse{WatchID: r.Create.WatchID, Created: true}, eventsOf(r.Create.WatchID, puts("b", 70)...))
			}
		}
		wantNext(t, w, 60)
		if _, err := w.Read(soon(t)); !errors.Is(err, ErrPermissionDenied) {
			t.Errorf("the watch ended with %v", err)
		}
		wantRevisions(t, other, 70)
	})
}

// Why a server ends a watch, in the texts of etcd 3.5 to 3.7, and what becomes
// of it.
func TestCancelReasons(t *testing.T) {
	for reason, test := range map[string]struct {
		code Code
		is   error
	}{
		"rpc error: code = PermissionDenied desc = etcdserver: permission denied": {CodePermissionDenied, ErrPermissionDenied},
		"rpc error: code = InvalidArgument desc = etcdserver: user name is empty": {CodeInvalidArgument, ErrUnauthenticated},
		"rpc error: code = Unauthenticated desc = etcdserver: invalid auth token": {CodeUnauthenticated, ErrInvalidAuthToken},
		"etcdserver: permission denied":                                           {CodeUnknown, ErrPermissionDenied},
		"mvcc: duplicate watch ID":                                                {CodeUnknown, nil},
		"":                                                                        {CodeUnknown, nil},
		"rpc error: code = Whatever desc = no such code":                          {CodeUnknown, nil},
		"rpc error: code = OutOfRange desc = etcdserver: mvcc: required revision has been compacted": {CodeOutOfRange, ErrCompacted},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newWatchMember("127.0.0.1:1")
			c := watched(t, Config{}, m)
			w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
			s.send(eventsOf(create.WatchID, puts("a", 105)...),
				watchResponse{WatchID: create.WatchID, Canceled: true, CancelReason: reason})
			wantNext(t, w, 105)
			_, err := w.Read(soon(t))
			var e *Error
			if !errors.As(err, &e) || e.Code != test.code || test.is != nil && !errors.Is(err, test.is) || e.Message == "" {
				t.Errorf("%q: error %v, want %v, %v", reason, err, test.code, test.is)
			}
			if _, again := w.Read(soon(t)); again != err {
				t.Errorf("a second Read returned %v", again)
			}
			// It was the only one, so its stream goes too.
			if !s.Closed() {
				t.Errorf("%q: its stream is still open", reason)
			}
		})
	}
}

// What may pass is tried again: the watch goes to another stream.
func TestTransientCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 50})
		s.send(eventsOf(create.WatchID, puts("a", 60)...), watchResponse{
			WatchID: create.WatchID, Canceled: true, CancelReason: "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
		})
		s = m.next(t)
		if create = s.created(t); create.StartRevision != 61 {
			t.Errorf("created again at %d, want 61", create.StartRevision)
		}
		s.send(eventsOf(create.WatchID, puts("a", 61)...))
		wantRevisions(t, w, 60, 61)
	})
}

// wantNext reads one response.
func wantNext(t testing.TB, w *Watcher, revision int64) {
	t.Helper()
	resp, err := w.Read(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Events[len(resp.Events)-1].KV.ModRevision; got != revision {
		t.Errorf("an event of revision %d, want %d", got, revision)
	}
}

// wantEnd checks whether the watch has ended with ErrHistoryReset.
func wantEnd(t testing.TB, w *Watcher, reset bool) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	err := w.life.err
	w.mu.Unlock()
	if errors.Is(err, ErrHistoryReset) != reset || !reset && err != nil {
		t.Errorf("the watch ended with %v; history reset: %v", err, reset)
	}
}

var errNoLeader = &transport.Error{Code: transport.Unavailable, Message: "etcdserver: no leader", Outcome: transport.Answered}

// What happens while the server begins a watch it sends without previous values
// (robustness scenario 17). It is asked again, and at last taken as it is.
func TestPreviousValuesThatAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := func(rev int64) Event {
			return Event{KV: KeyValue{Key: "a", ModRevision: rev, Version: 2}, PrevKV: &KeyValue{Key: "a", ModRevision: 1, Version: 1}}
		}
		without := func(rev int64) Event {
			return Event{KV: KeyValue{Key: "a", ModRevision: rev, Version: 2}}
		}
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 50, PrevKV: true})
		// A key that is new has no previous value; the next one is in doubt.
		s.send(eventsOf(create.WatchID, puts("a", 50)...), eventsOf(create.WatchID, without(51)))
		s = m.next(t)
		create = s.created(t)
		if create.StartRevision != 51 {
			t.Errorf("created again with %+v", create)
		}
		s.send(eventsOf(create.WatchID, with(51)), eventsOf(create.WatchID, without(52))) // now it is a compaction's work
		wantRevisions(t, w, 50, 51, 52)

		s.End(nil)
		for range maxIncomplete {
			s = m.next(t)
			s.send(eventsOf(s.created(t).WatchID, without(53)))
		}
		s = m.next(t)
		s.send(eventsOf(s.created(t).WatchID, Event{Type: EventDelete, KV: KeyValue{Key: "a", ModRevision: 53}}))
		wantRevisions(t, w, 53)
	})
}
