package coalesce

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"silly.store/etcd/internal/call"
)

func TestBatchTakes(t *testing.T) {
	read := func(key uint64, msg string) *Waiter { return &Waiter{key: key, Message: []byte(msg)} }
	txn := func(key uint64, ops int) *Waiter { return &Waiter{key: key, Message: []byte("t"), ops: ops} }
	solo := func(w *Waiter) *Waiter { w.solo = true; return w }
	for _, c := range []struct {
		name    string
		op      *Operation
		limits  Limits
		waiters []*Waiter
		taken   int
		parts   []int // of those that were taken
	}{
		{"different reads", Get, Limits{9, 99}, []*Waiter{read(1, "a"), read(2, "b")}, 2, []int{0, 1}},
		{"the same read", Get, Limits{9, 99}, []*Waiter{read(1, "a"), read(2, "b"), read(1, "a")}, 3, []int{0, 1, 0}},
		{"one key read in two ways", Get, Limits{9, 99}, []*Waiter{read(1, "a"), read(1, "a!")}, 2, []int{0, 1}},
		{"the same write", Put, Limits{9, 99}, []*Waiter{read(1, "a"), read(1, "a")}, 2, []int{0, 1}},
		{"operations", Get, Limits{2, 99}, []*Waiter{read(1, "a"), read(2, "b"), read(3, "c")}, 2, []int{0, 1}},
		{"the same read beyond them", Get, Limits{2, 99}, []*Waiter{read(1, "a"), read(2, "b"), read(1, "a")}, 3, []int{0, 1, 0}},
		{"operations of transactions", Txn, Limits{5, 99}, []*Waiter{txn(1, 3), txn(2, 1), txn(3, 1)}, 2, []int{0, 1}},
		{"a transaction of many", Txn, Limits{5, 99}, []*Waiter{txn(1, 1), txn(2, 4), txn(3, 1)}, 1, []int{0}},
		{"bytes", Get, Limits{9, 3}, []*Waiter{read(1, "aa"), read(2, "bb")}, 1, []int{0}},
		{"one that is too large", Get, Limits{9, 3}, []*Waiter{read(1, "aaaa"), read(2, "b")}, 1, []int{0}},
		{"one that goes alone, first", Get, Limits{9, 99}, []*Waiter{solo(read(1, "a")), read(2, "b")}, 1, []int{0}},
		{"one that goes alone, second", Get, Limits{9, 99}, []*Waiter{read(1, "a"), solo(read(2, "b"))}, 1, []int{0}},
	} {
		b := newBatch(c.op, c.limits, nil)
		taken := 0
		for taken < len(c.waiters) && b.add(c.waiters[taken]) {
			taken++
		}
		var parts []int
		for _, w := range b.waiters {
			parts = append(parts, w.index)
		}
		if taken != c.taken || !slices.Equal(parts, c.parts) {
			t.Errorf("%s: %d taken, parts %v, want %d, %v", c.name, taken, parts, c.taken, c.parts)
		}
	}
}

// TestWhatKeepsTheWholeAnswer: an answer that makes up most of the memory of its batch's
// answer is not copied. Any other is, and the last copy leaves the memory to another batch.
func TestWhatKeepsTheWholeAnswer(t *testing.T) {
	for _, c := range []struct {
		name         string
		first, spare int // bytes of the first of two answers, and of memory behind both
		kept         bool
	}{
		{"a large answer", 1000, 0, true},
		{"a large answer in larger memory", 1000, 2000, false},
		{"a small answer", 1, 10, false},
	} {
		co := New(Config{})
		b := newBatch(Get, Limits{9, 99}, nil)
		b.memory = co.memory()
		ws := []*Waiter{{key: 1, Message: []byte("first")}, {key: 2, Message: []byte("second")}}
		for _, w := range ws {
			b.add(w)
		}
		first, second := getReply(inHeader, strings.Repeat("x", c.first)), getReply(inHeader, "s")
		whole := append(make([]byte, 0, len(first)+len(second)+c.spare), first...)
		whole = append(whole, second...)
		b.parts[0].answer, b.parts[1].answer = whole[:len(first):len(first)], whole[len(first):]
		b.answered(call.Header{}, whole)
		b.settle(nil)
		if ws[0].mine != c.kept || ws[1].mine {
			t.Errorf("%s: not copied: %v, %v", c.name, ws[0].mine, ws[1].mine)
		}
		for i, w := range ws {
			if b.memory.unread.Load() == 0 {
				t.Errorf("%s: the memory was given away before call %d had its part", c.name, i)
			}
			if got, err := w.answer(); err != nil || !bytes.Equal(got.Reply, [][]byte{first, second}[i]) {
				t.Errorf("%s: answer %d is %q, %v", c.name, i, got.Reply, err)
			}
		}
		if given := b.memory.unread.Load() == 0 && b.memory.bytes != nil; given == c.kept {
			t.Errorf("%s: the memory was given away: %v", c.name, given)
		}
	}
}
