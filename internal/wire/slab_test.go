package wire

import (
	"math/rand/v2"
	"testing"
)

type element struct {
	_ *int // has the garbage collector look
	n int
}

func TestSlabSharesAllocations(t *testing.T) {
	for _, tt := range []struct {
		name   string
		expect int
		max    float64
	}{
		{"announced", 1000, 1},
		{"not announced", 0, 11}, // doubling: 1, 2, 4, ... 512
	} {
		got := testing.AllocsPerRun(10, func() {
			var s Slab[element]
			s.Expect(tt.expect)
			for range 1000 {
				s.One().n = 1
			}
		})
		if got > tt.max {
			t.Errorf("%s: %v allocations for 1000 elements, want at most %v", tt.name, got, tt.max)
		}
	}
}

func TestSlabAllocatesOnlyWhenAsked(t *testing.T) {
	var s Slab[element]
	if got := testing.AllocsPerRun(10, func() { s.Expect(1 << 30) }); got != 0 {
		t.Errorf("Expect made %v allocations", got)
	}
	if list := new(Slab[element]).Grow(nil, 7); len(list) != 0 || cap(list) != 7 {
		t.Errorf("Grow made a list of length %d, capacity %d; want 0 and 7", len(list), cap(list))
	}
	if list := Grow[element](nil, 7); len(list) != 0 || cap(list) != 7 {
		t.Errorf("Grow made a list of length %d, capacity %d; want 0 and 7", len(list), cap(list))
	}
}

// Every element is handed out once, zeroed, and the reserved memory stays within a
// small multiple of the requests.
func TestSlabIsDisjointAndFrugal(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s Slab[element]
		used, reserved := 0, 0
		expected := rnd.IntN(50)
		s.Expect(expected)
		for range rnd.IntN(100) {
			n := 1 + rnd.IntN(ownAllocation+10)
			before := s.last
			wasFree := len(s.free)
			list := s.Grow(nil, n)
			if len(list) != 0 || cap(list) != n {
				t.Fatalf("list of length %d, capacity %d; want 0 and %d", len(list), cap(list), n)
			}
			for i := range n {
				list = list[:i+1]
				if list[i] != (element{}) {
					t.Fatal("element handed out twice or not zeroed")
				}
				list[i].n = 1
			}
			used += n
			switch {
			case n > wasFree && n >= ownAllocation:
				reserved += n
			case n > wasFree:
				reserved += s.last
				if s.last < before {
					t.Fatal("a later block is smaller than an earlier one")
				}
			}
		}
		if reserved > 4*used+expected {
			t.Fatalf("reserved %d elements for %d that were used and %d announced", reserved, used, expected)
		}
	}
}

// A list that continues, as in merged messages, keeps its elements and grows by
// more than requested, so that the cost stays linear.
func TestGrowAmortises(t *testing.T) {
	var s Slab[element]
	var list, plain []element
	got := testing.AllocsPerRun(1, func() {
		list, plain = nil, nil
		for i := range 1000 {
			if len(list) == cap(list) {
				list = s.Grow(list, 1)
				plain = Grow(plain, 1)
			}
			list = append(list, element{n: i})
			plain = append(plain, element{n: i})
		}
	})
	if got > 50 {
		t.Errorf("%v allocations for 1000 elements", got)
	}
	for i := range list {
		if list[i].n != i || plain[i].n != i {
			t.Fatalf("element %d is lost", i)
		}
	}
}
