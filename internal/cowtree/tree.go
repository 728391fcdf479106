package cowtree

import "iter"

// Tree is an ordered map that never changes. Make it with [New] and [Tree.Edit].
type Tree[E any] struct {
	key  func(*E) string
	root child[E]
	n    int
}

// New returns an empty tree. key returns the key of an item, always the same one.
func New[E any](key func(*E) string) Tree[E] { return Tree[E]{key: key} }

// Len is how many items there are.
func (t Tree[E]) Len() int { return t.n }

// Get returns the item of a key, or nil.
func (t Tree[E]) Get(key string) *E {
	c := t.root
	for c.inner != nil {
		c = c.inner.children[c.inner.find(key)]
	}
	if c.leaf == nil {
		return nil
	}
	if i, found := c.leaf.find(t.key, key); found {
		return c.leaf.items[i]
	}
	return nil
}

// find returns the position of a key, or the one where it belongs.
func (l *leaf[E]) find(keyOf func(*E) string, key string) (i int, found bool) {
	return l.search(key, func(i int) string { return keyOf(l.items[i]) })
}

// find returns the child in which a key is, if it is there.
func (n *inner[E]) find(key string) int {
	i, found := n.search(key, func(i int) string { return n.separators[i] })
	if found || i == 0 {
		return i
	}
	return i - 1
}

// Ascend yields the items whose keys are not below from, in ascending order.
func (t Tree[E]) Ascend(from string) iter.Seq[*E] {
	return func(yield func(*E) bool) { t.ascend(t.root, from, yield) }
}

// ascend reports whether to go on.
func (t Tree[E]) ascend(c child[E], from string, yield func(*E) bool) bool {
	switch {
	case c.leaf != nil:
		i := 0
		if from != "" {
			i, _ = c.leaf.find(t.key, from)
		}
		for _, item := range c.leaf.items[i:c.leaf.n] {
			if !yield(item) {
				return false
			}
		}
	case c.inner != nil:
		i := 0
		if from != "" {
			i = c.inner.find(from)
		}
		for ; i < c.inner.n; i++ {
			if !t.ascend(c.inner.children[i], from, yield) {
				return false
			}
			from = ""
		}
	}
	return true
}

// Descend yields the items whose keys are below before, in descending order. Before "", it
// yields all.
func (t Tree[E]) Descend(before string) iter.Seq[*E] {
	return func(yield func(*E) bool) { t.descend(t.root, before, yield) }
}

func (t Tree[E]) descend(c child[E], before string, yield func(*E) bool) bool {
	switch {
	case c.leaf != nil:
		i := c.leaf.n
		if before != "" {
			i, _ = c.leaf.find(t.key, before)
		}
		for i--; i >= 0; i-- {
			if !yield(c.leaf.items[i]) {
				return false
			}
		}
	case c.inner != nil:
		i := c.inner.n - 1
		if before != "" {
			i = c.inner.find(before)
		}
		for ; i >= 0; i-- {
			if !t.descend(c.inner.children[i], before, yield) {
				return false
			}
			before = ""
		}
	}
	return true
}
