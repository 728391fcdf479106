package etcd

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"silly.store/etcd/internal/transport"
	"silly.store/etcd/internal/wire"
)

func TestBatchTakes(t *testing.T) {
	read := func(key uint64, msg string) *waiter { return &waiter{key: key, msg: []byte(msg)} }
	solo := func(w *waiter) *waiter { w.solo = true; return w }
	for _, c := range []struct {
		name    string
		op      *operation
		limits  batchLimits
		waiters []*waiter
		taken   int
		parts   []int // of those that were taken
	}{
		{"different reads", &opGet, batchLimits{9, 99}, []*waiter{read(1, "a"), read(2, "b")}, 2, []int{0, 1}},
		{"the same read", &opGet, batchLimits{9, 99}, []*waiter{read(1, "a"), read(2, "b"), read(1, "a")}, 3, []int{0, 1, 0}},
		{"one key read in two ways", &opGet, batchLimits{9, 99}, []*waiter{read(1, "a"), read(1, "a!")}, 2, []int{0, 1}},
		{"the same write", &opPut, batchLimits{9, 99}, []*waiter{read(1, "a"), read(1, "a")}, 2, []int{0, 1}},
		{"operations", &opGet, batchLimits{2, 99}, []*waiter{read(1, "a"), read(2, "b"), read(3, "c")}, 2, []int{0, 1}},
		{"the same read beyond them", &opGet, batchLimits{2, 99}, []*waiter{read(1, "a"), read(2, "b"), read(1, "a")}, 3, []int{0, 1, 0}},
		{"bytes", &opGet, batchLimits{9, 3}, []*waiter{read(1, "aa"), read(2, "bb")}, 1, []int{0}},
		{"one that is too large", &opGet, batchLimits{9, 3}, []*waiter{read(1, "aaaa"), read(2, "b")}, 1, []int{0}},
		{"one that goes alone, first", &opGet, batchLimits{9, 99}, []*waiter{solo(read(1, "a")), read(2, "b")}, 1, []int{0}},
		{"one that goes alone, second", &opGet, batchLimits{9, 99}, []*waiter{read(1, "a"), solo(read(2, "b"))}, 1, []int{0}},
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

// TestWhatKeepsTheWholeAnswer: an answer that is most of a batch's is not copied,
// and any other is.
func TestWhatKeepsTheWholeAnswer(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 1000)
	b := newBatch(&opGet, batchLimits{9, 99}, nil)
	ws := []*waiter{{key: 1, msg: []byte("large")}, {key: 2, msg: []byte("small")}}
	for _, w := range ws {
		b.add(w)
	}
	b.parts[0].answer, b.parts[1].answer = getReply(inHeader, string(large)), getReply(inHeader, "s")
	b.answered(ResponseHeader{}, len(b.parts[0].answer)+len(b.parts[1].answer))
	if !ws[0].mine || ws[1].mine {
		t.Errorf("not copied: %v, %v", ws[0].mine, ws[1].mine)
	}
}

// txnReply is the answer to a transaction whose operations have these answers.
func txnReply(field int, answers ...[]byte) []byte {
	b := append(wire.AppendBytes([]byte{0x0a}, testHeader), 0x10, 1)
	for _, a := range answers {
		op := wire.AppendBytes(wire.AppendTag(nil, field, wire.TypeBytes), a)
		b = wire.AppendBytes(append(b, 0x1a), op)
	}
	return b
}

func TestSplitTxn(t *testing.T) {
	one, two := getReply(inHeader, "1"), getReply(inHeader, "2")
	whole := txnReply(1, one, two)
	parts := make([]part, 2)
	if err := splitTxn(whole, 1, parts); err != nil || !bytes.Equal(parts[0].answer, one) || !bytes.Equal(parts[1].answer, two) {
		t.Errorf("%v, %q", err, parts)
	}
	for name, reply := range map[string][]byte{
		"a response too few":  txnReply(1, one),
		"a response too many": txnReply(1, one, two, one),
		"another kind":        txnReply(2, one, two),
		"an empty response":   append(txnReply(1, one), 0x1a, 0),
		"cut short":           whole[:len(whole)-1],
		"nothing":             nil,
	} {
		if err := splitTxn(reply, 1, make([]part, 2)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// FuzzSplitTxn holds that what is taken apart is what the decoder finds in the whole.
func FuzzSplitTxn(f *testing.F) {
	f.Add(txnReply(1, getReply(inHeader, "1"), getReply(inHeader, "2")), uint8(2))
	f.Add(txnReply(1), uint8(0))
	f.Add(append([]byte{0x7a, 1, 0}, txnReply(1, nil)...), uint8(1))
	f.Fuzz(func(t *testing.T, reply []byte, n uint8) {
		parts := make([]part, n)
		if splitTxn(reply, 1, parts) != nil {
			return
		}
		var whole TxnResponse
		if whole.decodeWire(slices.Clone(reply)) != nil {
			return // what is wrong is inside of an answer
		}
		if len(whole.Responses) != len(parts) {
			t.Fatalf("%d parts, %d responses", len(parts), len(whole.Responses))
		}
		for i, p := range parts {
			if err := new(GetResponse).decodeWire(p.answer); err != nil {
				t.Errorf("part %d: %v", i, err)
			}
		}
	})
}

func TestWindow(t *testing.T) {
	const ms = time.Millisecond
	var w window
	w.init()
	w.note(10*ms, true, false)
	for _, step := range []struct {
		name          string
		took          time.Duration
		idle, waiting bool
		size          int
		base          time.Duration
	}{
		{"as fast as can be, and calls wait", 11 * ms, false, true, 17, 10 * ms},
		{"the same, and none waits", 11 * ms, false, false, 17, 10 * ms},
		{"slower", 18 * ms, false, true, 17, 10 * ms},
		{"much slower", 21 * ms, false, true, 16, 10 * ms},
		{"faster than ever", 8 * ms, false, false, 16, 8 * ms},
		{"slower with nothing else under way", 16 * ms, true, false, 16, 9 * ms},
	} {
		w.note(step.took, step.idle, step.waiting)
		if w.size != step.size || w.base != step.base {
			t.Errorf("%s: %d, base %v; want %d, %v", step.name, w.size, w.base, step.size, step.base)
		}
	}
	for range 1000 {
		w.note(time.Second, false, true)
	}
	if w.size != minWindow {
		t.Errorf("%d under load", w.size)
	}
	for range 1000 {
		w.note(w.base, false, true)
	}
	if w.size != maxWindow {
		t.Errorf("%d without", w.size)
	}
}

func TestLimits(t *testing.T) {
	var m limits
	m.init()
	if got := m.batch(); got != (batchLimits{maxParts, maxBatchBytes}) {
		t.Errorf("at first %+v", got)
	}
	b := newBatch(&opPut, m.batch(), nil)
	b.parts, b.size = make([]part, 100), 1000
	for _, test := range []struct {
		sentinel error
		smaller  bool
	}{{ErrTooManyOps, true}, {ErrTooManyOps, false}, {ErrRequestTooLarge, true}, {ErrLeaseNotFound, false}} {
		if m.refused(b, &Error{sentinel: test.sentinel}) != test.smaller {
			t.Errorf("%v: batches are said to be smaller: %v", test.sentinel, !test.smaller)
		}
	}
	if got := m.batch(); got != (batchLimits{50, 500}) {
		t.Errorf("after refusals %+v", got)
	}
	for range 200 {
		m.weigh(20 << 10)
	}
	if got := m.batch().parts; got < 10 || got > 15 {
		t.Errorf("%d answers of 20 KiB", got)
	}
	if m.heavy() {
		t.Error("20 KiB is too much")
	}
	if !m.weigh(1<<20) || !m.heavy() {
		t.Error("1 MiB is not too much")
	}
	for range 200 {
		m.weigh(100)
	}
	if m.heavy() || m.batch().parts != 50 {
		t.Errorf("it does not come back: %+v", m.batch())
	}
}

func TestRefusalsBackOff(t *testing.T) {
	denied := &Error{Code: CodePermissionDenied}
	var r refusals
	pause := func() time.Duration { return time.Until(r.until) }
	r.note(denied)
	first := pause()
	r.note(denied)
	if second := pause(); first > firstRefusalPause || second < first || second > 2*firstRefusalPause {
		t.Errorf("pauses of %v and %v", first, second)
	}
	for range 100 {
		r.note(denied)
	}
	if p := pause(); p > maxRefusalPause || p < maxRefusalPause/2 {
		t.Errorf("a pause of %v", p)
	}
	r.accepted(1)
	if r.row == 0 {
		t.Error("a call alone counts as a batch")
	}
	r.accepted(2)
	if r.note(denied); pause() > firstRefusalPause {
		t.Error("it does not come back")
	}
}

func TestWhatIsARefusal(t *testing.T) {
	for want, list := range map[bool][]reply{
		true: {noLease, says(transport.PermissionDenied, "etcdserver: permission denied"),
			says(transport.InvalidArgument, "etcdserver: too many operations in txn request"),
			says(transport.InvalidArgument, "etcdserver: request is too large"),
			says(transport.FailedPrecondition, "etcdserver: rpc not supported for learner")},
		false: {lost, notSent, noLeader, busy, stopped,
			says(transport.ResourceExhausted, "etcdserver: mvcc: database space exceeded")},
	} {
		for _, r := range list {
			if e := callError(&rpcPutShared, "", r.err); e.refusal() != want {
				t.Errorf("%v: %v", e, !want)
			}
		}
	}
	reset := &Error{answered: true, Outcome: Rejected, sentinel: ErrHistoryReset}
	if reset.refusal() || !errors.Is(reset, ErrHistoryReset) {
		t.Error("a history reset is swallowed")
	}
}

func TestApart(t *testing.T) {
	var a apart
	if a.has(7) {
		t.Error("at first")
	}
	a.add(7)
	if !a.has(7) || a.has(7+64) || a.has(8) {
		t.Error("after 7 was added")
	}
	a.add(7 + 64)
	if a.has(7) || !a.has(7+64) {
		t.Error("after another one took its place")
	}
}
