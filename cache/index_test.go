package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/internal/follow"
)

// written is a store in memory: a building, and a cache that shows it.
type written struct {
	b        *building
	ca       *Cache
	revision int64
}

func newWritten(config Config) *written {
	config.Prefix = true
	b := newBuilding(&config)
	ca := &Cache{config: config, building: b, seed: b.index.seed, sums: b.sums}
	ca.current.Store(&published{pairs: emptyPairs()})
	ca.asker = newAsker(func() {})
	return &written{b: b, ca: ca}
}

func (w *written) put(key, value string) follow.Change {
	return follow.Change{Old: w.b.Get(key), New: &etcd.KeyValue{Key: key, Value: []byte(value), CreateRevision: 1, ModRevision: w.revision + 1, Version: 1}}
}

// commit publishes changes as one revision.
func (w *written) commit(t testing.TB, changes ...follow.Change) *published {
	t.Helper()
	w.revision++
	b := batch{}
	if err := w.ca.take(&b, follow.Step{Kind: follow.Changed, Epoch: 1, Revision: w.revision, Changes: changes}); err != nil {
		t.Fatal(err)
	}
	w.ca.publish(&b)
	return w.ca.current.Load()
}

// random is a few changes of a few keys, several of one key among them.
func (w *written) random(r *rand.Rand, keys int) []follow.Change {
	var changes []follow.Change
	for range 1 + r.IntN(6) {
		key := fmt.Sprint("key", r.IntN(keys))
		if old := w.b.Get(key); r.IntN(3) == 0 && old != nil {
			changes = append(changes, follow.Change{Old: old})
			continue
		}
		changes = append(changes, w.put(key, fmt.Sprint(w.revision+1)))
	}
	return changes
}

// A reader finds in the table what its publication's tree has, or that it is overtaken; Peek
// is never overtaken. While a writer changes, deletes and creates again, and tables are
// replaced.
func TestIndexAgreesWithSnapshots(t *testing.T) {
	w := newWritten(Config{})
	const keys = 2000
	w.commit(t, w.put("key0", "0"))
	var over atomic.Bool
	var readers sync.WaitGroup
	for seed := range uint64(4) {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(seed, 2))
			held := w.ca.current.Load()
			for !over.Load() && !t.Failed() {
				if r.IntN(50) == 0 {
					held = w.ca.current.Load()
				}
				key := fmt.Sprint("key", r.IntN(keys))
				before := w.ca.current.Load().revision
				kv, presence := w.ca.Peek(key)
				if presence == Present && kv.Key != key || presence == Unknown {
					t.Errorf("Peek(%s): %v, %v", key, presence, kv)
				}
				now := w.ca.current.Load()
				if now.revision == before { // nothing has changed meanwhile
					if want := now.pairs.Get(key); (want != nil) != (presence == Present) || want != nil && want.kv.ModRevision != kv.ModRevision {
						t.Errorf("Peek(%s) at %d: %v %v, want %v", key, before, presence, kv, want)
					}
				}
				want := held.pairs.Get(key)
				if v, ok := held.find(hashOf(w.ca.seed, key), key); ok && v != want {
					t.Errorf("%s at position %d: %+v, want %+v", key, held.position, v, want)
				}
				if got := held.get(hashOf(w.ca.seed, key), key); got != want {
					t.Errorf("%s at position %d: %+v, want %+v", key, held.position, got, want)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 3))
	tables := make(map[*table]bool)
	for n := range 2500 {
		p := w.commit(t, w.random(r, min(keys, 1+n))...)
		tables[p.table] = true
	}
	over.Store(true)
	readers.Wait()
	if len(tables) < 5 {
		t.Errorf("%d tables", len(tables))
	}
}

// Without anybody beside it, each publication's table has what its tree has.
func TestIndexIsComplete(t *testing.T) {
	for seed := range uint64(4) {
		w := newWritten(Config{})
		r := rand.New(rand.NewPCG(seed, 1))
		for range 200 {
			before := w.ca.current.Load()
			p := w.commit(t, w.random(r, 300)...)
			for i := range 300 {
				key := fmt.Sprint("key", i)
				hash := hashOf(w.ca.seed, key)
				if v, ok := p.find(hash, key); !ok || v != p.pairs.Get(key) {
					t.Fatalf("seed %d, %s at position %d: %v %v, want %v", seed, key, p.position, v, ok, p.pairs.Get(key))
				}
				if before.ready() {
					if v := before.get(hash, key); v != before.pairs.Get(key) {
						t.Fatalf("seed %d, %s of the publication before: %v, want %v", seed, key, v, before.pairs.Get(key))
					}
				}
			}
		}
	}
}

