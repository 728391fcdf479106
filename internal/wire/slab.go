package wire

import "slices"

// ownAllocation is the number of elements from which a request to a [Slab] gets its
// own allocation. Smaller requests share one.
const ownAllocation = 64

// A Slab hands out zeroed elements of type T for decoding one message, with few
// allocations for many elements. The zero Slab is ready to use. It never reserves
// more than a small multiple of the elements that were requested or announced with
// Expect.
//
// A Slab is not safe for concurrent use.
type Slab[T any] struct {
	free []T
	want int // elements announced by Expect since the last allocation
	last int // size of the last shared allocation
}

// Expect announces n more elements. The Slab allocates nothing before the first is
// requested.
func (s *Slab[T]) Expect(n int) {
	s.want += n
}

// One returns a pointer to a zero element.
func (s *Slab[T]) One() *T {
	return &s.take(1)[0]
}

// Grow returns list with room for at least n more elements. The room is
// zeroed.
func (s *Slab[T]) Grow(list []T, n int) []T {
	if len(list) == 0 {
		return s.take(n)[:0]
	}
	// A message that came in several parts, which are merged: amortize.
	return slices.Grow(list, n)
}

// take returns n zero elements with capacity n.
func (s *Slab[T]) take(n int) []T {
	if n > len(s.free) {
		if n >= ownAllocation {
			s.want = max(0, s.want-n)
			return make([]T, n)
		}
		s.last = max(n, s.want, 2*s.last)
		s.want = 0
		s.free = make([]T, s.last)
	}
	list := s.free[:n:n]
	s.free = s.free[n:]
	return list
}

// Grow returns list with room for at least n more elements: exactly n if the
// list is empty.
func Grow[T any](list []T, n int) []T {
	if len(list) == 0 {
		return make([]T, 0, n)
	}
	return slices.Grow(list, n)
}
