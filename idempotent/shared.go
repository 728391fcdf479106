package idempotent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"silly.store/etcd"
)

// Puts and deletions of single keys that several callers make at the same time share a write:
// one Txn, on one lane. That costs etcd about half of what separate Txns would.
//
//	open -- a write ends, it is full, or sharePatience --> sent --> done
//
// No write waits for others: while fewer than shareFrom are in flight, a write goes out alone.
// Writes that arrive meanwhile share the next one. When a shared write is refused, each caller
// repeats its part alone, so that the faulty one gets the error. A caller whose context ends
// leaves the shared write, which goes on for the others; the last one to leave ends it.

const (
	// shareFrom is how many writes are in flight before others share one.
	shareFrom = 2
	// sharePatience is how long a shared write waits for one under way to end.
	sharePatience = 5 * time.Millisecond
	// Limits of a shared write, and of what takes part.
	shareOps, shareBytes      = 64, 256 << 10
	shareOwnOps, shareOwnSize = 8, 16 << 10
)

// sharing is what the callers of a Writer share.
type sharing struct {
	mu    sync.Mutex // guards the fields below, and those of the shared write that is open
	under int        // writes under way that may take part
	open  *shared    // nil: none
	most  int        // operations that etcd takes, as far as is known; 0: shareOps
}

// shared is a write of several callers.
type shared struct {
	w      *Writer
	ctx    context.Context // ends when all callers have left
	cancel context.CancelCauseFunc

	// sharing.mu guards the fields below.

	parts   []*part
	keys    map[string]struct{}
	bytes   int
	ops     int
	present int // callers that wait for it

	done   chan struct{} // closed when the fields below are set
	result *Result
	err    error
}

// part is what one caller has the shared write do.
type part struct {
	ops  []etcd.Op // copies: the caller may leave
	at   int       // where its operations begin in the shared write
	left bool      // the caller has left before the write was sent
}

// share makes a write that may take part in a shared one.
func (w *Writer) share(ctx context.Context, req *etcd.TxnRequest, size int) (*Result, error) {
	s, p, first := w.sharing.join(w, req, size)
	if s == nil {
		defer w.sharing.ended()
		return w.alone(ctx, req)
	}
	if err := s.wait(ctx, p, first); err != nil {
		return nil, err
	}
	switch {
	case s.err == nil:
		return s.resultOf(p), nil
	case etcd.MaybeApplied(s.err):
		return nil, s.err
	}
	return w.alone(ctx, req)
}

// join takes part in the shared write that is open. A nil one means that the caller writes
// alone; it must then call ended. first: it has opened the shared write.
func (sh *sharing) join(w *Writer, req *etcd.TxnRequest, size int) (s *shared, p *part, first bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.under < shareFrom {
		sh.under++
		return nil, nil, false
	}
	if sh.open != nil && (sh.open.ops+len(req.Then) > cmp.Or(sh.most, shareOps) || sh.open.bytes+size > shareBytes) {
		sh.sendLocked()
	}
	if sh.open == nil {
		first = true
		sh.open = &shared{w: w, keys: make(map[string]struct{}), done: make(chan struct{})}
		sh.open.ctx, sh.open.cancel = context.WithCancelCause(context.Background())
	}
	if p = sh.open.addLocked(req, size); p == nil {
		sh.under++ // another caller writes the same key
		return nil, nil, false
	}
	return sh.open, p, first
}

// addLocked adds a part, unless the shared write has one of its keys.
func (s *shared) addLocked(req *etcd.TxnRequest, size int) *part {
	for _, op := range req.Then {
		if _, there := s.keys[keyOf(op)]; there {
			return nil
		}
	}
	p := &part{ops: make([]etcd.Op, len(req.Then))}
	for i, op := range req.Then {
		s.keys[keyOf(op)] = struct{}{}
		p.ops[i] = copyOf(op)
	}
	s.parts = append(s.parts, p)
	s.ops, s.bytes, s.present = s.ops+len(p.ops), s.bytes+size, s.present+1
	return p
}

// ended notes the end of a write, after which the open one is sent.
func (sh *sharing) ended() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.under--
	sh.sendLocked()
}

// sendLocked sends the shared write that is open.
func (sh *sharing) sendLocked() {
	s := sh.open
	if s == nil {
		return
	}
	sh.open = nil
	var ops []etcd.Op
	for _, p := range s.parts {
		if p.at = len(ops); !p.left {
			ops = append(ops, p.ops...)
		}
	}
	if len(ops) == 0 { // all have left
		s.cancel(nil)
		close(s.done)
		return
	}
	sh.under++
	go s.commit(ops)
}

