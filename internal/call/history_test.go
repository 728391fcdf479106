package call

import (
	"sync"
	"testing"

	"silly.store/etcd/internal/peertest"
)

// A revision smaller than the largest seen before the request was sent begins a new
// history; an answer that merely overtook another does not. Of several callers that
// see the reset at the same time one reports it, and late answers of the old
// history change nothing.
func TestHistory(t *testing.T) {
	var c cluster
	first := c.mark()
	first.history.raise(100)
	if c.fellBack(first, 50, false) {
		t.Error("an answer to a request from before the largest revision was seen")
	}
	s := c.mark()
	if s.seen != 100 || c.fellBack(s, 100, false) {
		t.Errorf("seen %d", s.seen)
	}
	var found sync.WaitGroup
	finders := make(chan *history, 100)
	for range 100 {
		found.Go(func() {
			if c.fellBack(s, 60, false) {
				finders <- c.mark().history
			}
		})
	}
	found.Wait()
	if len(finders) != 1 {
		t.Fatalf("%d found out, want one", len(finders))
	}
	s.history.raise(200) // the late answer of the old history
	if now := c.mark(); now.seen != 60 || now.history != <-finders {
		t.Errorf("seen %d after the reset, want 60", now.seen)
	}
}

// What the store must have for a watch from a revision: what was seen, and after a reset
// also what the watch continues from, if it may be of the former history.
func TestSeenBefore(t *testing.T) {
	var c cluster
	want := func(first, want int64) {
		t.Helper()
		if got := c.seenBefore(first); got != want {
			t.Errorf("before %d: %d, want %d", first, got, want)
		}
	}
	want(7, 0)
	c.mark().history.raise(6)
	want(1, 6)
	want(7, 6)
	want(100, 6)
	if !c.fellBack(c.mark(), 2, false) {
		t.Fatal("no reset")
	}
	want(1, 2)
	want(3, 2)
	want(4, 3)
	want(7, 6)
	want(8, 2) // no revision of the former history: one that is to come
	c.mark().history.raise(9)
	want(7, 9)
}

// If a write's answer shows a reset, the next read reports it, unless a watch that
// was between two streams has ended because of it meanwhile. OnHistoryReset is
// called at once.
func TestResetIsReportedOnce(t *testing.T) {
	var resets []int64
	e := newEngine(t, peertest.NewCluster(), Config{OnHistoryReset: func(revision int64) { resets = append(resets, revision) }})
	e.history.mark().history.raise(100)
	if e.checkHistory(e.history.mark(), 50, false) {
		t.Error("a write fails")
	}
	if !e.history.mark().history.unreported.Load() {
		t.Error("the next read does not fail")
	}
	e.HistoryReported()
	if e.history.mark().history.unreported.Load() {
		t.Error("a read fails after a watch")
	}
	if len(resets) != 1 || resets[0] != 50 {
		t.Errorf("OnHistoryReset was called with %v", resets)
	}
}

func TestBelongs(t *testing.T) {
	var c cluster
	if first, again := c.belongs(5), c.belongs(5); !first || !again || c.belongs(6) {
		t.Error("the first that answers is the cluster, and no other")
	}
}
