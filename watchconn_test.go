package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/leaktest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Watches leave a member that has gone silent for another one, behind the last
// event; where there is none, or the silence was short, they stay.
func TestWatchFleesSuspects(t *testing.T) {
	for name, test := range map[string]struct {
		other func(m *watchMember) // what becomes of the other member; nil: there is none
		flees bool
	}{
		"another is up":    {func(m *watchMember) { m.Down(false) }, true},
		"another is down":  {func(*watchMember) {}, false},
		"no other":         {nil, false},
		"both are suspect": {func(m *watchMember) { m.Down(false); m.TurnSuspect() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one, two := newWatchMember("127.0.0.1:1"), newWatchMember("127.0.0.1:2")
				two.Down(true)
				members := []*watchMember{one, two}
				if test.other == nil {
					members = members[:1]
				}
				c := watched(t, Config{}, members...)
				w, s, create := begin(t, c, one, WatchRequest{Key: "a", Revision: 50})
				s.send(eventsOf(create.WatchID, puts("a", 60)...))
				wantNext(t, w, 60)
				if test.other != nil {
					test.other(two)
				}
				began := time.Now()
				one.TurnSuspect()
				if !test.flees {
					time.Sleep(time.Second)
					if s.Closed() {
						t.Fatal("the stream was left for nothing better")
					}
					s.send(eventsOf(create.WatchID, puts("a", 61)...))
					wantNext(t, w, 61)
					return
				}
				s = two.next(t)
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("it took %v", took)
				}
				if create = s.created(t); create.StartRevision != 61 {
					t.Errorf("it goes on from %d, want 61", create.StartRevision)
				}
				s.send(eventsOf(create.WatchID, puts("a", 61)...))
				wantNext(t, w, 61)
			})
		})
	}
}

// A suspicion that has passed before it is looked into moves nothing.
func TestWatchForgetsSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newWatchMember("127.0.0.1:1"), newWatchMember("127.0.0.1:2")
		two.Down(true)
		c := watched(t, Config{}, one, two)
		_, s, _ := begin(t, c, one, WatchRequest{Key: "a", Revision: 50})
		two.Down(false)
		s.Request().OnSuspect()
		time.Sleep(time.Second)
		if s.Closed() {
			t.Error("the stream was left")
		}
	})
}

// The idle streams of a connection share one read.
func TestOneProbeAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		var streams []*watchMemberStream
		var all []*Watcher
		for range 5 {
			w, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
			streams, all = append(streams, s), append(all, w)
			for range watchersPerStream - 1 {
				w, _ := beginOn(t, c, s, WatchRequest{Key: "a", Revision: 101})
				all = append(all, w)
			}
		}
		time.Sleep(time.Minute)
		if n := m.readCount(); n < 10 || n > 12 {
			t.Errorf("%d reads in a minute", n)
		}
		// One of them that hears something does not speak for the others.
		streams[0].send(eventsOf(1, puts("a", 105)...))
		time.Sleep(time.Minute)
		if n := m.readCount(); n < 20 || n > 24 {
			t.Errorf("%d reads in two minutes", n)
		}
		for _, w := range all {
			_ = w.Close()
		}
		synctest.Wait()
		before := m.readCount()
		time.Sleep(time.Minute)
		if n := m.readCount(); n != before {
			t.Errorf("%d reads for no watch", n-before)
		}
		c.watches.mu.Lock()
		defer c.watches.mu.Unlock()
		if n := len(c.watches.conns); n != 0 {
			t.Errorf("%d connections are still looked after", n)
		}
	})
}

// A watch whose reader was slow shares a stream again once it has kept up for a
// while, and loses nothing on the way.
func TestSlowReaderRejoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		_, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 1})
		slow, create := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 1, BufferBytes: 100})
		large := func(revision int64) Event {
			ev := puts("b", revision)[0]
			ev.KV.Value = make([]byte, 200)
			return ev
		}
		s.send(eventsOf(create.WatchID, large(1)), eventsOf(create.WatchID, large(2)))
		if s.request(t).Cancel == nil {
			t.Fatal("it was not cancelled")
		}
		own := m.next(t)
		create = own.created(t)
		if !slow.State().SlowReader {
			t.Error("its state does not say that it is slow")
		}
		own.send(eventsOf(create.WatchID, large(2)))
		time.Sleep(2 * rejoinAfter)
		if own.Closed() {
			t.Fatal("it was moved though its reader is still slow")
		}
		wantNext(t, slow, 1)
		wantNext(t, slow, 2)
		create = s.created(t)
		if create.StartRevision != 3 || slow.State().SlowReader {
			t.Errorf("it goes on from %d, state %+v", create.StartRevision, slow.State())
		}
		s.send(eventsOf(create.WatchID, large(3)))
		wantNext(t, slow, 3)
	})
}

