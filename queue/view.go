package queue

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/follow"
)

// A view is what this process knows about the items: a copy of the state keys and claims,
// kept in step by a follower. Calls of Take wait in it, and each free item is given to one
// of them. An item is
//
//   - claimed, while there is a claim's key;
//   - tried, from when it is given to a call until its state or its claim changes. The
//     call claims it, or finds that another process was faster; either shows as a change;
//   - delayed, until its time has come;
//   - else free.
type view struct {
	q *Queue

	mu     sync.Mutex // guards the fields below
	items  map[string]*item
	claims map[string]int64  // create revisions of claims, by the items' IDs
	held   map[string]*Claim // of this queue, by the items' IDs
	// revision is that of the last change that was applied; 0: there was none.
	revision int64
	epoch    epoch
	free     pile // in the order in which items are taken
	waiting  pile // delayed, in the order of their times
	takers   []*taker
	timer    *time.Timer
	running  bool // a goroutine follows
	closed   bool

	wanted chan struct{} // capacity 1: the follower is needed, also if it has failed
}

// item is one item as the view knows it.
type item struct {
	place
	key      string
	mod      int64 // the state key's mod revision
	attempts int
	tried    int64 // the mod revision at which it was given to a call; 0: none
	epoch    epoch // of the view when it was given to a call

	in    *pile // which it is in; nil: neither
	index int   // in that
}

// epoch is a history of the store as one follower sees it. Revisions of two epochs do not
// compare.
type epoch struct {
	follower int // how many there were before it, and it
	history  int // follow.Step's Epoch; 0: there was no step
}

// taker is one call of Take that waits.
type taker struct {
	got chan given // capacity 1
}

// given is what a taker gets: an item, or an error.
type given struct {
	item item
	err  error
}

// pile is a heap of items.
type pile struct {
	items []*item
	less  func(a, b *item) bool
}

func (p *pile) Len() int           { return len(p.items) }
func (p *pile) Less(i, j int) bool { return p.less(p.items[i], p.items[j]) }
func (p *pile) Swap(i, j int) {
	p.items[i], p.items[j] = p.items[j], p.items[i]
	p.items[i].index, p.items[j].index = i, j
}

// Push is heap.Interface's.
func (p *pile) Push(x any) {
	it := x.(*item)
	it.in, it.index = p, len(p.items)
	p.items = append(p.items, it)
}

// Pop is heap.Interface's.
func (p *pile) Pop() any {
	last := len(p.items) - 1
	it := p.items[last]
	p.items[last] = nil
	p.items = p.items[:last]
	it.in = nil
	return it
}

// resetLocked makes the view empty, for another follower.
func (v *view) resetLocked() {
	v.items, v.claims, v.revision = make(map[string]*item), make(map[string]int64), 0
	v.epoch = epoch{follower: v.epoch.follower + 1}
	v.free = pile{less: func(a, b *item) bool { return a.before(b.place) }}
	v.waiting = pile{less: func(a, b *item) bool { return a.at < b.at }}
}

// take waits for a free item.
func (v *view) take(ctx context.Context) (item, error) {
	t := &taker{got: make(chan given, 1)}
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return item{}, ErrClosed
	}
	if !v.running {
		v.running = true
		v.resetLocked()
		v.q.routines.Go(v.follow)
	}
	v.takers = append(v.takers, t)
	v.giveLocked()
	call.Signal(v.wanted)
	v.mu.Unlock()
	select {
	case g := <-t.got:
		return g.item, g.err
	case <-ctx.Done():
	}
	v.mu.Lock()
	v.takers = slices.DeleteFunc(v.takers, func(other *taker) bool { return other == t })
	v.mu.Unlock()
	select {
	case g := <-t.got: // it was given one meanwhile
		if g.err == nil {
			v.putBack(&g.item)
		}
	default:
	}
	return item{}, context.Cause(ctx)
}

