package cache

import (
	"fmt"
	"hash/maphash"
	"iter"
	"sync/atomic"

	"silly.store/etcd"
	"silly.store/etcd/internal/callback"
	"silly.store/etcd/internal/cowtree"
	"silly.store/etcd/internal/follow"
)

type pairs = cowtree.Tree[version]

func emptyPairs() pairs { return cowtree.New(func(v *version) string { return v.kv.Key }) }

// building is the next publication, which the writer changes. It is what the follower has
// handed on.
type building struct {
	tree     *cowtree.Edit[version]
	index    index
	position uint64 // of the publication that it becomes
	bytes    int64  // of all pairs
	replaced int64  // of the pairs that have been replaced since the beginning
	most     int64  // bytes
	keep     func(*etcd.KeyValue) bool
	sums     *sums // nil: nobody checks
	panicked atomic.Pointer[callback.Error]
}

func newBuilding(c *Config) *building {
	b := &building{
		tree: emptyPairs().Edit(), index: index{seed: maphash.MakeSeed()}, position: 1,
		most: c.maxBytes(),
	}
	report := callback.Report(func(e *callback.Error) { b.panicked.CompareAndSwap(nil, e) })
	if c.KeepValue != nil {
		b.keep = func(kv *etcd.KeyValue) bool {
			defer report.Recover("Config.KeepValue", nil)
			return c.KeepValue(kv)
		}
	}
	if c.OnMutation != nil {
		b.sums = newSums(func(key string) {
			defer report.Recover("Config.OnMutation", nil)
			c.OnMutation(key)
		})
	}
	return b
}

// Get is for the follower, as are All and Len.
func (b *building) Get(key string) *etcd.KeyValue {
	if v := b.tree.Get(key); v != nil {
		return &v.kv
	}
	return nil
}

func (b *building) All() iter.Seq[*etcd.KeyValue] {
	tree := b.tree.Tree()
	return func(yield func(*etcd.KeyValue) bool) {
		for v := range tree.Ascend("") {
			if !yield(&v.kv) {
				return
			}
		}
	}
}

func (b *building) Len() int { return b.tree.Len() }

// apply takes changes. Its error ends the cache: ErrCacheTooLarge or ErrPanicked.
func (b *building) apply(changes []follow.Change) error {
	for _, ch := range changes {
		if ch.New != nil {
			b.set(ch.New)
		} else {
			b.delete(ch.Old.Key)
		}
	}
	if e := b.panicked.Load(); e != nil {
		return fmt.Errorf("cache: %w: %w", ErrPanicked, e)
	}
	if b.bytes > b.most {
		return fmt.Errorf("cache: %d keys take about %d bytes, MaxBytes is %d: %w", b.tree.Len(), b.bytes, b.most, ErrCacheTooLarge)
	}
	return nil
}

func (b *building) set(kv *etcd.KeyValue) {
	v := &version{kv: *kv, position: b.position}
	old := b.tree.Get(kv.Key)
	if b.keep != nil && !b.keep(kv) {
		v.kv.Value = nil
		v.decoded.Store(leftOut)
		if old != nil && old.isLeftOut() && sameRevisions(&old.kv, kv) {
			return
		}
	} else if old != nil && !old.isLeftOut() {
		v.decoded.Store(old.decoded.Load()) // in case that this one cannot be decoded
	}
	b.tree.Set(v)
	b.bytes += v.bytes()
	b.gone(old)
	b.sums.add(v)
	b.install(v)
}

func sameRevisions(a, b *etcd.KeyValue) bool {
	return a.ModRevision == b.ModRevision && a.CreateRevision == b.CreateRevision && a.Version == b.Version && a.Lease == b.Lease
}

func (b *building) delete(key string) {
	old := b.tree.Delete(key)
	if old == nil {
		return
	}
	b.gone(old)
	b.install(&version{kv: etcd.KeyValue{Key: old.kv.Key}, position: b.position})
}

func (b *building) gone(old *version) {
	if old != nil {
		b.bytes -= old.bytes()
		b.replaced += old.bytes()
		b.sums.remove(old)
	}
}

// install shows a version to readers. Before the first publication there are none, and it
// brings a table of the right size.
func (b *building) install(v *version) {
	if b.index.now != nil {
		b.index.install(v, b.position-1)
	}
}

// next makes a publication of what there is.
func (b *building) next() *published {
	p := &published{pairs: b.tree.Tree(), position: b.position, bytes: b.bytes, replaced: b.replaced}
	if b.index.now == nil {
		t := newTable(p.pairs.Len())
		for v := range p.pairs.Ascend("") {
			t.put(hashOf(b.index.seed, v.kv.Key), v)
		}
		b.index.now = t
	}
	p.table = b.index.now
	b.position++
	return p
}

// drop gives the memory back.
func (b *building) drop() {
	b.tree, b.index, b.bytes = emptyPairs().Edit(), index{seed: b.index.seed}, 0
}
