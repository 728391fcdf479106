package etcd

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/transport"
)

// lifeOf is a watch in the given phase, on the stream if it is on one.
func lifeOf(p phase, s *watchStream) *Watcher {
	w := &Watcher{maxBuffer: 1000, hub: &watchHub{observer: new(observer)}}
	if p == phaseConfirmed {
		w.life.begun = true // only the first confirmation leads to served at once
	}
	if p == phasePlaced || p == phaseConfirmed || p == phaseServed {
		w.placeLocked(s, 1, 0)
	}
	if p == phaseConfirmed || p == phaseServed {
		w.confirm(s, 7, ResponseHeader{Revision: 100})
	}
	if p == phaseEnded {
		w.end(errWatchClosed)
	}
	return w
}

// Each transition, from each phase: where it leads, and whether it says that it was made.
func TestWatchTransitions(t *testing.T) {
	here := &watchStream{Stream: new(call.Stream)}
	elsewhere := &watchStream{Stream: new(call.Stream)}
	reason := &call.Error{Op: "Watch", Code: transport.Unavailable, Message: "the reason"}
	type outcome struct {
		to   phase
		made bool
	}
	stays := func(p phase) outcome { return outcome{p, false} }
	leaves := map[phase]outcome{
		phaseWaiting: stays(phaseWaiting), phasePlaced: {phaseWaiting, true},
		phaseConfirmed: {phaseWaiting, true}, phaseServed: {phaseWaiting, true}, phaseEnded: stays(phaseEnded),
	}
	for name, test := range map[string]struct {
		transition func(w *Watcher) bool
		want       map[phase]outcome
	}{
		"place": {
			func(w *Watcher) bool {
				s := &watchStream{Stream: new(call.Stream), room: 1, sending: true}
				s.kind = w.kindLocked()
				return s.attach(w) && w.life.stream == s
			},
			map[phase]outcome{
				phaseWaiting: {phasePlaced, true}, phasePlaced: stays(phasePlaced),
				phaseConfirmed: stays(phaseConfirmed), phaseServed: stays(phaseServed), phaseEnded: stays(phaseEnded),
			},
		},
		"confirm": {
			func(w *Watcher) bool {
				before := w.life.phase
				w.life.begun = true
				w.confirm(here, 9, ResponseHeader{Revision: 120})
				return w.life.phase != before
			},
			map[phase]outcome{
				phaseWaiting: stays(phaseWaiting), phasePlaced: {phaseConfirmed, true},
				phaseConfirmed: stays(phaseConfirmed), phaseServed: stays(phaseServed), phaseEnded: stays(phaseEnded),
			},
		},
		"confirm for the first time": {
			func(w *Watcher) bool {
				before := w.life.phase
				w.confirm(here, 9, ResponseHeader{Revision: 120})
				return w.life.phase != before
			},
			map[phase]outcome{
				phaseWaiting: stays(phaseWaiting), phasePlaced: {phaseServed, true},
				phaseConfirmed: stays(phaseConfirmed), phaseServed: stays(phaseServed), phaseEnded: stays(phaseEnded),
			},
		},
		"confirm, another stream": {
			func(w *Watcher) bool {
				before := w.life.phase
				w.confirm(elsewhere, 9, ResponseHeader{Revision: 120})
				return w.life.phase != before
			},
			map[phase]outcome{
				phaseWaiting: stays(phaseWaiting), phasePlaced: stays(phasePlaced),
				phaseConfirmed: stays(phaseConfirmed), phaseServed: stays(phaseServed), phaseEnded: stays(phaseEnded),
			},
		},
		"serve": {
			func(w *Watcher) bool { _, resumed := w.serve(here); return resumed },
			map[phase]outcome{
				phaseWaiting: stays(phaseWaiting), phasePlaced: stays(phasePlaced),
				phaseConfirmed: {phaseServed, true}, phaseServed: stays(phaseServed), phaseEnded: stays(phaseEnded),
			},
		},
		"serve, another stream": {
			func(w *Watcher) bool { _, resumed := w.serve(elsewhere); return resumed },
			map[phase]outcome{
				phaseWaiting: stays(phaseWaiting), phasePlaced: stays(phasePlaced),
				phaseConfirmed: stays(phaseConfirmed), phaseServed: stays(phaseServed), phaseEnded: stays(phaseEnded),
			},
		},
		"leave": {
			func(w *Watcher) bool { return w.leave(here, reason) },
			leaves,
		},
		"leave, another stream": {
			func(w *Watcher) bool { return w.leave(elsewhere, reason) },
			map[phase]outcome{
				phaseWaiting: stays(phaseWaiting), phasePlaced: stays(phasePlaced),
				phaseConfirmed: stays(phaseConfirmed), phaseServed: stays(phaseServed), phaseEnded: stays(phaseEnded),
			},
		},
		"leave for a stream to itself": {
			func(w *Watcher) bool { return w.leaveAlone(here) && w.life.isolated },
			leaves,
		},
		"leave a stream that has ended": {
			func(w *Watcher) bool { return w.leaveEnded(here, reason) },
			leaves,
		},
		"end": {
			func(w *Watcher) bool { _, first := w.end(reason); return first },
			map[phase]outcome{
				phaseWaiting: {phaseEnded, true}, phasePlaced: {phaseEnded, true},
				phaseConfirmed: {phaseEnded, true}, phaseServed: {phaseEnded, true}, phaseEnded: stays(phaseEnded),
			},
		},
	} {
		if len(test.want) != int(phaseEnded)+1 {
			t.Errorf("%s is not tried from each phase", name)
		}
		for from, want := range test.want {
			w := lifeOf(from, here)
			if w.life.phase != from {
				t.Fatalf("a watch that is to be %v is %v", from, w.life.phase)
			}
			made := test.transition(w)
			if w.life.phase != want.to || made != want.made {
				t.Errorf("%s from %v: %v, made %v; want %v, %v", name, from, w.life.phase, made, want.to, want.made)
			}
			onStream := want.to == phasePlaced || want.to == phaseConfirmed || want.to == phaseServed
			if (w.life.stream != nil) != onStream {
				t.Errorf("%s from %v: on a stream is %v in phase %v", name, from, w.life.stream != nil, want.to)
			}
		}
	}
}