// What is deleted doesn't stay.
func TestTablesForgetDeletedKeys(t *testing.T) {
	w := newWritten(Config{})
	for i := range 3000 {
		key := fmt.Sprint(i)
		w.commit(t, w.put(key, "1"))
		p := w.commit(t, follow.Change{Old: w.b.Get(key)})
		if n := len(p.table.slots); n > 2000 || p.pairs.Len() != 0 || p.bytes != 0 {
			t.Fatalf("%d slots for %d keys of %d bytes", n, p.pairs.Len(), p.bytes)
		}
	}
}

func TestPeekAllocatesNothing(t *testing.T) {
	w := newWritten(Config{})
	w.commit(t, w.put("key", "1"))
	if n := testing.AllocsPerRun(100, func() { w.ca.Peek("key") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The past is kept as far as it goes: each state for the revisions of which it was.
func TestHistory(t *testing.T) {
	w := newWritten(Config{})
	w.commit(t, w.put("a", "1"))
	for range 5 { // other keys change
		w.commit(t)
	}
	w.commit(t, w.put("a", "7"))
	for revision, want := range map[int64]string{1: "1", 4: "1", 6: "1", 7: "7", 8: "-"} {
		got := "-"
		if p := w.ca.history.at(w.ca.current.Load(), 1, revision); p != nil {
			got = string(p.pairs.Get("a").kv.Value)
		}
		if got != want {
			t.Errorf("at %d: %s, want %s", revision, got, want)
		}
	}
	for range keptStates {
		w.commit(t, w.put("a", "later"))
	}
	if p := w.ca.history.at(w.ca.current.Load(), 1, 1); p != nil {
		t.Error("the first state is kept for good")
	}
	if p := w.ca.history.at(w.ca.current.Load(), 2, w.revision); p != nil {
		t.Error("a state of another history")
	}
	big := string(make([]byte, keptBytes))
	w.commit(t, w.put("a", big))
	w.commit(t, w.put("a", "small"))
	if n := len(w.ca.history.past); n > 1 {
		t.Errorf("%d states are kept", n)
	}
}

// A reader who sees a state finds the one before it among the past at once.
func TestHistoryHasWhatWasReplaced(t *testing.T) {
	w := newWritten(Config{})
	w.commit(t, w.put("a", "1"))
	w.commit(t, w.put("a", "2"))
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			for revision := int64(0); revision < 20_000; {
				now := w.ca.current.Load()
				revision = now.revision
				if w.ca.history.at(now, 1, revision-1) == nil && w.ca.current.Load().revision < revision+keptStates {
					t.Errorf("at %d: the state before is not kept", revision)
					return
				}
			}
		})
	}
	for w.revision < 20_000 {
		w.commit(t, w.put("a", "more"))
	}
	reading.Wait()
}

// A subscription that is far behind gets everything again.
func TestLaggingSubscription(t *testing.T) {
	w := newWritten(Config{})
	big := string(make([]byte, 1<<20))
	w.commit(t, w.put("big", big), w.put("gone", "1"))
	sub := w.ca.Subscribe("")
	next := func() *Update {
		t.Helper()
		u, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	next()
	w.commit(t, follow.Change{Old: w.b.Get("gone")})
	for n := range 2 * maxLagBytes >> 20 {
		w.commit(t, w.put("big", big))
		if kept := w.ca.lagging.retained(w.ca.current.Load()); kept > maxLagBytes*5/4 {
			t.Fatalf("%d bytes are kept after %d changes", kept, n)
		}
	}
	u := next()
	var keys []string
	for ch := range u.Changes() {
		keys = append(keys, ch.Key())
		if ch.Old != nil {
			t.Errorf("Old of %s is known", ch.Key())
		}
	}
	if !u.Again || u.First || fmt.Sprint(keys) != "[big]" {
		t.Errorf("again %v, first %v: %v", u.Again, u.First, keys)
	}
	w.commit(t, w.put("big", "1"))
	if u := next(); u.Again {
		t.Error("again and again")
	}
}
