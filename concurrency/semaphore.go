package concurrency

import (
	"context"
	"math"
)

// Semaphore admits holders as long as the sum of their weights does not exceed its
// limit. It is safe for concurrent use. Requests are served in order: a heavy one is
// not starved by light ones.
type Semaphore struct {
	q queue // without value and weight
}

// Semaphore returns the semaphore of a name. All users of a name must give the same
// limit, from 1 to 2,147,483,647. It does no I/O.
//
// Keys: <name>/<lease>[.<n>] with the value "weight/limit".
func (co *Coordinator) Semaphore(name string, limit int) *Semaphore {
	s := &Semaphore{plainQueue(co, name, nil)}
	s.q.limit = int64(limit)
	return s
}

// Acquire waits until it holds weight; see [Mutex.Lock]. [Lock.Unlock] returns it.
// [Lock.Guard] and [Lock.Txn] protect the holding, not exclusion.
//
// Errors: besides those of Mutex.Lock, etcd.ErrInvalidRequest when weight is not between 1
// and the limit, and ErrConfigMismatch when the first in the queue has another limit.
func (s *Semaphore) Acquire(ctx context.Context, weight int) (*Lock, error) {
	q := s.q
	switch {
	case q.limit <= 0 || q.limit > math.MaxInt32: // weights are added up
		return nil, invalid("%q: the limit is %d; it must be from 1 to %d", q.name, q.limit, math.MaxInt32)
	case weight <= 0 || int64(weight) > q.limit:
		return nil, invalid("%q: the weight is %d; it must be between 1 and the limit, %d", q.name, weight, q.limit)
	}
	q.weight = int64(weight)
	q.value = weightValue(q.weight, q.limit)
	return q.acquire(ctx, false)
}
