package coalesce

// order keeps the writes of each key in the order of their calls: a write is sent
// when the previous one has ended. It does nothing for reads. Guarded by queue.mu.
type order struct {
	writing map[uint64]int // number of writes in flight per key; nil in queues of reads
	counts  map[uint64]int // the memory of count
}

func (o *order) init(op *Operation) {
	if op.writes {
		o.writing = make(map[uint64]int)
	}
}

// busy reports whether a write of the key is in flight.
func (o *order) busy(key uint64) bool { return o.writing[key] > 0 }

// begin and end record the start and the end of a call for the key.
func (o *order) begin(key uint64) {
	if o.writing != nil {
		o.writing[key]++
	}
}

func (o *order) end(key uint64) {
	if o.writing == nil {
		return
	}
	if o.writing[key]--; o.writing[key] <= 0 {
		delete(o.writing, key)
	}
}

// hotQueue is how many writes of one key may wait behind another one. If there are
// more, all are sent at once, each alone: in order they would take too long.
const hotQueue = 16

// ejectLocked takes the writes of hot keys out of the queue. The first behind calls
// of the queue wait for other writes of their keys.
func (q *queue) ejectLocked(behind int) {
	if behind <= hotQueue {
		return
	}
	hot := q.order.count(q.waiting[:behind])
	kept := q.waiting[:0]
	for _, w := range q.waiting[:behind] {
		if hot[w.key] <= hotQueue {
			kept = append(kept, w)
			continue
		}
		w.alone, w.settled = true, true
		w.done <- struct{}{}
	}
	kept = append(kept, q.waiting[behind:]...)
	clear(q.waiting[len(kept):])
	q.waiting = kept
}

// count returns the number of waiters per key. The result is valid until the next
// count.
func (o *order) count(ws []*Waiter) map[uint64]int {
	if o.counts == nil {
		o.counts = make(map[uint64]int)
	}
	clear(o.counts)
	for _, w := range ws {
		o.counts[w.key]++
	}
	return o.counts
}
