package keepalive

import (
	"slices"
	"testing"
)

func TestLeaseHeap(t *testing.T) {
	var h leaseHeap
	var leases []*Entry
	for i := range 1000 {
		l := &Entry{ID: int64(i)}
		leases = append(leases, l)
		h.push(l, int64(i*7919%1000))
	}
	var want []int64
	for i, l := range leases {
		if i%3 == 0 {
			l.leaveHeap()
		} else {
			want = append(want, int64(i*7919%1000))
		}
	}
	slices.Sort(want)
	for _, at := range want {
		s := h.first()
		if s.at != at {
			t.Fatalf("%d comes out, want %d", s.at, at)
		}
		s.lease.leaveHeap()
	}
	if !h.empty() {
		t.Error("not empty")
	}
}
