package cowtree

// Delete removes a key, and returns its item, or nil if there was none.
func (e *Edit[E]) Delete(key string) (old *E) {
	if e.tree.Get(key) == nil {
		return nil // nothing is copied
	}
	e.tree.root, old = e.remove(e.tree.root, key)
	e.tree.n--
	if e.tree.n == 0 {
		e.tree.root = child[E]{}
	}
	for n := e.tree.root.inner; n != nil && n.n == 1; n = e.tree.root.inner {
		e.tree.root = n.children[0]
	}
	return old
}

// remove returns the child without a key that it has.
func (e *Edit[E]) remove(c child[E], key string) (without child[E], old *E) {
	if c.leaf != nil {
		i, _ := c.leaf.find(e.tree.key, key)
		l := e.ownLeaf(c.leaf)
		old = l.items[i]
		copy(l.items[i:l.n-1], l.items[i+1:l.n])
		l.items[l.n-1] = nil
		l.cut(i)
		return child[E]{leaf: l}, old
	}
	n := e.ownInner(c.inner)
	i := n.find(key)
	n.children[i], old = e.remove(n.children[i], key)
	if n.children[i].index().n < least && n.n > 1 {
		e.join(n, max(i-1, 0))
	}
	return child[E]{inner: n}, old
}

// join has a child and the one to its right share evenly what they have, or makes them one.
func (e *Edit[E]) join(n *inner[E], i int) {
	left, right := n.children[i], n.children[i+1]
	if left.leaf != nil {
		l, r := e.ownLeaf(left.leaf), e.ownLeaf(right.leaf)
		n.children[i].leaf, n.children[i+1].leaf = l, r
		e.joinLeaves(l, r)
	} else {
		l, r := e.ownInner(left.inner), e.ownInner(right.inner)
		n.children[i].inner, n.children[i+1].inner = l, r
		joinInner(l, r)
	}
	if n.children[i+1].index().n == 0 {
		n.remove(i + 1)
		return
	}
	n.separators[i+1] = e.lowest(n.children[i+1])
	n.measure(n.at)
}

func (n *inner[E]) remove(i int) {
	copy(n.separators[i:n.n-1], n.separators[i+1:n.n])
	copy(n.children[i:n.n-1], n.children[i+1:n.n])
	n.separators[n.n-1], n.children[n.n-1] = "", child[E]{}
	n.cut(i)
}

// shares is how many of n a pair of nodes should have on the left: all, if they fit.
func shares(n int) int {
	if n <= fan {
		return n
	}
	return n / 2
}

func (e *Edit[E]) joinLeaves(l, r *leaf[E]) {
	var all [2 * fan]*E
	n := copy(all[:], l.items[:l.n])
	n += copy(all[n:], r.items[:r.n])
	clear(l.items[:])
	clear(r.items[:])
	l.n = copy(l.items[:], all[:shares(n)])
	r.n = copy(r.items[:], all[l.n:n])
	e.measure(l)
	e.measure(r)
}

func joinInner[E any](l, r *inner[E]) {
	var separators [2 * fan]string
	var children [2 * fan]child[E]
	n := copy(separators[:], l.separators[:l.n])
	copy(children[:], l.children[:l.n])
	copy(separators[n:], r.separators[:r.n])
	n += copy(children[n:], r.children[:r.n])
	clear(l.separators[:])
	clear(l.children[:])
	clear(r.separators[:])
	clear(r.children[:])
	l.n = copy(l.separators[:], separators[:shares(n)])
	copy(l.children[:], children[:l.n])
	r.n = copy(r.separators[:], separators[l.n:n])
	copy(r.children[:], children[l.n:n])
	l.measure(l.at)
	r.measure(r.at)
}
