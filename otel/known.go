package etcdotel

import "sync"

// known keeps what is made from a name, since a call would make it again: attributes and
// options. Names are methods and endpoints, of which there are few. It may be used
// concurrently.
type known[K comparable, V any] struct {
	from func(K) V
	all  sync.Map // of V by K
}

func newKnown[K comparable, V any](from func(K) V) *known[K, V] { return &known[K, V]{from: from} }

func (k *known[K, V]) of(name K) V {
	if v, ok := k.all.Load(name); ok {
		return v.(V)
	}
	v, _ := k.all.LoadOrStore(name, k.from(name))
	return v.(V)
}
