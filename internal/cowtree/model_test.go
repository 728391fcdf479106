package cowtree

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

type item struct {
	key   string
	value int
}

func newItems() Tree[item] { return New(func(it *item) string { return it.key }) }

// model is a tree and what should be in it.
type model struct {
	tree Tree[item]
	want map[string]*item
}

// check compares a tree with its model and looks at its structure.
func (m *model) check(t testing.TB) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(m.want))
	if m.tree.Len() != len(keys) {
		t.Fatalf("Len is %d, want %d", m.tree.Len(), len(keys))
	}
	var got []string
	for it := range m.tree.Ascend("") {
		got = append(got, it.key)
		if m.want[it.key] != it || m.tree.Get(it.key) != it {
			t.Fatalf("key %q: %v in order, %v by Get, want %v", it.key, it, m.tree.Get(it.key), m.want[it.key])
		}
	}
	if !slices.Equal(got, keys) {
		t.Fatalf("in ascending order %q, want %q", got, keys)
	}
	got = got[:0]
	for it := range m.tree.Descend("") {
		got = append(got, it.key)
	}
	slices.Reverse(keys)
	if !slices.Equal(got, keys) {
		t.Fatalf("in descending order %q, want %q", got, keys)
	}
	wellFormed(t, m.tree, m.tree.root, "", true)
}

// wellFormed checks the nodes below c, whose keys are not below low.
func wellFormed(t testing.TB, tree Tree[item], c child[item], low string, root bool) (height int) {
	t.Helper()
	at := func(i int) string { return c.leaf.items[i].key }
	switch {
	case c.empty():
		if !root {
			t.Fatal("a child is missing")
		}
		return 0
	case c.inner != nil:
		at = c.inner.at
		if c.inner.n < 2 {
			t.Fatalf("an inner node has %d children", c.inner.n)
		}
	case c.leaf.n == 0:
		t.Fatal("a leaf is empty")
	case at(0) < low:
		t.Fatalf("key %q is in a node for keys from %q on", at(0), low)
	}
	x := c.index()
	for i := range x.n {
		key, ok := strings.CutPrefix(at(i), x.prefix)
		if !ok || x.n > 1 && x.digests[i] != digest(key) || i > 0 && at(i-1) >= at(i) {
			t.Fatalf("key %d of a node is %q; the prefix is %q, the digest %x", i, at(i), x.prefix, x.digests[i])
		}
	}
	if c.inner == nil {
		for _, rest := range c.leaf.items[x.n:] {
			if rest != nil {
				t.Fatal("a leaf keeps an item that is not in it")
			}
		}
		return 0
	}
	for i := range x.n {
		below := low
		if i > 0 {
			below = at(i)
		}
		h := wellFormed(t, tree, c.inner.children[i], below, false)
		if i > 0 && h != height {
			t.Fatalf("leaves at depth %d and %d", h, height)
		}
		height = h
	}
	for i, rest := range c.inner.children[x.n:] {
		if !rest.empty() || c.inner.separators[x.n+i] != "" {
			t.Fatal("a node keeps a child that is not in it")
		}
	}
	return height + 1
}

// checkRanges compares iterations from a key on.
func (m *model) checkRanges(t testing.TB, from string) {
	t.Helper()
	var up, down []string
	for key := range m.want {
		if key >= from {
			up = append(up, key)
		}
		if key < from || from == "" {
			down = append(down, key)
		}
	}
	slices.Sort(up)
	slices.Sort(down)
	slices.Reverse(down)
	for it := range m.tree.Ascend(from) {
		if len(up) == 0 || it.key != up[0] {
			t.Fatalf("from %q on comes %q, want %q", from, it.key, up[:min(len(up), 1)])
		}
		up = up[1:]
	}
	for it := range m.tree.Descend(from) {
		if len(down) == 0 || it.key != down[0] {
			t.Fatalf("down from %q comes %q, want %q", from, it.key, down[:min(len(down), 1)])
		}
		down = down[1:]
	}
	if len(up)+len(down) > 0 {
		t.Fatalf("from %q on %q is missing, down from it %q", from, up, down)
	}
}

