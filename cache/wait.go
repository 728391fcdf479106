package cache

import (
	"container/heap"
	"context"
	"fmt"
	"sync"

	"silly.store/etcd"
)

// waiter is a reader that waits for a revision.
type waiter struct {
	revision int64
	asks     bool // for progress; other waiters wait for events alone
	woken    chan struct{}
	index    int // in the heap; -1: no longer
}

// waiters are those of a cache, the one with the lowest revision first.
type waiters struct {
	mu   sync.Mutex // guards the fields below
	heap waiterHeap
	asks int // how many of them ask
}

type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].revision < h[j].revision }
func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *waiterHeap) Push(x any) {
	w, _ := x.(*waiter)
	w.index = len(*h)
	*h = append(*h, w)
}

func (h *waiterHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.index = -1
	return w
}

func (ws *waiters) add(revision int64, asks bool) *waiter {
	w := &waiter{revision: revision, asks: asks, woken: make(chan struct{})}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	heap.Push(&ws.heap, w)
	if asks {
		ws.asks++
	}
	return w
}

func (ws *waiters) remove(w *waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w.index >= 0 {
		heap.Remove(&ws.heap, w.index)
		ws.goneLocked(w)
	}
}

func (ws *waiters) goneLocked(w *waiter) {
	if w.asks {
		ws.asks--
	}
}

// wake wakes those that wait for a revision up to the given one. It reports whether any of
// them had asked for progress, and whether others are left that do.
func (ws *waiters) wake(revision int64) (woken, left bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	before := ws.asks
	for len(ws.heap) > 0 && ws.heap[0].revision <= revision {
		ws.popLocked()
	}
	return ws.asks < before, ws.asks > 0
}

func (ws *waiters) wakeAll() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for len(ws.heap) > 0 {
		ws.popLocked()
	}
}

func (ws *waiters) popLocked() {
	if w, ok := heap.Pop(&ws.heap).(*waiter); ok {
		close(w.woken)
		ws.goneLocked(w)
	}
}

// reach waits until the published state is enough, which takes at least the given revision.
// asks: there may be no event to wait for, so the server is asked for progress.
func (ca *Cache) reach(ctx context.Context, enough func(*published) bool, revision int64, asks bool) (*published, error) {
	for {
		p := ca.current.Load()
		switch {
		case p.ended != nil:
			return nil, p.ended
		case enough(p):
			return p, nil
		case ca.stopped.Load():
			if ca.current.Load() != p {
				continue // it may say why
			}
			return nil, etcd.ErrClosed // the client's
		}
		w := ca.waiters.add(revision, asks)
		// It may have been published before the waiter was there.
		if ca.current.Load() != p || ca.stopped.Load() {
			ca.waiters.remove(w)
			continue
		}
		if asks {
			ca.asker.need()
		}
		select {
		case <-w.woken:
		case <-ctx.Done():
			ca.waiters.remove(w)
			return nil, ca.gaveUp(ctx)
		}
	}
}

// gaveUp is the error of a wait that ctx has ended, with what keeps the cache from getting on.
func (ca *Cache) gaveUp(ctx context.Context) error {
	if trouble := ca.lastTrouble(); trouble != nil {
		return fmt.Errorf("cache: %w; the cache makes no progress: %v", context.Cause(ctx), trouble)
	}
	return fmt.Errorf("cache: %w", context.Cause(ctx))
}

// lastTrouble is why the writer makes no progress, or why no member serves the watch; nil: all
// is well.
func (ca *Cache) lastTrouble() error {
	ca.mu.Lock()
	trouble := ca.trouble
	ca.mu.Unlock()
	if trouble != nil {
		return trouble
	}
	if trouble = ca.follower.Trouble(); trouble != nil {
		return trouble
	}
	watch, _ := ca.follower.WatchState()
	return watch.Err
}