// putBack frees an item that was given and not tried.
func (v *view) putBack(it *item) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := v.items[it.id]; now != nil && now.tried == it.mod {
		now.tried = 0
		v.putLocked(now)
		v.giveLocked()
	}
}

// follow keeps the view in step until the queue or the client is closed.
func (v *view) follow() {
	f := follow.New(v.q.client, follow.Config{Key: v.q.root + claimed, RangeEnd: v.q.root + followEnd})
	defer f.Close()
	for failures := 0; ; {
		step, err := f.Next(v.q.life)
		if err == nil {
			v.apply(step)
			failures = 0
			continue
		}
		again, needed := v.fail(err)
		if !again || !v.rest(needed, failures) {
			return
		}
		failures++
	}
}

// fail gives all takers the error. again is whether another request may help, and needed
// whether it has to be made although nobody takes, because there are claims to watch.
func (v *view) fail(err error) (again, needed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		err = ErrClosed
	}
	v.running = !v.closed && !errors.Is(err, etcd.ErrClosed)
	for _, t := range v.takers {
		t.got <- given{err: err}
	}
	v.takers = nil
	v.stopTimerLocked()
	select {
	case <-v.wanted: // by those that have the error now
	default:
	}
	return v.running, len(v.held) > 0
}

// followPauses spaces what a follower that has failed tries for the claims that are held.
var followPauses = backoff.Backoff{First: 100 * time.Millisecond, Cap: 5 * time.Second}

// rest waits until somebody takes, or until claims are to be looked for again. It returns
// false when the queue is closed.
func (v *view) rest(needed bool, failures int) bool {
	var due <-chan time.Time
	if needed {
		t := time.NewTimer(followPauses.Jittered(failures))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-v.wanted:
	case <-due:
	case <-v.q.life.Done():
		v.fail(ErrClosed)
		return false
	}
	return true
}

func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	for _, t := range v.takers {
		t.got <- given{err: ErrClosed}
	}
	v.takers = nil
	v.stopTimerLocked()
}

func (v *view) isClosed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closed
}

func (v *view) stopTimerLocked() {
	if v.timer != nil {
		v.timer.Stop()
	}
}

// apply takes one whole revision.
func (v *view) apply(step follow.Step) {
	var lost, missed []*Claim
	v.mu.Lock()
	for _, ch := range step.Changes {
		rest := strings.TrimPrefix(ch.Key(), v.q.root)
		if id, ok := strings.CutPrefix(rest, claimed); ok {
			if cl := v.claimChangedLocked(id, ch); cl != nil {
				lost = append(lost, cl)
			}
		} else if p, ok := placeOf(rest); ok {
			v.stateChangedLocked(p, ch)
		}
	}
	if step.Epoch != v.epoch.history {
		v.forgetTriesLocked()
	}
	v.revision, v.epoch.history = step.Revision, step.Epoch
	if step.Kind == follow.Snapshot || step.Kind == follow.Resynced { // which shows no deletion of what the view never had
		for _, cl := range v.held {
			if v.missesLocked(cl) {
				missed = append(missed, cl)
			}
		}
	}
	v.giveLocked()
	v.mu.Unlock()
	for _, cl := range lost {
		cl.deleted()
	}
	for _, cl := range missed {
		cl.vanish()
	}
}

// forgetTriesLocked frees the items that were tried in an epoch that is over: what came of
// that may be undone, which does not show as a change of what the view has never seen.
func (v *view) forgetTriesLocked() {
	for _, it := range v.items {
		if it.tried != 0 {
			it.tried = 0
			v.putLocked(it)
		}
	}
}

