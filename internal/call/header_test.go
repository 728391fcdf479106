package call

import (
	"encoding/binary"
	"testing"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
)

// response is a response with this header and nothing else.
func response(h Header) []byte {
	var b []byte
	for i, v := range []uint64{h.ClusterID, h.MemberID, uint64(h.Revision), h.RaftTerm} {
		b = binary.AppendUvarint(append(b, byte(i+1)<<3), v)
	}
	return append([]byte{1<<3 | 2, byte(len(b))}, b...)
}

func TestPeekHeader(t *testing.T) {
	want := Header{ClusterID: 1<<64 - 1, MemberID: 7, Revision: 1 << 40, RaftTerm: 300}
	whole := append(response(want), 4<<3, 1) // and a count
	if got := PeekHeader(whole); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for n := range whole { // cut anywhere, it must neither panic nor invent fields
		if got := PeekHeader(whole[:n]); got != want && got.Revision != 0 && got.Revision != want.Revision {
			t.Errorf("of %d bytes: %+v", n, got)
		}
	}
	if got := PeekHeader([]byte{4 << 3, 3}); got != (Header{}) {
		t.Errorf("of an answer without a header: %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() { PeekHeader(whole) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPeekHeader(b *testing.B) {
	msg := response(Header{ClusterID: 1 << 63, MemberID: 1 << 62, Revision: 123456, RaftTerm: 5})
	e := newEngine(b, peertest.NewCluster(), Config{})
	conn := balance.Picked{}
	for b.Loop() {
		if err := e.answered(rpc.Get, conn, e.history.mark(), msg); err != nil {
			b.Fatal(err)
		}
	}
}
