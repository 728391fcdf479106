package concurrency

import (
	"bytes"
	"context"
	"sync"
	"time"

	"silly.store/etcd"
)

// A mutex with Linger keeps its key after Unlock, for the next Lock of this process, which
// then makes no request. A chain is all holdings of one key:
//
//	held -- Unlock --> lingering -- Lock --> held …
//	  |                    |
//	  +--------------------+--> the key is deleted
//
// The key is deleted when it was not taken for Linger, and when another contender has asked
// for the lock since the key was created, which a watch of the name shows. While no member
// serves that watch, or it has unread events, nothing lingers. A chain takes no longer than
// maxChain times Linger, whatever the watch shows.
//
// All holdings of a chain have the same token, so a write guarded by one would pass under
// the next. A holding whose token or guard was read, or that has a transaction of unknown
// outcome or in flight, ends its chain.

const (
	maxChain = 10
	// lingerIdle is how long the watch stays open while the mutex is not used.
	lingerIdle = 30 * time.Second
)

// lingers are the mutexes of a coordinator that linger.
type lingers struct {
	co *Coordinator

	mu     sync.Mutex // guards the fields below and all lingers
	all    map[string]*linger
	closed bool
}

// linger is a mutex that lingers. lingers.mu guards its fields.
type linger struct {
	of   *lingers
	root string
	stop context.CancelFunc // of its goroutine

	watch   *etcd.Watcher // nil until it is made
	foreign int64         // the last revision at which another key was put
	timer   *time.Timer   // ends the lingering, or the linger when it is idle

	chain *place    // of the key; nil: there is none
	began time.Time // the chain
	epoch int       // how many holdings the chain has had before
	free  bool      // the key lingers
	until time.Time // so long
	gone  bool      // somebody has deleted the key
}

// attend begins a chain with a lock. One that is lost already has none: nobody would end it.
func (ls *lingers) attend(l *Lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != holdingHeld {
		return
	}
	p := l.p
	ls.mu.Lock()
	defer ls.mu.Unlock()
	g := ls.all[p.q.root]
	if g == nil {
		if ls.closed {
			return
		}
		ctx, cancel := context.WithCancel(ls.co.life)
		g = &linger{of: ls, root: p.q.root, stop: cancel}
		g.timer = time.AfterFunc(lingerIdle, g.due)
		if ls.all == nil {
			ls.all = make(map[string]*linger)
		}
		ls.all[g.root] = g
		q := p.q
		ls.co.routines.Go(func() { g.serve(ctx, q, p.created+1) })
	}
	if g.free { // somebody has deleted its key: else nobody could hold
		g.endLocked()
	}
	g.chain, g.began, g.epoch, g.free, g.gone = p, time.Now(), 0, false, false
}

// close has no further mutex linger; those that do end with the coordinator's life.
func (ls *lingers) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = true
}

// take is the lock of a key that lingers, nil if there is none.
func (ls *lingers) take(q *queue) *Lock {
	ls.mu.Lock()
	g := ls.all[q.root]
	if g == nil || !g.free {
		ls.mu.Unlock()
		return nil
	}
	p := g.chain
	if !g.mayGoOnLocked() || !bytes.Equal(p.value, q.value) {
		g.endLocked()
		ls.mu.Unlock()
		return nil
	}
	g.free = false
	g.epoch++
	epoch := g.epoch
	ls.mu.Unlock()
	p.m = ls.co.hubs.come(hubKey{key: q.root}, p.key, p.s)
	l := newLock(p)
	if l == nil { // its session has ended
		ls.keep(p, false)
		p.drop(errRequeue)
		return nil
	}
	l.epoch = epoch
	return l
}

// keep lets the key of a holding that has ended linger, if it may and shall; else the chain
// ends.
func (ls *lingers) keep(p *place, shall bool) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	g := ls.all[p.q.root]
	if g == nil || g.chain != p {
		return false
	}
	if !shall || !g.mayGoOnLocked() {
		g.chain = nil
		return false
	}
	g.free, g.until = true, time.Now().Add(p.q.linger)
	g.timer.Reset(p.q.linger)
	return true
}

// mayGoOnLocked reports whether the key of the chain may be held once more.
func (g *linger) mayGoOnLocked() bool {
	p := g.chain
	if g.gone || g.foreign > p.created || time.Since(g.began) >= maxChain*p.q.linger || p.s.life.Err() != nil || p.s.left() <= 0 || g.watch == nil {
		return false
	}
	st := g.watch.State()
	return st.Endpoint != "" && st.BufferedBytes == 0
}

// endLocked deletes the key that lingers.
func (g *linger) endLocked() {
	p := g.chain
	g.chain, g.free = nil, false
	p.drop(errRequeue)
}

// due is called by the timer.
func (g *linger) due() {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	switch {
	case g.of.all[g.root] != g:
		return
	case g.free && time.Now().Before(g.until):
		g.timer.Reset(time.Until(g.until))
		return
	case g.free:
		g.endLocked()
	case g.chain == nil:
		g.stop()
		return
	}
	g.timer.Reset(lingerIdle)
}

// serve reads the watch from a revision on.
func (g *linger) serve(ctx context.Context, q *queue, from int64) {
	defer g.close()
	w, err := q.co.client.Watch(ctx, etcd.WatchRequest{Key: g.root, Prefix: true, Revision: from, BufferBytes: hubBuffer})
	if err != nil {
		return
	}
	defer w.Close()
	g.of.mu.Lock()
	g.watch = w
	g.of.mu.Unlock()
	for {
		resp, err := w.Read(ctx)
		if err != nil {
			return // the next Lock asks etcd again
		}
		g.read(q, resp)
	}
}

// read takes what the watch has brought.
func (g *linger) read(q *queue, resp *etcd.WatchResponse) {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	for i := range resp.Events {
		ev := &resp.Events[i]
		own := g.chain != nil && ev.KV.Key == g.chain.key
		switch {
		case own && ev.Type == etcd.EventDelete:
			g.gone = g.gone || ev.KV.ModRevision > g.chain.created
		case !own && ev.Type == etcd.EventPut && q.contends(ev.KV.Key):
			g.foreign = ev.KV.ModRevision
		}
	}
	if g.free && (g.gone || g.foreign > g.chain.created) {
		g.endLocked()
	}
}

// close ends the linger with its goroutine.
func (g *linger) close() {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	g.stop()
	g.timer.Stop()
	delete(g.of.all, g.root)
	if g.free {
		g.endLocked()
	}
	g.chain = nil
}
