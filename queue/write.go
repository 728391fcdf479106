package queue

import (
	"context"

	"silly.store/etcd"
	"silly.store/etcd/idempotent"
)

// write applies a transaction exactly once, and reports whether its conditions held.
func (q *Queue) write(ctx context.Context, req etcd.TxnRequest) (held bool, err error) {
	w, err := q.writer(ctx)
	if err != nil {
		return false, err
	}
	result, err := w.Txn(ctx, req)
	if err != nil {
		return false, err
	}
	return result.Succeeded, nil
}

// writer returns the queue's Writer, and makes it when it is first needed.
func (q *Queue) writer(ctx context.Context) (*idempotent.Writer, error) {
	q.mu.Lock()
	w := q.own
	q.mu.Unlock()
	switch {
	case q.config.Writer != nil:
		return q.config.Writer, nil
	case w != nil:
		return w, nil
	}
	select {
	case q.making <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-q.making }()
	q.mu.Lock()
	w, closed := q.own, q.ended
	q.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case w != nil:
		return w, nil // made meanwhile
	}
	w, err := idempotent.NewWriter(ctx, q.co, idempotent.Config{Name: q.root + lanes})
	if err != nil {
		return nil, err
	}
	if !q.keep(w) { // Close no longer waits for this
		_ = w.Close(ctx) // else its lane goes with the lease
		return nil, ErrClosed
	}
	return w, nil
}

// keep leaves the Writer to the next call of writer, and to Close; false when that has ended
// the queue.
func (q *Queue) keep(w *idempotent.Writer) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended {
		q.own = w
	}
	return !q.ended
}

// closeWriter closes the Writer that the queue has made. No call uses it any more, or Close
// has waited for those in vain.
func (q *Queue) closeWriter(ctx context.Context) error {
	q.mu.Lock()
	w := q.own
	q.mu.Unlock()
	if w == nil {
		return nil
	}
	return w.Close(ctx)
}