// The server is silent about progress while a watch waits for a revision to come.
// A read tells such a watch that it has missed nothing, and nothing else.
func TestProgressAheadOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1") // at revision 100
		c := watched(t, Config{}, m)
		w, s, _ := begin(t, c, m, WatchRequest{Key: "a"})
		far, _ := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 1000})
		old, _ := beginOn(t, c, s, WatchRequest{Key: "c", Revision: 50})
		for range 2 {
			for _, w := range []*Watcher{w, far} {
				start := time.Now()
				w.RequestProgress()
				resp, err := w.Read(soon(t))
				if err != nil || !resp.IsProgress() || resp.Header.Revision != 100 || time.Since(start) > 0 {
					t.Errorf("response %+v, error %v after %v", resp, err, time.Since(start))
				}
			}
		}
		old.RequestProgress()
		time.Sleep(time.Minute)
		if n := old.State().BufferedBytes; n != 0 {
			t.Errorf("%d bytes for a watch that may be behind", n)
		}

		// The store has changed, and w has not received the change: only the server may
		// report progress.
		m.set(func(m *watchMember) { m.revision = 102 })
		w.RequestProgress()
		time.Sleep(time.Minute)
		if n := w.State().BufferedBytes; n != 0 {
			t.Errorf("%d bytes of an answer that nobody can give", n)
		}
		s.send(eventsOf(1, puts("a", 102)...))
		wantRevisions(t, w, 102)
		w.RequestProgress() // behind that there is nothing
		if resp, err := w.Read(soon(t)); err != nil || !resp.IsProgress() || resp.Header.Revision != 102 {
			t.Errorf("response %+v, error %v", resp, err)
		}
	})
}

// Progress that was asked for is asked for again until it is answered, on this
// stream and the next, and then no more.
func TestProgressIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 100})
		asked := func(s *watchMemberStream) (n int) {
			for _, msg := range s.Came() {
				if readWatchRequest(msg).Progress != nil {
					n++
				}
			}
			return n
		}
		w.RequestProgress()
		time.Sleep(4*watchAgain + watchAgain/2)
		if n := asked(s); n != 5 {
			t.Errorf("asked %d times, want 5", n)
		}
		s.End(nil)
		s = m.next(t)
		s.created(t)
		if n := asked(s); n != 1 {
			t.Errorf("asked %d times on the next stream, want 1", n)
		}
		s.send(watchResponse{Header: ResponseHeader{Revision: 100}, WatchID: allWatches})
		if resp, err := w.Read(soon(t)); err != nil || !resp.IsProgress() || resp.Header.Revision != 100 {
			t.Errorf("response %v, error %v", resp, err)
		}
		asked(s)
		time.Sleep(time.Minute)
		if n := asked(s); n != 0 {
			t.Errorf("asked %d times after the answer", n)
		}
		// A watch that has ended wants no answer.
		other, _ := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 101})
		other.RequestProgress()
		_ = other.Close()
		asked(s)
		time.Sleep(2 * watchAgain)
		asked(s)
		time.Sleep(time.Minute)
		if n := asked(s); n != 0 {
			t.Errorf("asked %d times for a watch that has ended", n)
		}
	})
}

// On a stream with unanswered questions a further watch gets its answer too,
// though the revision stands still.
func TestProgressAfterUnansweredQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		first, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
		first.RequestProgress()
		if s.request(t).Progress == nil {
			t.Fatal("no request for progress")
		}
		w, _ := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 50})
		w.RequestProgress()
		for range 2 { // the first may be from before w
			if s.request(t).Progress == nil {
				t.Fatal("no request for progress")
			}
			synctest.Wait()
			w.mu.Lock()
			n := len(w.queue)
			w.mu.Unlock()
			if n != 0 {
				t.Fatal("it took an answer that may be older than itself")
			}
			s.send(watchResponse{Header: ResponseHeader{Revision: 100}, WatchID: allWatches})
		}
		if resp, err := w.Read(soon(t)); err != nil || !resp.IsProgress() {
			t.Errorf("response %v, error %v", resp, err)
		}
	})
}

// State says who serves a watch, and why nobody does.
func TestWatchState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 50})
		if state := w.State(); state.Endpoint != m.Address || state.Err != nil || !state.Since.IsZero() || state.NextRevision != 50 {
			t.Errorf("served: %+v", state)
		}
		s.send(eventsOf(create.WatchID, puts("a", 60)...))
		synctest.Wait()
		if state := w.State(); state.NextRevision != 61 || state.BufferedBytes == 0 {
			t.Errorf("with an event: %+v", state)
		}
		m.Down(true)
		m.Cut(nil)
		lost := time.Now()
		time.Sleep(time.Minute)
		if state := w.State(); state.Endpoint != "" || !errors.Is(state.Err, ErrUnavailable) || state.Since != lost {
			t.Errorf("all members are down: %+v", state)
		}
		m.Down(false)
		m.next(t).created(t)
		synctest.Wait()
		if state := w.State(); state.Endpoint != m.Address || state.Err != nil || !state.Since.IsZero() {
			t.Errorf("served again: %+v", state)
		}
		_ = w.Close()
		if state := w.State(); state.Endpoint != "" || !errors.Is(state.Err, ErrWatchClosed) || state.Since != time.Now() {
			t.Errorf("closed: %+v", state)
		}
	})
}

