package cowtree

import "iter"

// Change is a key at which two trees differ. One of Old and New is nil if only the other tree
// has the key.
type Change[E any] struct {
	Old, New *E
}

// Diff yields the changes that lead from the tree older to t, in ascending order of their
// keys, from the key from on. An item that is not the same pointer is a change. The trees have
// the same key function.
func (t Tree[E]) Diff(older Tree[E], from string) iter.Seq[Change[E]] {
	return func(yield func(Change[E]) bool) {
		d := differ[E]{key: t.key, from: from}
		d.old.push(step[E]{child: older.root})
		d.new.push(step[E]{child: t.root})
		for d.next(yield) {
		}
	}
}

// differ walks two trees at once. Each walk is a stack of what is still to come, the next
// thing on top.
type differ[E any] struct {
	key      func(*E) string
	from     string
	old, new walk[E]
}

// step is a subtree or an item, whose keys are not below low.
type step[E any] struct {
	child child[E]
	item  *E
	low   string
}

type walk[E any] []step[E]

func (w *walk[E]) push(s step[E]) {
	if s.item != nil || !s.child.empty() {
		*w = append(*w, s)
	}
}

func (w *walk[E]) pop() { *w = (*w)[:len(*w)-1] }

// top is the zero step at the end of the walk.
func (w walk[E]) top() step[E] {
	if len(w) == 0 {
		return step[E]{}
	}
	return w[len(w)-1]
}

// next goes one step on, and reports whether there is another.
func (d *differ[E]) next(yield func(Change[E]) bool) bool {
	old, new := d.old.top(), d.new.top()
	switch {
	case len(d.old) == 0 && len(d.new) == 0:
		return false
	case len(d.old) > 0 && len(d.new) > 0 && old.child == new.child && old.item == new.item:
		d.old.pop()
		d.new.pop()
		return true
	case len(d.new) == 0 || len(d.old) > 0 && old.item != nil && old.low < new.low:
		return d.alone(&d.old, old, func(item *E) bool { return yield(Change[E]{Old: item}) })
	case len(d.old) == 0 || new.item != nil && new.low < old.low:
		return d.alone(&d.new, new, func(item *E) bool { return yield(Change[E]{New: item}) })
	case old.item != nil && new.item != nil: // of one key
		d.old.pop()
		d.new.pop()
		return yield(Change[E]{Old: old.item, New: new.item})
	case new.item != nil || old.child.height() > new.child.height():
		d.expand(&d.old)
	case old.item != nil || new.child.height() > old.child.height():
		d.expand(&d.new)
	default:
		d.expand(&d.old)
		d.expand(&d.new)
	}
	return true
}

// alone takes a step that only one of the trees has.
func (d *differ[E]) alone(w *walk[E], s step[E], report func(*E) bool) bool {
	if s.item == nil {
		d.expand(w)
		return true
	}
	w.pop()
	return report(s.item)
}

func (c child[E]) height() int {
	h := 0
	for ; c.inner != nil; c = c.inner.children[0] {
		h++
	}
	return h
}

// expand replaces the subtree on top by its parts, without those that are below from.
func (d *differ[E]) expand(w *walk[E]) {
	s := w.top()
	w.pop()
	if l := s.child.leaf; l != nil {
		first, _ := l.find(d.key, d.from)
		for i := l.n - 1; i >= first; i-- {
			w.push(step[E]{item: l.items[i], low: d.key(l.items[i])})
		}
		return
	}
	n := s.child.inner
	first := n.find(d.from)
	for i := n.n - 1; i >= first; i-- {
		w.push(step[E]{child: n.children[i], low: n.separators[i]})
	}
}