// A watch is unserved from when it ceased to be served, whatever confirms it meanwhile. The
// answer that shows its member to follow the cluster may come before the confirmation.
func TestWatchUnservedSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &watchStream{Stream: new(call.Stream)}
		reason := &call.Error{Op: "Watch", Code: transport.Unavailable, Message: "the reason"}
		w := lifeOf(phaseServed, s)
		time.Sleep(time.Minute)
		w.leave(s, reason)
		lost := time.Now()
		for range 3 {
			time.Sleep(time.Second)
			w.placeLocked(s, 2, 0)
			w.confirm(s, 7, ResponseHeader{Revision: 100})
			time.Sleep(time.Second)
			w.leave(s, reason)
			w.placeLocked(s, 3, 0)
			w.leaveEnded(s, reason)
		}
		if !w.life.left.Equal(lost) {
			t.Errorf("unserved since %v, not %v", time.Since(w.life.left), time.Since(lost))
		}
		w.placeLocked(s, 4, 0)
		if _, resumed := w.serve(s); resumed || w.life.phase != phasePlaced {
			t.Errorf("an unconfirmed watch is %v", w.life.phase)
		}
		c := w.confirm(s, 7, ResponseHeader{Revision: 100})
		if !c.resumed || w.life.phase != phaseServed || c.info.Interrupted != time.Since(lost) {
			t.Errorf("%+v after %v", c, time.Since(lost))
		}
		time.Sleep(time.Minute)
		if w.end(reason); !w.life.left.Equal(time.Now()) {
			t.Errorf("unserved since %v, but it ended now", time.Since(w.life.left))
		}
	})
}

// Stats counts a watch once wherever it is. Between the end of its stream and the list of
// those that wait it was in neither place, and not counted.
func TestCountOfAWatchThatMoves(t *testing.T) {
	h := &watchHub{observer: new(observer)}
	s := &watchStream{Stream: new(call.Stream), hub: h, room: 1, sending: true}
	h.streams = map[*watchStream]struct{}{s: {}}
	counts := func(when string, watches, unserved int) {
		t.Helper()
		if n, _, waiting := h.count(); n != watches || waiting != unserved {
			t.Errorf("%s: %d watches, %d unserved, not %d and %d", when, n, waiting, watches, unserved)
		}
	}
	w := &Watcher{maxBuffer: 1000, hub: h}
	s.kind = w.kindLocked()
	h.waiting = []*Watcher{w}
	counts("waiting", 1, 1)
	h.waiting, h.inHand = nil, []*Watcher{w}
	counts("in the opener's hand", 1, 1)
	s.attach(w)
	counts("placed, before the opener knows", 1, 1)
	h.inHand = nil
	w.confirm(s, 7, ResponseHeader{Revision: 100})
	counts("served", 1, 0)
	orphans := s.release(&call.Error{Op: "Watch", Code: transport.Unavailable, Message: "the reason"})
	counts("released", 1, 1)
	h.waiting = orphans
	counts("released and waiting", 1, 1)
	delete(h.streams, s)
	counts("waiting again", 1, 1)
	w.end(errWatchClosed)
	counts("ended", 0, 0)
}

