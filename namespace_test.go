package etcd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// spaceOf is the space of a view.
func spaceOf(prefixes ...string) *space {
	c := &Client{space: everywhere}
	for _, prefix := range prefixes {
		c = c.Namespace(prefix)
	}
	return &c.space
}

// matchesInside reports whether a request of a view covers a key of the store: the model is
// the same request to a store that has nothing but the keys of the view.
func matchesInside(prefix, stored, first, end string) bool {
	rest, ok := strings.CutPrefix(stored, prefix)
	return ok && rest != "" && inRange(rest, first, end)
}

// A request of a view covers exactly the keys that it would cover in a store of the view's
// keys.
func FuzzNamespaceInterval(f *testing.F) {
	for _, prefix := range []string{"", "a/", "\xff", "\xff\xff", "a\xff", "\x00", "a"} {
		for _, key := range []string{"", "k", "\x00", "\xff", "a"} {
			for kind := range uint8(4) {
				f.Add(prefix, key, kind, "l", prefix+key)
				f.Add(prefix, key, kind, "\x00", prefix+"k")
				f.Add(prefix, key, kind, "", prefix)
			}
		}
	}
	f.Fuzz(func(t *testing.T, prefix, key string, kind uint8, rangeEnd, stored string) {
		if stored == "" {
			return
		}
		if kind%4 != 3 {
			rangeEnd = ""
		}
		first, end, err := interval(key, kind%4 == 1, kind%4 == 2, rangeEnd)
		if err != nil {
			return
		}
		w := rangeRequest{Key: first, RangeEnd: end}
		w.enter(spaceOf(prefix))
		if got, want := inRange(stored, w.space+w.Key, w.RangeEnd), matchesInside(prefix, stored, first, end); got != want {
			t.Errorf("%q-%q in %q became %q-%q, which covers %q: %v", first, end, prefix, w.space+w.Key, w.RangeEnd, stored, got)
		}
	})
}

// The same of short keys at the edges of their alphabet, where prefixes end.
func TestNamespaceInterval(t *testing.T) {
	bytes := "\x00\x01a\xfe\xff"
	random := func(least int) string {
		b := make([]byte, least+rand.N(3))
		for i := range b {
			b[i] = bytes[rand.N(len(bytes))]
		}
		return string(b)
	}
	covered := 0
	for range 200_000 {
		prefix, key, rangeEnd, stored := random(0), random(0), "", random(1)
		kind := rand.N(4)
		if kind == 3 {
			rangeEnd = random(0)
		}
		if rand.N(2) == 0 {
			stored = prefix + stored
		}
		first, end, err := interval(key, kind == 1, kind == 2, rangeEnd)
		if err != nil {
			continue
		}
		w := rangeRequest{Key: first, RangeEnd: end}
		w.enter(spaceOf(prefix))
		got, want := inRange(stored, w.space+w.Key, w.RangeEnd), matchesInside(prefix, stored, first, end)
		if got != want {
			t.Fatalf("%q-%q in %q became %q-%q, which covers %q: %v", first, end, prefix, w.space+w.Key, w.RangeEnd, stored, got)
		}
		if got {
			covered++
		}
	}
	if covered < 10_000 {
		t.Errorf("only %d of the keys were covered", covered)
	}
}

// Every request that names keys enters the view, at each place of a transaction.
func TestNamespaceEntersAll(t *testing.T) {
	s := spaceOf("t/", "1/")
	deep := TxnRequest{If: []Compare{Exists("c")}, Then: []Op{PutRequest{Key: "p"}, DeleteRequest{Key: "d", RangeEnd: "e"}}, Else: []Op{GetRequest{Prefix: true}}}
	w, err := TxnRequest{
		If:   []Compare{{Key: "k", FromKey: true}, Missing("m")},
		Then: []Op{deep, GetRequest{Key: "g", Prefix: true}},
		Else: []Op{&PutRequest{Key: "q"}, TxnRequest{Else: []Op{deep}}},
	}.wire()
	if err != nil {
		t.Fatal(err)
	}
	w.enter(s)
	want := "t/1/k-t/10 t/1/m- (t/1/c- t/1/p- t/1/d-t/1/e t/1/\x00-t/10) t/1/g-t/1/h t/1/q- ((t/1/c- t/1/p- t/1/d-t/1/e t/1/\x00-t/10))"
	if got := spans(&w); got != want {
		t.Errorf("the transaction covers\n%q, want\n%q", got, want)
	}
	watch := watchCreateRequest{Key: "w", RangeEnd: "x"}
	watch.enter(s)
	if watch.key() != "t/1/w" || watch.RangeEnd != "t/1/x" {
		t.Errorf("the watch covers %q-%q", watch.key(), watch.RangeEnd)
	}
}

// spans lists what the compares and operations of a transaction cover.
func spans(w *txnRequest) string {
	var list []string
	for i := range w.Compare {
		list = append(list, fmt.Sprintf("%s-%s", w.Compare[i].space+w.Compare[i].Key, w.Compare[i].RangeEnd))
	}
	for _, op := range slices.Concat(w.Success, w.Failure) {
		switch {
		case op.Range != nil:
			list = append(list, op.Range.space+op.Range.Key+"-"+op.Range.RangeEnd)
		case op.Put != nil:
			list = append(list, op.Put.space+op.Put.Key+"-")
		case op.DeleteRange != nil:
			list = append(list, op.DeleteRange.space+op.DeleteRange.Key+"-"+op.DeleteRange.RangeEnd)
		case op.Txn != nil:
			list = append(list, "("+spans(op.Txn)+")")
		}
	}
	return strings.Join(list, " ")
}

// Every response leaves the view, at each place of a transaction.
func TestNamespaceLeavesAll(t *testing.T) {
	kv := func() KeyValue { return KeyValue{Key: "t/k"} }
	prev := kv()
	deep := TxnResponse{Responses: []OpResponse{
		{Get: &GetResponse{KVs: []KeyValue{kv(), kv()}}},
		{Put: &PutResponse{PrevKV: &prev}},
		{Put: &PutResponse{}},
		{Delete: &DeleteResponse{PrevKVs: []KeyValue{kv()}}},
	}}
	all := TxnResponse{Responses: []OpResponse{{Txn: &deep}}}
	all.leave(spaceOf("t/"))
	for _, got := range append(deep.Responses[0].Get.KVs, prev, deep.Responses[3].Delete.PrevKVs[0]) {
		if got.Key != "k" {
			t.Errorf("a key left as %q", got.Key)
		}
	}
	if got := spaceOf("t/").inside([]string{"t/a", "t", "t/", "u/a", "t/b"}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("keys of a lease: %q", got)
	}
}
