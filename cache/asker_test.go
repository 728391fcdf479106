package cache

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// One question serves all who wait, until it is answered or counts as lost; after answers
// that are not enough the questions become rarer.
func TestAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64 // by run, too
		a := newAsker(func() { asked.Add(1) })
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { a.run(ctx) })
		expect := func(want int64, when string) {
			t.Helper()
			synctest.Wait()
			if n := asked.Load(); n != want {
				t.Errorf("%d questions %s, want %d", n, when, want)
			}
		}
		for range 10 {
			a.need()
		}
		a.published(false, false, true) // an event
		a.need()
		expect(1, "for many readers")
		time.Sleep(askAgain)
		a.need()
		expect(2, "when the first one is lost")
		want := int64(2)
		for _, pause := range []time.Duration{2, 4, 8, 16, 32, 50, 50} {
			a.published(true, false, true)
			time.Sleep(pause*time.Millisecond - 1)
			a.need()
			expect(want, "before the pause is over")
			time.Sleep(time.Nanosecond)
			want++
			expect(want, "when the pause is over")
		}
		a.published(true, true, false)
		time.Sleep(time.Hour)
		expect(want, "when nobody waits")
		a.need()
		want++
		expect(want, "when somebody waits again")
		a.need() // the question may be older than what this one waits for
		a.published(true, true, true)
		want++
		expect(want, "for a reader that the answer may be too old for")
		a.need() // begins to wait while the cache publishes, and is not counted there
		a.published(true, true, false)
		want++
		expect(want, "for a reader that the cache has not counted yet")
		a.published(true, false, true)
		cancel()
		running.Wait()
		time.Sleep(time.Hour)
		expect(want, "after the end")
	})
}

// After three readers that have waited in vain in a row, none waits for ten seconds; then one
// more in vain is enough, and the time doubles up to minutes.
func TestAvoidance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a avoidance
		a.failed(time.Now())
		early := time.Now()
		time.Sleep(time.Second)
		for range 5 { // held up by the same moment
			a.failed(early)
		}
		if a.now() {
			t.Error("flights that were away together count one by one")
		}
		a.worked()
		a.failed(time.Now())
		a.failed(time.Now())
		if a.now() {
			t.Error("the cache is avoided before three failures in a row")
		}
		for _, pause := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
			a.failed(time.Now())
			time.Sleep(pause*time.Second - 1)
			if !a.now() {
				t.Errorf("the cache is not avoided for %d seconds", pause)
			}
			time.Sleep(time.Nanosecond)
			if a.now() {
				t.Errorf("the cache is avoided for more than %d seconds", pause)
			}
		}
		a.worked()
		a.failed(time.Now())
		if a.now() {
			t.Error("the cache is avoided although it has caught up since")
		}
	})
}
