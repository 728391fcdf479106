package coalesce

import (
	"bytes"
	"slices"
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

// TestWhatKeepsTheWholeAnswer: an answer that makes up most of a batch's answer is
// not copied. Any other is.
func TestWhatKeepsTheWholeAnswer(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 1000)
	b := newBatch(Get, Limits{9, 99}, nil)
	ws := []*Waiter{{key: 1, Message: []byte("large")}, {key: 2, Message: []byte("small")}}
	for _, w := range ws {
		b.add(w)
	}
	b.parts[0].answer, b.parts[1].answer = getReply(inHeader, string(large)), getReply(inHeader, "s")
	b.answered(call.Header{}, len(b.parts[0].answer)+len(b.parts[1].answer))
	if !ws[0].mine || ws[1].mine {
		t.Errorf("not copied: %v, %v", ws[0].mine, ws[1].mine)
	}
}