// checkDiff compares the differences between two trees with those of their models.
func checkDiff(t testing.TB, older, newer *model, from string) {
	t.Helper()
	want := make(map[string]Change[item])
	for key, it := range older.want {
		if newer.want[key] != it && key >= from {
			want[key] = Change[item]{Old: it, New: newer.want[key]}
		}
	}
	for key, it := range newer.want {
		if older.want[key] != it && key >= from {
			want[key] = Change[item]{Old: older.want[key], New: it}
		}
	}
	last := ""
	for ch := range newer.tree.Diff(older.tree, from) {
		it := ch.New
		if it == nil {
			it = ch.Old
		}
		if w, ok := want[it.key]; !ok || w != ch || last > it.key {
			t.Fatalf("difference of %q after %q: %+v, want %+v", it.key, last, ch, w)
		}
		last = it.key
		delete(want, it.key)
	}
	if len(want) > 0 {
		t.Fatalf("differences are missing: %+v", want)
	}
}

// keyOf makes a key of two bytes: short and long ones, with and without common prefixes,
// with zero bytes and bytes that are no text.
func keyOf(a, b byte) string {
	switch a % 5 {
	case 0:
		return fmt.Sprintf("config/services/%02x", b)
	case 1:
		return strings.Repeat("\x00", int(b)%20)
	case 2:
		return string([]byte{b, a})
	case 3:
		return fmt.Sprintf("config/services/%02x/%d", b%16, a)
	}
	return strings.Repeat("x", 30) + string([]byte{b}) + strings.Repeat("y", int(a)%9)
}

// play changes a tree as the bytes say, three at a time, and compares each version that it
// makes with its model, then all of them again.
func play(t testing.TB, script []byte) {
	t.Helper()
	now := &model{newItems(), make(map[string]*item)}
	versions := []*model{now}
	edit := now.tree.Edit()
	want := maps.Clone(now.want)
	for n := 0; len(script) >= 3; n++ {
		op, key := script[0], keyOf(script[1], script[2])
		script = script[3:]
		had := want[key]
		switch {
		case op%16 == 0:
			now = &model{edit.Tree(), maps.Clone(want)}
			versions = append(versions, now)
			checkDiff(t, versions[len(versions)-2], now, "")
			checkDiff(t, now, versions[int(op/16)%len(versions)], key)
			now.checkRanges(t, key)
			if op/16%2 == 0 {
				edit = now.tree.Edit()
			}
		case op%3 == 0:
			if got := edit.Delete(key); got != had {
				t.Fatalf("Delete(%q) returns %v, want %v", key, got, had)
			}
			delete(want, key)
		default:
			it := &item{key, n}
			if got := edit.Set(it); got != had {
				t.Fatalf("Set(%q) returns %v, want %v", key, got, had)
			}
			want[key] = it
		}
		if edit.Get(key) != want[key] || edit.Len() != len(want) {
			t.Fatalf("the edit has %v under %q, want %v", edit.Get(key), key, want[key])
		}
	}
	versions = append(versions, &model{edit.Tree(), want})
	for i, v := range versions {
		if i%max(1, len(versions)/20) == 0 || i == len(versions)-1 {
			v.check(t)
		}
	}
	checkDiff(t, versions[0], versions[len(versions)-1], "")
}

// FuzzModel plays any script.
func FuzzModel(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 8 {
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) { play(t, script[:min(len(script), 6000)]) })
}

func TestModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		script := make([]byte, 3*r.IntN(2000))
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		if bias := byte(seed % 3); bias > 0 { // trees that grow, and trees that shrink
			for i := 0; i < len(script); i += 3 {
				if (i < len(script)/2) == (bias == 1) && r.IntN(3) > 0 {
					script[i] = 3
				}
			}
		}
		play(t, script)
	}
}

