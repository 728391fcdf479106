package follow

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"silly.store/etcd"
)

// pair is a pair of a key that was created at the first of the revisions and last put at
// the last of them.
func pair(key, value string, create, mod int64) *etcd.KeyValue {
	return &etcd.KeyValue{Key: key, Value: []byte(value), CreateRevision: create, ModRevision: mod, Version: mod - create + 1}
}

// stateOf is a state of the pairs.
func stateOf(kvs ...*etcd.KeyValue) pairs {
	p := make(pairs)
	for _, kv := range kvs {
		p[kv.Key] = kv
	}
	return p
}

// sorted is the pairs as a range returns them.
func sorted(p pairs) []etcd.KeyValue {
	var out []etcd.KeyValue
	for kv := range p.All() {
		out = append(out, *kv)
	}
	return out
}

// text is changes in a form to compare.
func text(changes []Change) string {
	side := func(kv *etcd.KeyValue) string {
		if kv == nil {
			return "-"
		}
		return fmt.Sprintf("%s@%d", kv.Value, kv.ModRevision)
	}
	out := ""
	for _, ch := range changes {
		out += fmt.Sprintf("%s:%s>%s ", ch.Key(), side(ch.Old), side(ch.New))
	}
	return out
}

func TestDifferences(t *testing.T) {
	leased := *pair("a", "1", 3, 3)
	leased.Lease = 7
	rewritten := *pair("a", "1", 3, 4)
	rewritten.Version = 1
	for name, test := range map[string]struct {
		before, after pairs
		keysOnly      bool
		want          string
	}{
		"nothing":               {before: stateOf(), after: stateOf()},
		"the same":              {before: stateOf(pair("a", "1", 3, 3)), after: stateOf(pair("a", "1", 3, 3))},
		"first":                 {after: stateOf(pair("b", "2", 4, 4), pair("a", "1", 3, 3)), want: "a:->1@3 b:->2@4 "},
		"all gone":              {before: stateOf(pair("b", "2", 4, 4), pair("a", "1", 3, 3)), want: "a:1@3>- b:2@4>- "},
		"around what stays":     {stateOf(pair("a", "1", 3, 3), pair("c", "1", 3, 3), pair("e", "1", 3, 3)), stateOf(pair("b", "1", 4, 4), pair("c", "1", 3, 3), pair("d", "1", 4, 4)), false, "a:1@3>- b:->1@4 d:->1@4 e:1@3>- "},
		"changed":               {before: stateOf(pair("a", "1", 3, 3)), after: stateOf(pair("a", "2", 3, 9)), want: "a:1@3>2@9 "},
		"deleted and recreated": {before: stateOf(pair("a", "1", 3, 3)), after: stateOf(pair("a", "1", 8, 8)), want: "a:1@3>- a:->1@8 "},
		"another history, same revisions": {
			before: stateOf(pair("a", "old", 3, 3)), after: stateOf(pair("a", "new", 3, 3)), want: "a:old@3>new@3 ",
		},
		"another history, another version": {before: stateOf(pair("a", "1", 3, 4)), after: stateOf(&rewritten), want: "a:1@4>1@4 "},
		"another lease":                    {before: stateOf(pair("a", "1", 3, 3)), after: stateOf(&leased), want: "a:1@3>1@3 "},
		"another lease, keys only":         {before: stateOf(pair("a", "1", 3, 3)), after: stateOf(&leased), keysOnly: true},
		"keys beyond UTF-8":                {before: stateOf(pair("a\xff", "1", 3, 3), pair("b", "1", 3, 3)), after: stateOf(pair("b", "1", 3, 3)), want: "a\xff:1@3>- "},
	} {
		changes, err := collect(test.before, each(sorted(test.after)), test.keysOnly)
		if got := text(changes); got != test.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, test.want)
		}
	}
}

