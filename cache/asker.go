package cache

import (
	"context"
	"sync"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
)

// asker requests progress of the watch while readers wait for a revision without events in
// the range. One request serves all of them. The watch's stream repeats a request that the
// server drops.
type asker struct {
	ask    func()
	paused chan struct{} // capacity 1: a pause has begun, after which run asks again

	mu      sync.Mutex // guards the fields below
	asked   time.Time  // when the unanswered request was sent; zero: none is open
	late    bool       // somebody has begun to wait since then
	short   int        // consecutive answers that have reached no waiting reader's revision
	pausing bool       // until run asks again
}

func newAsker(ask func()) *asker { return &asker{ask: ask, paused: make(chan struct{}, 1)} }

// askAgain is when a request counts as lost.
const askAgain = 50 * time.Millisecond

// askPauses is before the next question after an answer that was not enough: the member has
// not applied the revision yet.
var askPauses = backoff.Backoff{First: 2 * time.Millisecond, Cap: 50 * time.Millisecond}

// need is called by a reader that begins to wait.
func (a *asker) need() {
	a.mu.Lock()
	if a.pausing || !a.asked.IsZero() && time.Since(a.asked) < askAgain {
		a.late = true
		a.mu.Unlock()
		return
	}
	a.asked, a.late = time.Now(), false
	a.mu.Unlock()
	a.ask()
}

// published notes that the cache has got on; answered: maybe by an answer to the question.
// woken: readers have what they have waited for, waiting: others wait for more. A question
// from before they began to wait says nothing of the member, and is asked again at once. So
// it is for a reader that began to wait after the caller had looked for such.
func (a *asker) published(answered, woken, waiting bool) {
	if a.note(answered, woken, waiting) {
		a.ask()
	}
}

// note reports whether it is time for another question.
func (a *asker) note(answered, woken, waiting bool) (ask bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if woken || !waiting {
		a.short = 0
	}
	if !answered {
		return false
	}
	a.asked = time.Time{}
	switch {
	case a.pausing:
	case a.late:
		a.asked, a.late = time.Now(), false
		return true
	case waiting:
		a.pausing = true
		call.Signal(a.paused)
	}
	return false
}

// run asks again after each pause, until ctx ends. The cache owns it.
func (a *asker) run(ctx context.Context) {
	for {
		select {
		case <-a.paused:
		case <-ctx.Done():
			return
		}
		if !call.Sleep(ctx, a.pause()) {
			return
		}
		a.mu.Lock()
		a.pausing = false
		a.mu.Unlock()
		a.need()
	}
}

func (a *asker) pause() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.short++
	return askPauses.Span(a.short - 1)
}