// What a watch remembers of its life, and what each transition forgets.
func TestWatchLife(t *testing.T) {
	first, second := &watchStream{Stream: new(call.Stream)}, &watchStream{Stream: new(call.Stream)}
	reason := &call.Error{Op: "Watch", Code: transport.Unavailable, Message: "the reason"}
	w := &Watcher{maxBuffer: 1000, next: 50, hub: &watchHub{observer: new(observer)}}

	w.placeLocked(first, 1, 2)
	if c := w.confirm(first, 7, ResponseHeader{Revision: 60}); !c.made || c.resumed || !w.hasBegun() || w.Header().Revision != 60 || w.seen != 60 {
		t.Errorf("first confirmation: resumed %v, begun %v, header %+v, seen %d", resumed, w.hasBegun(), w.Header(), w.seen)
	}
	for i, want := range []bool{false, false, true} {
		if w.covers(first, 60) != want {
			t.Errorf("answer %d counts: %v; two may be older than the watch", i, !want)
		}
	}
	if w.covers(second, 60) {
		t.Error("an answer counts that comes on another stream")
	}
	w.partial = partialRevision{events: puts("a", 55), bytes: 10}
	w.life.place.prevCame = true
	if !w.leave(first, reason) || w.life.leftErr != reason || w.life.left.IsZero() {
		t.Errorf("left: %+v", w.life)
	}
	w.placeLocked(second, 1, 0)
	if w.partial.bytes != 0 || w.life.place.prevCame {
		t.Error("what it was sent on the first stream is mixed with the second one's")
	}
	if c := w.confirm(second, 3, ResponseHeader{Revision: 80}); !c.made || c.resumed {
		t.Errorf("a member that may have no leader has resumed it: %+v", c)
	}
	info, resumed := w.serve(second)
	if !resumed || info.Revision != 50 || info.Behind != 31 || w.Header().Revision != 60 {
		t.Errorf("resumed %v: %+v, header %+v", resumed, info, w.Header())
	}
	if len(w.queue) != 0 {
		t.Error("its reader gets a response that it has not asked for")
	}

	// A slow reader's watch is by itself until its stream has ended and the buffer is
	// half empty.
	w.leaveAlone(second)
	if since := w.life.isolatedSince; time.Since(since) > time.Minute {
		t.Errorf("isolated since %v", since)
	}
	for buffered, isolated := range map[int]bool{1000: true, 501: true, 500: false} {
		w.life.isolated, w.buffered = true, buffered
		w.placeLocked(first, 2, 0)
		if w.leaveEnded(first, reason); w.life.isolated != isolated {
			t.Errorf("with %d of 1000 bytes buffered it is isolated: %v", buffered, w.life.isolated)
		}
	}

	w.placeLocked(second, 4, 0)
	if stream, ok := w.end(errWatchClosed); !ok || stream != second {
		t.Errorf("end: %v, first %v", stream, ok)
	}
	if stream, ok := w.end(reason); ok || stream != nil || !errors.Is(w.life.err, ErrWatchClosed) {
		t.Errorf("the second end counts: %v", w.life.err)
	}
	if w.covers(second, 1000) {
		t.Error("progress counts for a watch that has ended")
	}
}

func TestPhaseString(t *testing.T) {
	for p, want := range map[phase]string{phaseWaiting: "waiting", phasePlaced: "placed", phaseConfirmed: "confirmed", phaseServed: "served", phaseEnded: "ended"} {
		if p.String() != want {
			t.Errorf("phase %d is %q", p, p.String())
		}
	}
}

// No other file writes what watchlife.go keeps, so its methods are all transitions.
func TestLifeIsWrittenInItsFile(t *testing.T) {
	paths, err := filepath.Glob("watch*.go")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	writes := regexp.MustCompile(`\.life(\.\w+)*(, [^=\n]+)? (=|\+=|-=) |\.life(\.\w+)*(\+\+|--)|&\w+\.life\b`)
	if !writes.MatchString("w.life.place.doubt--") || !writes.MatchString("w.life.phase, other = phaseEnded, 1") || writes.MatchString("if w.life.phase == phaseEnded {") {
		t.Fatal("writes are not told from reads")
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if found := writes.FindString(string(source)); (found != "") != (path == "watchlife.go") {
			t.Errorf("%s writes a watch's life: %q", path, found)
		}
	}
}
