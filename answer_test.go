package etcd

import (
	"encoding/binary"
	"sync"
	"testing"

	"silly.store/etcd/internal/balance"
)

// response is a response with this header and nothing else.
func response(h ResponseHeader) []byte {
	var b []byte
	for i, v := range []uint64{h.ClusterID, h.MemberID, uint64(h.Revision), h.RaftTerm} {
		b = binary.AppendUvarint(append(b, byte(i+1)<<3), v)
	}
	return append([]byte{1<<3 | 2, byte(len(b))}, b...)
}

func TestPeekHeader(t *testing.T) {
	want := ResponseHeader{ClusterID: 1<<64 - 1, MemberID: 7, Revision: 1 << 40, RaftTerm: 300}
	whole := append(response(want), 4<<3, 1) // and a count
	if got := peekHeader(whole); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for n := range whole { // cut anywhere, it neither panics nor invents
		if got := peekHeader(whole[:n]); got != want && got.Revision != 0 && got.Revision != want.Revision {
			t.Errorf("of %d bytes: %+v", n, got)
		}
	}
	if got := peekHeader([]byte{4 << 3, 3}); got != (ResponseHeader{}) {
		t.Errorf("of an answer without a header: %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() { peekHeader(whole) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A smaller revision than was seen before the request was sent begins a new
// history; one that overtook another answer does not. One of those that meet it
// at the same time finds out, and what is late by a history changes nothing.
func TestHistory(t *testing.T) {
	var c cluster
	first := c.now()
	first.history.raise(100)
	if c.fellBack(first, 50, false) != nil {
		t.Error("an answer to a request from before the largest revision was seen")
	}
	s := c.now()
	if s.seen != 100 || c.fellBack(s, 100, false) != nil {
		t.Errorf("seen %d", s.seen)
	}
	var found sync.WaitGroup
	finders := make(chan *history, 100)
	for range 100 {
		found.Go(func() {
			if h := c.fellBack(s, 60, false); h != nil {
				finders <- h
			}
		})
	}
	found.Wait()
	if len(finders) != 1 {
		t.Fatalf("%d found out, want one", len(finders))
	}
	s.history.raise(200) // the late answer of the old history
	if now := c.now(); now.seen != 60 || now.history != <-finders {
		t.Errorf("seen %d after the reset, want 60", now.seen)
	}
}

// A reset that a write's answer shows is left to the next read, unless a watch that
// was between two streams then has ended for it meanwhile.
func TestResetIsToldOnce(t *testing.T) {
	c := Client{watches: new(watchHub)}
	c.cluster.now().history.raise(100)
	if c.checkHistory(c.cluster.now(), 50, false) {
		t.Error("a write is told")
	}
	if !c.cluster.now().history.untold.Load() {
		t.Error("the next read is not told")
	}
	c.cluster.told()
	if c.cluster.now().history.untold.Load() {
		t.Error("a read is told after a watch")
	}
}

func TestBelongs(t *testing.T) {
	var c cluster
	if first, again := c.belongs(5), c.belongs(5); !first || !again || c.belongs(6) {
		t.Error("the first that answers is the cluster, and no other")
	}
}

func BenchmarkPeekHeader(b *testing.B) {
	msg := response(ResponseHeader{ClusterID: 1 << 63, MemberID: 1 << 62, Revision: 123456, RaftTerm: 5})
	var c Client
	conn, r := balance.Picked{}, &rpcRange
	for b.Loop() {
		if err := c.answered(r, conn, c.cluster.now(), msg); err != nil {
			b.Fatal(err)
		}
	}
}
