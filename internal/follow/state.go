package follow

import (
	"iter"
	"maps"
	"slices"

	"silly.store/etcd"
)

// State is what a [Follower] has handed on. A caller of [Follower.Next] that keeps the
// pairs anyway implements it, so that they are kept only once: it applies the changes of
// each step before it calls Next again. The follower reads it inside Next only.
type State interface {
	// Get returns the pair of a key, or nil.
	Get(key string) *etcd.KeyValue
	// All yields the pairs in ascending order of their keys.
	All() iter.Seq[*etcd.KeyValue]
	// Len is how many there are.
	Len() int
}

// pairs is the state of a follower whose caller keeps none.
type pairs map[string]*etcd.KeyValue

func (p pairs) Get(key string) *etcd.KeyValue { return p[key] }

func (p pairs) Len() int { return len(p) }

func (p pairs) All() iter.Seq[*etcd.KeyValue] {
	return func(yield func(*etcd.KeyValue) bool) {
		for _, key := range slices.Sorted(maps.Keys(p)) {
			if !yield(p[key]) {
				return
			}
		}
	}
}

func (p pairs) apply(changes []Change) {
	for _, ch := range changes {
		if ch.New != nil {
			p[ch.New.Key] = ch.New
		} else {
			delete(p, ch.Old.Key)
		}
	}
}