// commit is the goroutine of a shared write under way.
func (s *shared) commit(ops []etcd.Op) {
	defer s.w.sharing.ended()
	defer s.cancel(nil)
	s.result, s.err = s.w.alone(s.ctx, &etcd.TxnRequest{Then: ops})
	if errors.Is(s.err, etcd.ErrTooManyOps) { // the server has its own limit
		s.w.sharing.mu.Lock()
		s.w.sharing.most = max(len(ops)/2, 1)
		s.w.sharing.mu.Unlock()
	}
	close(s.done)
}

// wait waits for the shared write. An error is that of the caller's context. first: it has the
// write sent after sharePatience.
func (s *shared) wait(ctx context.Context, p *part, first bool) error {
	var patience <-chan time.Time
	if first {
		timer := time.NewTimer(sharePatience)
		defer timer.Stop()
		patience = timer.C
	}
	for {
		select {
		case <-s.done:
			return nil
		case <-patience:
			s.w.sharing.send(s)
			patience = nil
		case <-ctx.Done():
			return s.leave(ctx, p, first)
		}
	}
}

// send sends s if it is open.
func (sh *sharing) send(s *shared) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.open == s {
		sh.sendLocked()
	}
}

// leave is what a caller does whose context has ended. The last one ends the write, and waits
// for that. first: the others count on it to have the write sent.
func (s *shared) leave(ctx context.Context, p *part, first bool) error {
	cause := fmt.Errorf("idempotent: waiting for a shared write: %w", context.Cause(ctx))
	sh := &s.w.sharing
	sh.mu.Lock()
	s.present--
	waiting, last := sh.open == s, s.present == 0
	p.left = p.left || waiting
	if waiting && (last || first) {
		sh.sendLocked() // which sends nothing if it was the last
	}
	sh.mu.Unlock()
	switch {
	case waiting:
		return cause
	case !last:
		return &unknownError{causes: []error{&leftError{cause}}, await: &pending{
			writer: s.w, shared: s, turn: make(chan struct{}, 1), done: make(chan struct{}),
		}}
	}
	s.cancel(context.Cause(ctx))
	<-s.done
	if s.err != nil && !etcd.MaybeApplied(s.err) {
		return cause // and it was refused, or not sent
	}
	return nil
}

// leftError is the error of a caller that has left a shared write under way.
type leftError struct{ cause error }

func (e *leftError) Error() string { return e.cause.Error() + "; the write may have been applied" }

func (e *leftError) Unwrap() error { return e.cause }

// MaybeApplied makes etcd.MaybeApplied report true.
func (e *leftError) MaybeApplied() bool { return true }

// resultOf is the result of a caller's part.
func (s *shared) resultOf(p *part) *Result {
	own := *s.result
	if whole := s.result.Response; whole != nil {
		own.Response = &etcd.TxnResponse{Header: whole.Header, Succeeded: true}
		if end := p.at + len(p.ops); end <= len(whole.Responses) {
			own.Response.Responses = whole.Responses[p.at:end:end]
		}
	}
	return &own
}

// outcome is what became of the shared write, for a caller that has left it.
func (s *shared) outcome(ctx context.Context) (*Result, error) {
	select {
	case <-s.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.err == nil {
		return &Result{Succeeded: true, Revision: s.result.Revision, Recovered: true}, nil
	}
	var u *unknownError
	if !errors.As(s.err, &u) {
		return nil, ErrNotApplied
	}
	if err := u.await.settle(ctx); err != nil {
		return nil, err
	}
	return u.await.result, u.await.err
}

// sharable returns how large a request is that may take part in a shared write: one that only
// puts and deletes a few single keys, unconditionally.
func sharable(req *etcd.TxnRequest) (size int, ok bool) {
	if len(req.If)+len(req.Else) > 0 || len(req.Then) == 0 || len(req.Then) > shareOwnOps {
		return 0, false
	}
	for _, op := range req.Then {
		switch op := op.(type) {
		case etcd.PutRequest:
			size += len(op.Key) + len(op.Value)
		case etcd.DeleteRequest:
			if op.Prefix || op.FromKey || op.RangeEnd != "" {
				return 0, false
			}
			size += len(op.Key)
		default:
			return 0, false
		}
	}
	return size, size <= shareOwnSize
}

// keyOf is the key of an operation of a sharable request.
func keyOf(op etcd.Op) string {
	if put, ok := op.(etcd.PutRequest); ok {
		return put.Key
	}
	return op.(etcd.DeleteRequest).Key
}

func copyOf(op etcd.Op) etcd.Op {
	if put, ok := op.(etcd.PutRequest); ok {
		put.Value = bytes.Clone(put.Value)
		return put
	}
	return op
}