// Many keys, in order, in reverse order and at random, come and go.
func TestLarge(t *testing.T) {
	const n = 6000
	orders := map[string]func(i int) int{
		"ascending": func(i int) int { return i }, "descending": func(i int) int { return n - i },
		"random": func(i int) int { return i * 7919 % n },
	}
	for name, order := range orders {
		m := &model{newItems(), make(map[string]*item)}
		edit := m.tree.Edit()
		for i := range n {
			it := &item{fmt.Sprintf("registry/pods/%06d", order(i)), i}
			edit.Set(it)
			m.want[it.key] = it
		}
		m.tree = edit.Tree()
		m.check(t)
		full := &model{m.tree, maps.Clone(m.want)}
		edit = m.tree.Edit()
		for i := range n {
			if key := fmt.Sprintf("registry/pods/%06d", order(i)); i%50 != 0 {
				edit.Delete(key)
				delete(m.want, key)
			}
		}
		m.tree = edit.Tree()
		m.check(t)
		full.check(t)
		checkDiff(t, full, m, "")
		edit = m.tree.Edit()
		for key := range m.want {
			edit.Delete(key)
		}
		if empty := (&model{edit.Tree(), nil}); name != "" {
			empty.check(t)
			if !empty.tree.root.empty() {
				t.Errorf("%s: an empty tree keeps nodes", name)
			}
		}
	}
}

// fill is a tree of n keys.
func fill(n int) Tree[item] {
	edit := newItems().Edit()
	for i := range n {
		edit.Set(&item{fmt.Sprintf("registry/pods/%08d", i*7919%n), i})
	}
	return edit.Tree()
}

// The cost of a difference depends on the changes, and not on the size: keys that are looked
// at are counted.
func TestDiffSkipsWhatIsShared(t *testing.T) {
	tree := fill(100_000)
	looked := 0
	tree.key = func(it *item) string { looked++; return it.key }
	edit := tree.Edit()
	r := rand.New(rand.NewPCG(3, 3))
	const changes = 100
	for i := range changes {
		key := fmt.Sprintf("registry/pods/%08d", r.IntN(100_000))
		switch i % 3 {
		case 0:
			edit.Set(&item{key, -1})
		case 1:
			edit.Set(&item{key + "/new", -1})
		case 2:
			edit.Delete(key)
		}
	}
	newer := edit.Tree()
	looked = 0
	found := 0
	for range newer.Diff(tree, "") {
		found++
	}
	if found < changes*9/10 || found > changes {
		t.Errorf("%d differences after %d changes", found, changes)
	}
	if most := changes * 4 * fan; looked > most {
		t.Errorf("%d keys were looked at for %d changes, want at most %d", looked, changes, most)
	}
	looked = 0
	for range newer.Diff(newer, "") {
		t.Error("a tree differs from itself")
	}
	if looked > 0 {
		t.Errorf("%d keys were looked at in equal trees", looked)
	}
}

// A break ends an iteration.
func TestBreak(t *testing.T) {
	tree := fill(2000)
	for name, seq := range map[string]func(func(*item) bool){"up": tree.Ascend("registry/pods/000001"), "down": tree.Descend("")} {
		n := 0
		for range seq {
			if n++; n == 100 {
				break
			}
		}
		if n != 100 {
			t.Errorf("%s: %d items", name, n)
		}
	}
	n := 0
	for range tree.Diff(newItems(), "") {
		if n++; n == 100 {
			break
		}
	}
	if n != 100 {
		t.Errorf("%d differences", n)
	}
}

// Nodes are full enough, and almost full where keys come in order.
func TestDensity(t *testing.T) {
	const n = 50_000
	for name, test := range map[string]struct {
		step  int
		least float64
	}{"in order": {1, 0.95}, "at random": {7919, 0.6}} {
		edit := newItems().Edit()
		for i := range n {
			edit.Set(&item{fmt.Sprintf("%08d", i*test.step%n), i})
		}
		leaves := 0
		var count func(c child[item])
		count = func(c child[item]) {
			if c.leaf != nil {
				leaves++
				return
			}
			for _, below := range c.inner.children[:c.inner.n] {
				count(below)
			}
		}
		count(edit.Tree().root)
		if full := n / float64(leaves*fan); full < test.least {
			t.Errorf("%s: leaves are full to %.2f, want %.2f", name, full, test.least)
		}
	}
}
