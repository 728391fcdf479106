package etcd

import (
	"testing"
	"testing/synctest"
)

// A response that is too large for its stream is asked for again: whole when it
// has many small events, in fragments when they are large. Other watches go on.
func TestLargeResponses(t *testing.T) {
	large := func(n, size int) []Event {
		events := puts("a", make([]int64, n)...)
		for i := range events {
			events[i].KV.ModRevision, events[i].KV.Value = 5, make([]byte, size)
		}
		return events
	}
	for name, test := range map[string]struct {
		req      WatchRequest
		events   []Event
		resumes  int
		fragment bool // at last
	}{
		"small":           {WatchRequest{}, large(100, 1000), 0, false},
		"asked for":       {WatchRequest{Fragment: true}, large(100, 1000), 0, true},
		"asked for, huge": {WatchRequest{Fragment: true}, large(20, 1<<20), 0, true},
		"small events":    {WatchRequest{}, large(17<<10, 1000), 1, false},
		"large events":    {WatchRequest{}, large(20, 1<<20), 1, true},
		"at the border":   {WatchRequest{}, large(9<<10, cheapFragments), 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newWatchMember("127.0.0.1:1")
				c := watched(t, Config{}, m)
				test.req.Key, test.req.Revision = "a", 3
				w, s, create := begin(t, c, m, test.req)
				var other *Watcher
				if !test.req.Fragment {
					other, _ = beginOn(t, c, s, WatchRequest{Key: "b", Revision: 3})
				}
				for range test.resumes {
					if create.Fragment {
						t.Fatal("fragments are asked for already")
					}
					s.send(eventsOf(create.WatchID, test.events...))
					if other == nil {
						s, create = nextOf(t, m, "a")
						continue
					}
					streams := map[string]*watchMemberStream{}
					for range 2 {
						s := m.next(t)
						again := s.created(t)
						streams[again.Key] = s
						if again.Key == "a" {
							create = again
						} else if again.Fragment {
							t.Error("the other watch asks for fragments")
						}
					}
					s = streams["a"]
					streams["b"].send(eventsOf(1, puts("b", 9)...))
					wantNext(t, other, 9)
					_ = other.Close()
					other = nil
				}
				if create.Fragment != test.fragment {
					t.Errorf("Fragment is %v, want %v", create.Fragment, test.fragment)
				}
				for i := range test.events {
					r := eventsOf(create.WatchID, test.events[i])
					r.Fragment = i < len(test.events)-1
					if !test.fragment {
						r = eventsOf(create.WatchID, test.events...)
					}
					s.send(r)
					if !test.fragment {
						break
					}
				}
				resp, err := w.Read(soon(t))
				if err != nil || len(resp.Events) != len(test.events) {
					t.Fatalf("response %v, error %v", resp, err)
				}
			})
		})
	}
}

// Whatever is not small enough whole comes in fragments in the end.
func TestWiden(t *testing.T) {
	for _, test := range []struct {
		intake     intake
		eventBytes int
		want       intake
	}{
		{intakeWhole, 1, intakeLarge},
		{intakeWhole, cheapFragments - 1, intakeLarge},
		{intakeWhole, cheapFragments, intakeFragments},
		{intakeWhole, 0, intakeFragments}, // unknown
		{intakeLarge, 1, intakeFragments},
		{intakeLarge, 0, intakeFragments},
	} {
		w := &Watcher{intake: test.intake, maxBuffer: defaultWatchBuffer}
		if w.widen(test.eventBytes); w.intake != test.want {
			t.Errorf("%d with events of %d bytes becomes %d, want %d", test.intake, test.eventBytes, w.intake, test.want)
		}
		if limit := w.kind().maxMessage; (limit == 0) != (w.intake == intakeFragments) {
			t.Errorf("%d has a limit of %d", w.intake, limit)
		}
	}
}

// nextOf is the next stream on which the watch of a key is made.
func nextOf(t testing.TB, m *watchMember, key string) (*watchMemberStream, watchCreateRequest) {
	t.Helper()
	s := m.next(t)
	create := s.created(t)
	if create.Key != key {
		t.Fatalf("a watch of %s is made, want %s", create.Key, key)
	}
	return s, create
}

// What is read off the head of a response, and what of one that is cut short.
func TestPeekWatchResponse(t *testing.T) {
	events := puts("key", 5, 6, 7)
	for i := range events {
		events[i].KV.Value = make([]byte, 100*(i+1))
	}
	msg := appendWatchResponse(eventsOf(77, events...))
	for n := range len(msg) + 1 {
		id, size := peekWatchResponse(msg[:n])
		if id != 0 && id != 77 || size < 0 || size > 330 {
			t.Errorf("%d bytes of %d: watch %d, events of %d bytes", n, len(msg), id, size)
		}
	}
	if id, size := peekWatchResponse(msg); id != 77 || size < 210 || size > 230 {
		t.Errorf("watch %d, events of %d bytes", id, size)
	}
}
