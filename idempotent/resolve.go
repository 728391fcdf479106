package idempotent

import (
	"context"
	"errors"
	"fmt"

	"silly.store/etcd"
)

// pending is a write that was left unknown.
type pending struct {
	writer *Writer
	turn   chan struct{} // capacity 1: a value in it is the right to settle the write
	write  *write
	shared *shared // in place of write: one that the caller has left

	done   chan struct{} // closed when the fields below are set
	result *Result
	err    error
}

// settle finds out what became of the write, once. Without an answer it leaves the write
// unknown.
func (p *pending) settle(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.turn }()
	select {
	case <-p.done:
		return nil
	default:
	}
	result, err := p.outcome(ctx)
	if err != nil && !errors.Is(err, ErrNotApplied) && !errors.Is(err, etcd.ErrCompacted) {
		return err
	}
	p.result, p.err = result, err
	close(p.done)
	return nil
}

// outcome finds out what became of the write.
func (p *pending) outcome(ctx context.Context) (*Result, error) {
	if p.shared != nil {
		return p.shared.outcome(ctx)
	}
	return p.write.settle(ctx, ErrNotApplied)
}

// unknown is the error of a write that is left so.
func (w *Writer) unknown(write *write, err error) *unknownError {
	return &unknownError{
		causes: []error{err},
		await:  &pending{writer: w, write: write, turn: make(chan struct{}, 1), done: make(chan struct{})},
	}
}

// later leaves a write unknown. Its lane is used again when the write is settled.
func (w *Writer) later(l *lane, write *write, err error) error {
	req := *write.req // the caller may change its own from here on
	write.req = &req
	u := w.unknown(write, err)
	w.mu.Lock()
	closed := w.closed
	if !closed {
		w.routines.Add(1)
	}
	w.mu.Unlock()
	if closed {
		w.give(nil)
		return u
	}
	go func() {
		defer w.routines.Done()
		if err := u.await.settle(w.life); err != nil || l.session.Err() != nil {
			w.give(nil)
			return
		}
		l.at = write.at
		w.give(l)
	}()
	return u
}

// Resolve returns the outcome of a write that has failed with err, an error for which
// etcd.MaybeApplied is true: the write's result if it was applied, and ErrNotApplied if it
// was not and never will be. It waits for that until ctx ends. For an error of [Writer.Once]
// it is the outcome of the ID.
//
// Errors: ErrNotApplied; etcd.ErrInvalidRequest if err is not one of this Writer's; otherwise
// the write's outcome is still unknown, and the error is err with the reason. The history
// that would show it is compacted (etcd.ErrCompacted) when the lease of the lane was lost and
// nobody could look in time. A revoked lease of an ID, or of its ticket, leaves no trace
// either: Resolve then returns at once, and the outcome stays unknown.
//
// etcd: KV/Txn (since 3.3)
func (w *Writer) Resolve(ctx context.Context, err error) (*Result, error) {
	var u *unknownError
	switch {
	case ctx == nil:
		return nil, invalid("Resolve", textNilContext)
	case !errors.As(err, &u) || u.await.writer != w:
		return nil, invalid("Resolve", "the error is not that of a write of this Writer of which the outcome is unknown")
	}
	p := u.await
	if failed := p.settle(ctx); failed != nil {
		return nil, fmt.Errorf("idempotent: Resolve: %w: %w", failed, err)
	}
	if p.err != nil && !errors.Is(p.err, ErrNotApplied) {
		return nil, fmt.Errorf("idempotent: Resolve: %w", p.err)
	}
	return p.result, p.err
}
