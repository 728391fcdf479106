package cowtree

// fan is how many items a leaf has at most, and how many children an inner node.
const fan = 32

// least is how few of them a node keeps that is not the root.
const least = fan / 4

// owner is the edit that has made a node, and may change it. Nodes of other edits are
// copied.
type owner struct{ _ byte }

// index is the keys of a node, as far as a search needs them: those of the items of a leaf,
// those by which the children of an inner node are separated.
type index struct {
	prefix  string // of all keys
	digests [fan]uint64
	n       int
}

type leaf[E any] struct {
	index
	owner *owner
	items [fan]*E
}

// inner is a node with children. The child i has the keys from separators[i] up to the next
// one.
type inner[E any] struct {
	index
	owner      *owner
	separators [fan]string
	children   [fan]child[E]
}

// child is a node: one of the two is set. The zero value is an empty tree.
type child[E any] struct {
	leaf  *leaf[E]
	inner *inner[E]
}

func (c child[E]) empty() bool { return c.leaf == nil && c.inner == nil }

// index is nil for an empty tree.
func (c child[E]) index() *index {
	switch {
	case c.leaf != nil:
		return &c.leaf.index
	case c.inner != nil:
		return &c.inner.index
	}
	return nil
}

// digest is the first eight bytes of s as a number: if those of two strings differ, they are
// in the order of the strings.
func digest(s string) uint64 {
	if len(s) >= 8 {
		return uint64(s[7]) | uint64(s[6])<<8 | uint64(s[5])<<16 | uint64(s[4])<<24 |
			uint64(s[3])<<32 | uint64(s[2])<<40 | uint64(s[1])<<48 | uint64(s[0])<<56
	}
	var d uint64
	for i := range len(s) {
		d |= uint64(s[i]) << (56 - 8*i)
	}
	return d
}

// common is how many bytes at the beginning a and b share.
func common(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// search returns the first position whose key is not below key, and whether it is key
// itself. at returns the key of a position.
func (x *index) search(key string, at func(int) string) (i int, found bool) {
	p := len(x.prefix)
	if len(key) < p || key[:p] != x.prefix {
		if key < x.prefix {
			return 0, false
		}
		return x.n, false
	}
	d := digest(key[p:])
	low, high := 0, x.n
	for low < high {
		mid := int(uint(low+high) / 2)
		if x.digests[mid] < d {
			low = mid + 1
		} else {
			high = mid
		}
	}
	for ; low < x.n && x.digests[low] == d; low++ {
		if k := at(low); k >= key {
			return low, k == key
		}
	}
	return low, false
}

// put makes room for a key at a position and notes it there. at returns the key of a
// position, as it is after that.
func (x *index) put(i int, key string, at func(int) string) {
	x.n++
	switch p := len(x.prefix); {
	case x.n == 1:
		x.prefix = key
		x.digests[0] = 0
		return
	case common(x.prefix, key) < p:
		x.measure(at)
		return
	case x.n == 2: // the prefix was the whole of the only key
		x.measure(at)
		return
	}
	copy(x.digests[i+1:x.n], x.digests[i:x.n-1])
	x.digests[i] = digest(key[len(x.prefix):])
}

// cut forgets the key of a position. The prefix stays, also if it could be longer now.
func (x *index) cut(i int) {
	copy(x.digests[i:x.n-1], x.digests[i+1:x.n])
	x.n--
}

// measure computes the prefix and the digests. The keys are sorted, so what the first and the
// last have in common, all have.
func (x *index) measure(at func(int) string) {
	if x.n == 0 {
		x.prefix = ""
		return
	}
	first := at(0)
	x.prefix = first[:common(first, at(x.n-1))]
	for i := range x.n {
		x.digests[i] = digest(at(i)[len(x.prefix):])
	}
}