// claimChangedLocked returns the claim of this queue that was deleted, if one was.
func (v *view) claimChangedLocked(id string, ch follow.Change) (lost *Claim) {
	it := v.items[id]
	if ch.New != nil {
		v.claims[id] = ch.New.CreateRevision
	} else {
		delete(v.claims, id)
		if it != nil {
			it.tried = 0
		}
		if cl := v.held[id]; cl != nil && cl.token == ch.Old.CreateRevision {
			lost = cl
		}
	}
	if it != nil {
		v.putLocked(it)
	}
	return lost
}

func (v *view) stateChangedLocked(p place, ch follow.Change) {
	it := v.items[p.id]
	if ch.New == nil {
		if it != nil && it.key == ch.Old.Key {
			v.removeLocked(it)
			delete(v.items, p.id)
		}
		return
	}
	if it == nil {
		it = new(item)
		v.items[p.id] = it
	}
	v.removeLocked(it)
	it.place, it.key, it.mod, it.attempts = p, ch.New.Key, ch.New.ModRevision, attemptsOf(ch.New.Value)
	v.putLocked(it)
}

func (v *view) removeLocked(it *item) {
	if it.in != nil {
		heap.Remove(it.in, it.index)
	}
}

// putLocked puts an item where it belongs.
func (v *view) putLocked(it *item) {
	v.removeLocked(it)
	switch _, isClaimed := v.claims[it.id]; {
	case isClaimed || it.tried >= it.mod:
	case it.delayed && it.at > now():
		heap.Push(&v.waiting, it)
	default:
		heap.Push(&v.free, it)
	}
}

// now is the time as it stands in keys.
func now() int64 { return time.Now().UnixMicro() }

// spread is among how many items Relaxed chooses.
const spread = 64

// giveLocked gives free items to takers.
func (v *view) giveLocked() {
	for now := now(); v.waiting.Len() > 0 && v.waiting.items[0].at <= now; {
		it := v.waiting.items[0]
		heap.Pop(&v.waiting)
		heap.Push(&v.free, it)
	}
	for len(v.takers) > 0 && v.free.Len() > 0 {
		n := 0
		if v.q.config.Order == Relaxed {
			n = rand.IntN(min(spread, v.free.Len()))
		}
		it := v.free.items[n]
		v.removeLocked(it)
		it.tried, it.epoch = it.mod, v.epoch
		t := v.takers[0]
		v.takers = v.takers[1:]
		t.got <- given{item: *it}
	}
	v.setTimerLocked()
}

// clockCheck is how often the clock is read while a taker waits for a delayed item. It must
// not be left to one timer: those stand still while the machine sleeps.
const clockCheck = time.Second

func (v *view) setTimerLocked() {
	if len(v.takers) == 0 || v.waiting.Len() == 0 {
		v.stopTimerLocked()
		return
	}
	wait := min(time.Duration(v.waiting.items[0].at-now())*time.Microsecond, clockCheck)
	if v.timer == nil {
		v.timer = time.AfterFunc(wait, v.tick)
		return
	}
	v.timer.Reset(wait)
}

func (v *view) tick() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.closed {
		v.giveLocked()
	}
}

func (v *view) misses(cl *Claim) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.missesLocked(cl)
}

// missesLocked reports whether the claim's key was deleted, as far as the view knows: it is
// not there, and the view has come to its revision, or to another epoch than the item was
// given in. In the latter case a key that is newer than what the view has read is missed too.
func (v *view) missesLocked(cl *Claim) bool {
	return v.claims[cl.it.id] != cl.token && (v.revision >= cl.token || v.epoch != cl.it.epoch)
}

// hold has the claim hear of its key's deletion; false when that has happened, or the queue
// is closed.
func (v *view) hold(cl *Claim) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || v.missesLocked(cl) {
		return false
	}
	v.held[cl.it.id] = cl
	call.Signal(v.wanted)
	return true
}

func (v *view) letGo(cl *Claim) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held[cl.it.id] == cl {
		delete(v.held, cl.it.id)
	}
}

func (v *view) all() (list []*Claim) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, cl := range v.held {
		list = append(list, cl)
	}
	return list
}
