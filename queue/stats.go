package queue

import "sync/atomic"

// Stats describes the present state and the past work of a [Queue].
type Stats struct {
	// Free, Delayed and Claimed are the items as this process knows them. They are 0 before
	// the first Take.
	Free, Delayed, Claimed int
	// Held is the number of unsettled claims of this Queue, Waiting that of waiting calls
	// of Take.
	Held, Waiting int
	// Added, Taken, Acked and Nacked count successful operations.
	Added, Taken, Acked, Nacked int64
	// Buried counts items that this Queue has put among the dead letters.
	Buried int64
	// Conflicts counts items that another process claimed first.
	Conflicts int64
	// Lost counts claims that were lost before they were settled.
	Lost int64
	// GivenBack counts claims that were given back without the worker: their Take or Ack had
	// ended with an unknown outcome, or the Queue was closed.
	GivenBack int64
}

// counters are those of Stats.
type counters struct {
	added, taken, acked, nacked, buried, conflicts, lost, givenBack atomic.Int64
}

// Stats returns a snapshot.
func (q *Queue) Stats() Stats {
	n := &q.counters
	s := Stats{
		Added: n.added.Load(), Taken: n.taken.Load(), Acked: n.acked.Load(), Nacked: n.nacked.Load(),
		Buried: n.buried.Load(), Conflicts: n.conflicts.Load(), Lost: n.lost.Load(), GivenBack: n.givenBack.Load(),
	}
	v := &q.view
	v.mu.Lock()
	defer v.mu.Unlock()
	s.Free, s.Delayed, s.Claimed = v.free.Len(), v.waiting.Len(), len(v.claims)
	s.Held, s.Waiting = len(v.held), len(v.takers)
	return s
}
