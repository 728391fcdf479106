package cache

import (
	"context"
	"sync"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
)

// asker asks the watch how far it is, while readers wait for a revision that the range has
// no events of. One question serves all of them. The watch's stream repeats a question that
// the server drops.
type asker struct {
	ask    func()
	paused chan struct{} // capacity 1: a pause has begun, after which run asks again

	mu      sync.Mutex // guards the fields below
	asked   time.Time  // when the question was sent that has no answer yet; zero: there is none
	short   int        // answers in a row that did not reach what somebody waits for
	pausing bool       // until run asks again
}

func newAsker(ask func()) *asker { return &asker{ask: ask, paused: make(chan struct{}, 1)} }

// askAgain is when a question counts as lost.
const askAgain = 50 * time.Millisecond

// askPauses is before the next question after an answer that was not enough: the member has
// not applied the revision yet.
var askPauses = backoff.Backoff{First: 2 * time.Millisecond, Cap: 50 * time.Millisecond}

// need is called by a reader that begins to wait.
func (a *asker) need() {
	a.mu.Lock()
	if a.pausing || !a.asked.IsZero() && time.Since(a.asked) < askAgain {
		a.mu.Unlock()
		return
	}
	a.asked = time.Now()
	a.mu.Unlock()
	a.ask()
}

// published notes that the cache has got on; answered: maybe by an answer to the question.
// waiting: there are readers that wait for more.
func (a *asker) published(answered, waiting bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answered {
		a.asked = time.Time{}
	}
	if !waiting {
		a.short = 0
	}
	if waiting && answered && !a.pausing {
		a.pausing = true
		call.Signal(a.paused)
	}
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