// collect is all the differences; nil with an error.
func collect(state State, found iter.Seq2[etcd.KeyValue, error], keysOnly bool) (changes []Change, err error) {
	err = differences(state, found, keysOnly, func(some []Change) error {
		changes = append(changes, some...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
}

// Many changes are taken in portions, and an error of the taker ends it.
func TestDifferencesInPieces(t *testing.T) {
	found := make(pairs)
	for i := range 4 * pieceSize {
		kv := pair(fmt.Sprintf("%06d", i), "1", 3, 3)
		found[kv.Key] = kv
	}
	full := errors.New("full")
	for _, most := range []int{len(found), 2 * pieceSize} {
		n, pieces := 0, 0
		err := differences(make(pairs), each(sorted(found)), false, func(some []Change) error {
			n += len(some)
			pieces++
			if n > most {
				return full
			}
			return nil
		})
		switch {
		case most == len(found) && (err != nil || n != most || pieces < 4):
			t.Errorf("%d changes in %d pieces: %v", n, pieces, err)
		case most < len(found) && (!errors.Is(err, full) || n > most+pieceSize+1):
			t.Errorf("%d changes, %v", n, err)
		}
	}
}

// Applied to the state, the differences give what was found; those of equal states are none.
func TestDifferencesLeadToWhatWasFound(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		draw := func() pairs {
			p := make(pairs)
			for range r.IntN(12) {
				create := 1 + r.Int64N(3)
				kv := pair(fmt.Sprint("k", r.IntN(10)), fmt.Sprint("v", r.IntN(2)), create, create+r.Int64N(2))
				p[kv.Key] = kv
			}
			return p
		}
		before, after := draw(), draw()
		changes, err := collect(before, each(sorted(after)), false)
		if err != nil {
			t.Fatal(err)
		}
		for _, ch := range changes {
			if old := before[ch.Key()]; ch.Old != nil && ch.Old != old {
				t.Fatalf("seed %d: a change from %+v, but the state has %+v", seed, ch.Old, old)
			}
		}
		before.apply(changes)
		if again, _ := collect(before, each(sorted(after)), false); len(again) > 0 || len(before) != len(after) {
			t.Fatalf("seed %d: after the changes %s there are still %s", seed, text(changes), text(again))
		}
	}
}

// A range that breaks off gives no changes: the keys after the break are not deleted.
func TestDifferencesOfABrokenRange(t *testing.T) {
	broken := errors.New("broken")
	changes, err := collect(stateOf(pair("a", "1", 3, 3), pair("z", "1", 3, 3)), func(yield func(etcd.KeyValue, error) bool) {
		_ = yield(*pair("b", "1", 4, 4), nil) && yield(etcd.KeyValue{}, broken)
	}, false)
	if changes != nil || !errors.Is(err, broken) {
		t.Errorf("changes %s, error %v", text(changes), err)
	}
}

// What is handed on shares no memory with a response.
func TestChangesAreOwned(t *testing.T) {
	message := []byte("abcvalue")
	kv := etcd.KeyValue{Key: "abc", Value: message[3:], CreateRevision: 3, ModRevision: 5, Version: 3, Lease: 9}
	old := pair("abc", "", 3, 4)
	for _, before := range []*etcd.KeyValue{nil, old} {
		got := owned(&kv, before)
		message[3] = 'X'
		want := kv
		want.Value = []byte("value")
		if !same(got, &want, false) || got.Key != "abc" {
			t.Errorf("%+v, want %+v", got, want)
		}
		message[3] = 'v'
	}
}

// The pairs of a follower come in the order of their keys.
func TestPairsAreSorted(t *testing.T) {
	p := stateOf(pair("b", "", 1, 1), pair("a", "", 1, 1), pair("c", "", 1, 1))
	var keys []string
	for kv := range p.All() {
		if keys = append(keys, kv.Key); len(keys) == 2 {
			break
		}
	}
	if !slices.Equal(keys, []string{"a", "b"}) {
		t.Errorf("keys %v", keys)
	}
}
