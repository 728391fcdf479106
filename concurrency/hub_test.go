package concurrency

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"silly.store/etcd"
)

// world is a model of a store, of contenders in this process, and of the hub's watch, which
// may be behind.
type world struct {
	t        *testing.T
	rand     *rand.Rand
	hubs     hubs
	revision int64
	live     map[string]int64 // create revisions
	deleted  []deletion
	next     int64 // of the watch: the revision to be delivered next; 0: there is no watch
	waiting  []*waiter
}

// waiter is a contender of this process.
type waiter struct {
	m       *member // nil: it has not come yet
	key     string
	created int64  // 0: its request is under way
	list    outset // the answer to its request, until it joins
	joined  bool
}

func (w *world) hub() *hub { return w.hubs.all[hubKey{key: "q/"}] }

func (w *world) put(key string) int64 {
	w.revision++
	w.live[key] = w.revision
	return w.revision
}

func (w *world) delete(key string) {
	w.revision++
	delete(w.live, key)
	w.deleted = append(w.deleted, deletion{key, w.revision})
}

func (w *world) come(x *waiter) { x.m = w.hubs.come(hubKey{key: "q/"}, x.key, nil) }

// before is what a read finds before a key.
func (w *world) before(created int64) outset {
	o := outset{revision: w.revision}
	for key, other := range w.live {
		if other < created {
			o.before = append(o.before, blocker{key, 1})
		}
	}
	return o
}

// step does one thing at random.
func (w *world) step() {
	switch key := fmt.Sprint("q/", w.rand.IntN(6)); w.rand.IntN(9) {
	case 0, 1: // another process, or an earlier holder of this one
		if _, ok := w.live[key]; !ok {
			w.put(key)
		}
	case 2, 3:
		if _, ok := w.live[key]; ok {
			w.delete(key)
		}
	case 4:
		own := fmt.Sprint("q/own", w.rand.IntN(4))
		if !slices.ContainsFunc(w.waiting, func(o *waiter) bool { return o.key == own }) {
			x := &waiter{key: own}
			if w.rand.IntN(3) > 0 { // else it comes when it has read, as one that was far does
				w.come(x)
			}
			w.waiting = append(w.waiting, x)
		}
	case 5, 6:
		if len(w.waiting) > 0 {
			w.advance(w.waiting[w.rand.IntN(len(w.waiting))])
		}
	case 7:
		w.deliver(1 + w.rand.IntN(4))
	case 8:
		if w.rand.IntN(10) == 0 && w.hub() != nil { // a compaction
			w.hub().restart()
			w.next = 0
		} else if w.rand.IntN(5) == 0 && w.hub() != nil {
			w.hub().resumed()
		}
	}
}

// advance takes a waiter one step on.
func (w *world) advance(x *waiter) {
	switch {
	case x.created == 0:
		if _, ok := w.live[x.key]; ok { // an earlier key of the slot
			w.delete(x.key)
		}
		x.created = w.put(x.key)
		x.list = w.before(x.created)
	case x.m == nil:
		w.come(x)
	case !x.joined:
		if x.joined = x.m.join(x.list); !x.joined {
			w.again(x)
		}
	default:
		switch x.m.standing() {
		case standsClear:
			w.isClear(x)
			w.leave(x)
		case standsGone:
			if w.live[x.key] == x.created {
				w.t.Fatalf("%s of %d is there, and said to be gone", x.key, x.created)
			}
			w.leave(x)
		case standsStale:
			w.again(x)
		case standsWaiting, standsFailed, standsEnded:
		}
	}
}

func (w *world) again(x *waiter) {
	x.m.again()
	if w.live[x.key] != x.created {
		w.leave(x)
		return
	}
	x.list, x.joined = w.before(x.created), false
}

func (w *world) isClear(x *waiter) {
	if o := w.before(x.created); len(o.before) > 0 {
		w.t.Fatalf("%s of %d is said to be first, before it are %v", x.key, x.created, o.before)
	}
}

// leave ends a waiter; its key goes now or later.
func (w *world) leave(x *waiter) {
	x.m.leave(w.rand.IntN(2) == 0)
	w.waiting = slices.DeleteFunc(w.waiting, func(o *waiter) bool { return o == x })
	if w.live[x.key] == x.created {
		w.delete(x.key)
	}
	if w.hub() == nil {
		w.next = 0
	}
}

// deliver has the watch bring some revisions.
func (w *world) deliver(revisions int) {
	h := w.hub()
	if h == nil || h.start == 0 {
		return
	}
	if w.next == 0 {
		w.next = h.start
	}
	for ; revisions > 0 && w.next <= w.revision; revisions-- {
		if i := slices.IndexFunc(w.deleted, func(d deletion) bool { return d.revision == w.next }); i >= 0 {
			h.applied(&etcd.WatchResponse{Events: []etcd.Event{{
				Type: etcd.EventDelete, KV: etcd.KeyValue{Key: w.deleted[i].key, ModRevision: w.next},
			}}})
		}
		w.next++
	}
}

// Whatever the order in which a watch that is behind, requests, reads, compactions and keys
// that are used again come: the hub names no waiter the first that is not, no key gone that is
// there, and in the end every waiter has had its turn.
func TestHubModel(t *testing.T) {
	for seed := range uint64(3000) {
		w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), live: make(map[string]int64), revision: 1}
		for range 120 {
			w.step()
		}
		for key := range w.live {
			if !slices.ContainsFunc(w.waiting, func(x *waiter) bool { return x.key == key }) {
				w.delete(key)
			}
		}
		for range 1000 {
			for _, x := range slices.Clone(w.waiting) {
				w.advance(x)
			}
			w.deliver(100)
		}
		if len(w.waiting) > 0 {
			t.Fatalf("seed %d: %d wait for ever", seed, len(w.waiting))
		}
		if len(w.hubs.all) != 0 {
			t.Fatalf("seed %d: a hub is left", seed)
		}
	}
}

// Both keys of a process go at one revision: the own one counts.
func TestHubOwnDeletionFirst(t *testing.T) {
	var hs hubs
	m := hs.come(hubKey{key: "q/"}, "q/own", nil)
	if !m.join(outset{revision: 5, before: []blocker{{"q/a", 1}}}) {
		t.Fatal("it has not joined")
	}
	var events []etcd.Event
	for _, key := range []string{"q/a", "q/own"} {
		events = append(events, etcd.Event{Type: etcd.EventDelete, KV: etcd.KeyValue{Key: key, ModRevision: 7}})
	}
	m.hub.applied(&etcd.WatchResponse{Events: events})
	if st := m.standing(); st != standsGone {
		t.Errorf("it stands %d", st)
	}
	m.leave(true)
}

// A semaphore's contender waits until those before it leave room, no matter which of
// them goes.
func TestHubWeights(t *testing.T) {
	var hs hubs
	m := hs.come(hubKey{key: "q/"}, "q/own", nil)
	m.join(outset{revision: 5, before: []blocker{{"q/a", 2}, {"q/b", 1}, {"q/c", 1}}, budget: 2})
	for i, test := range []struct {
		key  string
		want standing
	}{{"q/b", standsWaiting}, {"q/other", standsWaiting}, {"q/c", standsClear}} {
		m.hub.applied(&etcd.WatchResponse{Events: []etcd.Event{{Type: etcd.EventDelete, KV: etcd.KeyValue{Key: test.key, ModRevision: int64(6 + i)}}}})
		if st := m.standing(); st != test.want {
			t.Errorf("after %s it stands %d", test.key, st)
		}
	}
	m.leave(true)
}