// State may be asked at any time.
func TestWatchStateConcurrently(t *testing.T) {
	m := newWatchMember("127.0.0.1:1")
	c := watched(t, Config{}, m)
	w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 1})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for w.State().NextRevision < 100 {
			}
		})
	}
	for revision := int64(1); revision < 100; revision++ {
		if revision%30 == 0 {
			s.End(nil)
			s = m.next(t)
			create = s.created(t)
		}
		s.send(eventsOf(create.WatchID, puts("a", revision)...))
		wantNext(t, w, revision)
	}
	asking.Wait()
	_ = fmt.Sprint(w.State())
}

// A progress response made the receiver of its stream ask the member for its version: the
// events of up to 100 watches waited behind it, for five seconds when the member did not
// answer. Receivers and senders make no calls.
func TestReceiverMakesNoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		silent := make(chan struct{})
		m.Handle(func(ctx context.Context, _ transport.Request) ([]byte, error) {
			select {
			case <-silent:
			case <-ctx.Done():
			}
			return nil, ctx.Err()
		}, rpc.Status.Path)
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 101})
		m.set(func(m *watchMember) { m.hold = silent }) // reads are not answered either
		began := time.Now()
		w.RequestProgress()
		s.request(t)
		s.send(
			watchResponse{Header: ResponseHeader{Revision: 100}, WatchID: create.WatchID},
			watchResponse{Header: ResponseHeader{Revision: 100}, WatchID: allWatches},
			eventsOf(create.WatchID, puts("a", 101)...),
		)
		wantNext(t, w, 101)
		other, _ := beginOn(t, c, s, WatchRequest{Key: "b", Revision: 1})
		if took := time.Since(began); took > 0 {
			t.Errorf("an event behind a progress response, and another watch, took %v", took)
		}
		_ = other.Close()
		close(silent)
	})
}

// A watch that is put on a suspect connection, because there was no other, leaves it as
// soon as there is one: for another member, or for another connection to the same address.
func TestWatchLeavesWhatWasSuspectBefore(t *testing.T) {
	for name, alone := range map[string]bool{"another member": false, "another connection": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one, two := newWatchMember("127.0.0.1:1"), newWatchMember("127.0.0.1:2")
				two.Down(true)
				members, comes := []*watchMember{one, two}, two
				if alone {
					members, comes = members[:1], one
				}
				c := watched(t, Config{}, members...)
				_, s, _ := begin(t, c, one, WatchRequest{Key: "a", Revision: 50})
				one.Down(true)
				for _, conn := range one.Conns() {
					conn.TurnSuspect()
				}
				s.End(lost.Err)
				s = one.next(t)
				_ = s.created(t)
				time.Sleep(time.Second)
				if s.Closed() {
					t.Fatal("the stream was left for nothing better")
				}
				comes.Down(false)
				began := time.Now()
				next := comes.next(t)
				if took := time.Since(began); took > 3500*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				_ = next.created(t)
				if !s.Closed() {
					t.Error("the watch is on two streams")
				}
			})
		})
	}
}

// A new watch ends when only learners are left, which refuse watches. One that has run
// waits for a member, and goes on behind its last event.
func TestWatchAmongLearners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 50})
		s.send(eventsOf(create.WatchID, puts("a", 60)...))
		wantNext(t, w, 60)
		m.RefuseStreams(says(transport.FailedPrecondition, "etcdserver: rpc not supported for learner").Err)
		s.End(lost.Err)
		for range 2 { // the first refusal only makes the client look for another member
			time.Sleep(3 * time.Second)
			began := time.Now()
			if _, err := c.Watch(t.Context(), WatchRequest{Key: "b", Revision: 50}); !errors.Is(err, ErrNotSupportedForLearner) || Temporary(err) || time.Since(began) > 3*watchBackoff.Cap {
				t.Errorf("a new watch: %v after %v", err, time.Since(began))
			}
		}
		if state := w.State(); state.Endpoint != "" || !errors.Is(state.Err, ErrNotSupportedForLearner) {
			t.Errorf("a watch that has run: %+v", state)
		}
		m.RefuseStreams(nil)
		s = m.next(t)
		if create = s.created(t); create.StartRevision != 61 {
			t.Errorf("it goes on from %d, want 61", create.StartRevision)
		}
	})
}

