package cowtree

// Edit makes a tree of another. It is for one goroutine.
type Edit[E any] struct {
	tree  Tree[E]
	owner *owner
}

// Edit begins with the tree as it is, which stays so.
func (t Tree[E]) Edit() *Edit[E] { return &Edit[E]{tree: t, owner: new(owner)} }

// Tree is the tree so far. Later changes do not show in it.
func (e *Edit[E]) Tree() Tree[E] {
	e.owner = new(owner) // what there is belongs to the tree from now on
	return e.tree
}

// Len is how many items there are.
func (e *Edit[E]) Len() int { return e.tree.n }

// Get returns the item of a key, or nil.
func (e *Edit[E]) Get(key string) *E { return e.tree.Get(key) }

// Set puts an item under its key, and returns the one that was there, or nil.
func (e *Edit[E]) Set(item *E) (old *E) {
	key := e.tree.key(item)
	if e.tree.root.empty() {
		e.tree.root.leaf = &leaf[E]{owner: e.owner}
	}
	root, right, old := e.set(e.tree.root, key, item, true)
	if !right.empty() {
		top := &inner[E]{owner: e.owner}
		top.children[0], top.children[1] = root, right
		top.separators[0], top.separators[1] = e.lowest(root), e.lowest(right)
		top.n = 2
		top.measure(top.at)
		root = child[E]{inner: top}
	}
	e.tree.root = root
	if old == nil {
		e.tree.n++
	}
	return old
}

// lowest is the key by which a child is separated from those before it.
func (e *Edit[E]) lowest(c child[E]) string {
	for c.inner != nil {
		c = c.inner.children[0]
	}
	return e.tree.key(c.leaf.items[0])
}

// set returns the child with the item, and what it has split off to the right. last: there
// is no child to its right in the whole tree.
func (e *Edit[E]) set(c child[E], key string, item *E, last bool) (with, right child[E], old *E) {
	if c.leaf != nil {
		return e.setLeaf(c.leaf, key, item, last)
	}
	n := e.ownInner(c.inner)
	i := n.find(key)
	if key < n.separators[0] { // it will be the first child's lowest
		n.separators[0] = key
		n.measure(n.at)
	}
	n.children[i], right, old = e.set(n.children[i], key, item, last && i == n.n-1)
	if right.empty() {
		return child[E]{inner: n}, child[E]{}, old
	}
	separator := e.lowest(right)
	if n.n < fan {
		n.insert(i+1, separator, right)
		return child[E]{inner: n}, child[E]{}, old
	}
	half := n.split(e.owner, cutAt(last && i == n.n-1))
	if i+1 <= n.n {
		n.insert(i+1, separator, right)
	} else {
		half.insert(i+1-n.n, separator, right)
	}
	return child[E]{inner: n}, child[E]{inner: half}, old
}

// cutAt is how much of a full node stays when it is split. At the end of the tree, where
// keys come in order, almost everything does.
func cutAt(last bool) int {
	if last {
		return fan - least
	}
	return fan / 2
}

func (e *Edit[E]) setLeaf(l *leaf[E], key string, item *E, last bool) (with, right child[E], old *E) {
	i, found := l.find(e.tree.key, key)
	l = e.ownLeaf(l)
	if found {
		old, l.items[i] = l.items[i], item
		return child[E]{leaf: l}, child[E]{}, old
	}
	if l.n < fan {
		l.insert(e.tree.key, i, key, item)
		return child[E]{leaf: l}, child[E]{}, nil
	}
	half := &leaf[E]{owner: e.owner}
	if last && i == l.n { // keys that come in order fill their leaves
		half.insert(e.tree.key, 0, key, item)
		return child[E]{leaf: l}, child[E]{leaf: half}, nil
	}
	e.moveItems(l, half, fan/2)
	if i <= l.n {
		l.insert(e.tree.key, i, key, item)
	} else {
		half.insert(e.tree.key, i-l.n, key, item)
	}
	return child[E]{leaf: l}, child[E]{leaf: half}, nil
}

func (e *Edit[E]) ownLeaf(l *leaf[E]) *leaf[E] {
	if l.owner == e.owner {
		return l
	}
	c := *l
	c.owner = e.owner
	return &c
}

func (e *Edit[E]) ownInner(n *inner[E]) *inner[E] {
	if n.owner == e.owner {
		return n
	}
	c := *n
	c.owner = e.owner
	return &c
}

func (l *leaf[E]) insert(keyOf func(*E) string, i int, key string, item *E) {
	copy(l.items[i+1:l.n+1], l.items[i:l.n])
	l.items[i] = item
	l.put(i, key, func(i int) string { return keyOf(l.items[i]) })
}

func (n *inner[E]) at(i int) string { return n.separators[i] }

func (n *inner[E]) insert(i int, separator string, c child[E]) {
	copy(n.separators[i+1:n.n+1], n.separators[i:n.n])
	copy(n.children[i+1:n.n+1], n.children[i:n.n])
	n.separators[i], n.children[i] = separator, c
	n.n++
	n.measure(n.at)
}

// split moves the children from a position on into a new node.
func (n *inner[E]) split(o *owner, from int) *inner[E] {
	half := &inner[E]{owner: o}
	half.n = copy(half.separators[:], n.separators[from:n.n])
	copy(half.children[:], n.children[from:n.n])
	clear(n.separators[from:n.n])
	clear(n.children[from:n.n])
	n.n = from
	n.measure(n.at)
	half.measure(half.at)
	return half
}

// moveItems moves the items from a position on to the beginning of an empty leaf.
func (e *Edit[E]) moveItems(l, to *leaf[E], from int) {
	to.n = copy(to.items[:], l.items[from:l.n])
	clear(l.items[from:l.n])
	l.n = from
	e.measure(l)
	e.measure(to)
}

func (e *Edit[E]) measure(l *leaf[E]) {
	l.index.measure(func(i int) string { return e.tree.key(l.items[i]) })
}
