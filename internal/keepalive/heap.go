package keepalive

// leaseHeap is a heap of leases ordered by time. It is four-way, half as deep as a
// binary heap, because most of the cost is recording the new places of leases. A
// lease is in at most one heap and knows its place there, so that it can be
// removed.
type leaseHeap struct {
	slots []leaseSlot
}

const heapWays = 4

type leaseSlot struct {
	at    int64
	lease *Entry
}

func (h *leaseHeap) empty() bool { return len(h.slots) == 0 }

// first returns the lease with the earliest time. The heap must not be empty.
func (h *leaseHeap) first() leaseSlot { return h.slots[0] }

func (h *leaseHeap) push(l *Entry, at int64) {
	h.slots = append(h.slots, leaseSlot{at, l})
	l.heap = h
	h.up(len(h.slots) - 1)
}

// leaveHeap takes l out of the heap that holds it, if any.
func (e *Entry) leaveHeap() {
	h, i := e.heap, int(e.place)
	if h == nil {
		return
	}
	e.heap = nil
	last := len(h.slots) - 1
	moved := h.slots[last]
	h.slots[last] = leaseSlot{}
	h.slots = h.slots[:last]
	if i < last {
		h.slots[i] = moved
		h.down(i)
		h.up(int(moved.lease.place))
	}
	if cap(h.slots) > 64 && last < cap(h.slots)/4 {
		h.slots = append(make([]leaseSlot, 0, cap(h.slots)/2), h.slots...)
	}
}

func (h *leaseHeap) up(i int) {
	s := h.slots[i]
	for i > 0 {
		parent := (i - 1) / heapWays
		if h.slots[parent].at <= s.at {
			break
		}
		h.set(i, h.slots[parent])
		i = parent
	}
	h.set(i, s)
}

func (h *leaseHeap) down(i int) {
	s := h.slots[i]
	for {
		child := heapWays*i + 1
		if child >= len(h.slots) {
			break
		}
		for other := child + 1; other < min(heapWays*i+heapWays+1, len(h.slots)); other++ {
			if h.slots[other].at < h.slots[child].at {
				child = other
			}
		}
		if s.at <= h.slots[child].at {
			break
		}
		h.set(i, h.slots[child])
		i = child
	}
	h.set(i, s)
}

func (h *leaseHeap) set(i int, s leaseSlot) {
	h.slots[i] = s
	s.lease.place = int32(i)
}