// A watch from now with ProgressNotify is ahead of a store that stands still: the server
// never says anything to it. The client does, from a read that it makes anyway.
func TestProgressNotifyOnAQuietStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1") // at revision 100
		c := watched(t, Config{}, m)
		began := time.Now()
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", ProgressNotify: true})
		silent, _ := beginOn(t, c, s, WatchRequest{Key: "b"})
		old, _ := beginOn(t, c, s, WatchRequest{Key: "c", Revision: 50, ProgressNotify: true})
		wantProgress := func(revision int64, within time.Duration) {
			t.Helper()
			resp, err := w.Read(soon(t))
			if err != nil || !resp.IsProgress() || resp.Header.Revision != revision || time.Since(began) > within {
				t.Errorf("response %+v, error %v after %v", resp, err, time.Since(began))
			}
			began = time.Now()
		}
		wantProgress(100, time.Second)
		wantProgress(100, progressPause+watchQuiet)
		if n := m.readCount(); n > 20 {
			t.Errorf("%d reads", n)
		}

		// A reader that does not read has one of them to read.
		time.Sleep(time.Hour + time.Second) // between two reads
		wantProgress(100, 2*time.Hour)
		w.mu.Lock()
		if n := len(w.queue); n != 0 {
			t.Errorf("%d more responses wait", n)
		}
		w.mu.Unlock()

		// Once the store has changed, the server reports progress.
		m.set(func(m *watchMember) { m.revision = 101 })
		s.send(watchResponse{Header: ResponseHeader{Revision: 101}, WatchID: create.WatchID})
		wantProgress(101, 2*time.Hour)
		for _, w := range []*Watcher{silent, old} {
			if n := w.State().BufferedBytes; n != 0 {
				t.Errorf("%d bytes for the watch of %s", n, w.create.Key)
			}
		}
	})
}

// Bug: a watch was told of the progress of a member that lagged, behind what it had been told
// before: the soak saw progress 7975 after 8008.
func TestProgressNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1") // at revision 100
		c := watched(t, Config{}, m)
		w, s, create := begin(t, c, m, WatchRequest{Key: "a", ProgressNotify: true})
		queued := func() (revisions []int64) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, item := range w.queue {
				revisions = append(revisions, item.resp.Header.Revision)
			}
			w.queue, w.asked = nil, true
			return revisions
		}
		synctest.Wait()
		queued()
		s.send(watchResponse{Header: ResponseHeader{Revision: 120}, WatchID: create.WatchID})
		synctest.Wait()
		w.nothingUpTo(ResponseHeader{Revision: 110})
		if got := queued(); !slices.Equal(got, []int64{120}) {
			t.Errorf("told of %v, want 120", got)
		}
		s.send(watchResponse{Header: ResponseHeader{Revision: 130}, WatchID: create.WatchID, Events: []Event{
			{Type: EventPut, KV: KeyValue{Key: "a", CreateRevision: 130, ModRevision: 130, Version: 1}},
		}})
		synctest.Wait()
		w.nothingUpTo(ResponseHeader{Revision: 129})
		w.nothingUpTo(ResponseHeader{Revision: 130})
		if got := queued(); !slices.Equal(got, []int64{130, 130}) {
			t.Errorf("told of %v, want the event and progress of 130", got)
		}
	})
}

// An idle watch costs one goroutine, its receiver: what asks its member and what sends to
// it run only meanwhile. The member is asked every five seconds nevertheless.
func TestGoroutinesOfWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, one)
		w, s, create := begin(t, c, one, WatchRequest{Key: "a", Revision: 50})
		s.send(eventsOf(create.WatchID, puts("a", 60)...))
		wantNext(t, w, 60)
		time.Sleep(time.Second)
		before := one.readCount()
		for range 12 {
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if got := leaktest.InBubble("etcd.(*watch", "internal/balance.", "internal/alarm."); len(got) != 1 {
				t.Fatalf("%d goroutines, want 1:\n\n%s", len(got), strings.Join(got, "\n\n"))
			}
		}
		if asked := one.readCount() - before; asked != 12 {
			t.Errorf("the member was asked %d times in a minute, want 12", asked)
		}
		s.send(eventsOf(create.WatchID, puts("a", 61)...))
		wantNext(t, w, 61)
	})
}

// Watches leave an endpoint that is removed.
func TestWatchLeavesRemovedEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newWatchMember("127.0.0.1:1"), newWatchMember("127.0.0.1:2")
		two.Down(true)
		c := watched(t, Config{}, one, two)
		w, _, _ := begin(t, c, one, WatchRequest{Key: "a", Revision: 50})
		two.Down(false)
		if err := c.SetEndpoints([]string{"127.0.0.1:2"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s := two.next(t)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		create := s.created(t)
		s.send(eventsOf(create.WatchID, puts("a", 61)...))
		wantNext(t, w, 61)
	})
}
