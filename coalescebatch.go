package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"silly.store/etcd/internal/wire"
)

// batch is a number of calls that share one request.
type batch struct {
	op      *operation
	waiters []*waiter
	parts   []part
	index   map[uint64]int // the parts of reads by the hash of their keys
	size    int            // bytes of the parts' requests
	limits  batchLimits
	left    int // waiters that have given up; guarded by line.mu
	era     int // line.era when it was sent

	ctx    context.Context // lasts as long as the most patient of them
	cancel context.CancelFunc
	fate   fate
}

// part is one operation of the request; identical reads share one.
type part struct {
	first   int // the waiter whose request it is
	waiters int
	answer  []byte
}

// newBatch takes over the memory of former, whose calls have been told; nil: of
// none. A call that gives up late may look at former still, but not into that.
func newBatch(op *operation, limits batchLimits, former *batch) *batch {
	b := &batch{op: op, limits: limits}
	if former != nil {
		clear(former.parts) // the answers
		clear(former.index)
		b.waiters, b.parts, b.index = former.waiters[:0], former.parts[:0], former.index
		former.parts, former.index = nil, nil
	}
	return b
}

// add takes w into the batch, unless that is full.
func (b *batch) add(w *waiter) bool {
	if len(b.parts) > 0 && (w.solo || b.waiters[0].solo) {
		return false
	}
	if i, ok := b.same(w); ok {
		w.index = i
		b.parts[i].waiters++
	} else {
		if len(b.parts) > 0 && (len(b.parts) >= b.limits.parts || b.size+len(w.msg) > b.limits.bytes) {
			return false
		}
		w.index = len(b.parts)
		b.parts = append(b.parts, part{first: len(b.waiters), waiters: 1})
		b.size += len(w.msg)
	}
	w.batch = b
	b.waiters = append(b.waiters, w)
	return true
}

// same finds the part that asks for the same as w. Writes are never the same.
func (b *batch) same(w *waiter) (int, bool) {
	if b.op.writes {
		return 0, false
	}
	i, ok := b.index[w.key]
	if ok {
		return i, bytes.Equal(b.waiters[b.parts[i].first].msg, w.msg)
	}
	if b.index == nil {
		b.index = make(map[uint64]int)
	}
	b.index[w.key] = len(b.parts)
	return 0, false
}

// begin gives the batch its context. Either all of its calls have a deadline or
// none has.
func (b *batch) begin() {
	var last time.Time
	for _, w := range b.waiters {
		if w.deadline.After(last) {
			last = w.deadline
		}
	}
	if last.IsZero() {
		b.ctx, b.cancel = context.WithCancel(context.Background())
	} else {
		b.ctx, b.cancel = context.WithDeadline(context.Background(), last)
	}
}

// sender sends batches, one after the other.
type sender struct {
	msg []byte
}

// send makes the batch's request and finds the answers in the reply.
func (s *sender) send(c *Client, b *batch) *Error {
	defer b.cancel()
	r := *b.op.shared
	if len(b.parts) == 1 {
		r = *b.op.single
	}
	r.fate = &b.fate
	b.fate.calls = len(b.waiters)
	if len(b.waiters) > 1 {
		c.observer.batch(len(b.waiters))
	}

	s.encode(b)
	reply, err := c.call(b.ctx, &r, s.msg)
	if err != nil {
		return err
	}
	return b.split(&r, reply)
}

func (s *sender) encode(b *batch) {
	if cap(s.msg) > maxPooledMessage {
		s.msg = nil
	}
	s.msg = s.msg[:0]
	if len(b.parts) == 1 {
		s.msg = append(s.msg, b.waiters[0].msg...)
		return
	}
	for _, p := range b.parts {
		s.msg = appendOperation(s.msg, b.op.field, b.waiters[p.first].msg)
	}
}

// appendOperation appends an operation of a TxnRequest's success branch: the
// field of RequestOp with the request msg.
func appendOperation(to []byte, field int, msg []byte) []byte {
	to = wire.AppendTag(to, 2, wire.TypeBytes)
	to = wire.AppendVarint(to, uint64(1+wire.SizeBytes(len(msg))))
	return wire.AppendBytes(wire.AppendTag(to, field, wire.TypeBytes), msg)
}

// split finds the parts' answers in the reply.
func (b *batch) split(r *rpc, reply []byte) *Error {
	if len(b.parts) == 1 {
		b.parts[0].answer = reply
		b.answered(ResponseHeader{}, len(reply))
		return nil
	}
	if err := splitTxn(reply, b.op.field, b.parts); err != nil {
		return undecodable(r, err)
	}
	b.answered(peekHeader(reply), len(reply))
	return nil
}

func (b *batch) answered(h ResponseHeader, size int) {
	for _, w := range b.waiters {
		p := &b.parts[w.index]
		w.reply, w.header = p.answer, h
		w.mine = p.waiters == 1 && 2*len(p.answer) >= size
	}
}

// settle says what has become of the batch's calls.
func (b *batch) settle(err *Error) {
	alone := err != nil && len(b.parts) > 1 && err.refusal()
	for _, w := range b.waiters {
		w.err, w.alone, w.settled = err, alone, true
	}
}

// tell has the calls go on. Nobody else may look at their waiters after it.
func (b *batch) tell() {
	for _, w := range b.waiters {
		w.done <- struct{}{}
	}
}

// refusal: a server has refused the request before it has done anything, and
// would again, or the answer to a read is too large. A call that shares the request
// with others may fare better alone. A learner takes serializable reads only so.
func (e *Error) refusal() bool {
	switch e.sentinel {
	case ErrResponseTooLarge:
		return !e.write
	case ErrHistoryReset:
		return false
	case ErrNotSupportedForLearner:
		return true
	}
	return e.answered && e.Outcome == Rejected && !e.transient
}

var errNotAnswers = errors.New("a response of a transaction is not of its operation's kind")

// splitTxn finds the answers to the operations of a transaction in its answer,
// which are all in the same field of ResponseOp.
func splitTxn(reply []byte, field int, parts []part) error {
	n := 0
	for i := 0; i < len(reply); {
		tag, next := wire.Varint(reply, i)
		if next < 0 {
			return wire.Error(next)
		}
		if tag != 3<<3|wire.TypeBytes {
			if i = wire.Skip(tag, reply, next); i < 0 {
				return wire.Error(i)
			}
			continue
		}
		op, end := wire.Bytes(reply, next)
		if end < 0 {
			return wire.Error(end)
		}
		if n == len(parts) {
			return fmt.Errorf("the transaction has more responses than its %d operations", len(parts))
		}
		var err error
		if parts[n].answer, err = operationAnswer(op, field); err != nil {
			return err
		}
		n, i = n+1, end
	}
	if n < len(parts) {
		return fmt.Errorf("the transaction has %d responses to %d operations", n, len(parts))
	}
	return nil
}

// operationAnswer is the answer in a ResponseOp.
func operationAnswer(op []byte, field int) ([]byte, error) {
	tag, next := wire.Varint(op, 0)
	if next < 0 {
		return nil, wire.Error(next)
	}
	if tag != uint64(field)<<3|wire.TypeBytes {
		return nil, errNotAnswers
	}
	answer, end := wire.Bytes(op, next)
	if end < 0 {
		return nil, wire.Error(end)
	}
	return answer, nil
}

// fate is what is known of a request that several calls share, for those that do
// not wait for its end. A nil fate notes nothing.
type fate struct {
	calls int

	mu       sync.Mutex // guards the fields below
	open     bool       // it has been handed to a connection, and nothing has come back
	maybe    bool       // an attempt has ended so that it may have been applied
	endpoint string
	attempts int
	last     *Error
}

func (f *fate) attempt(n int) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempts = n
}

func (f *fate) sent(endpoint string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open, f.endpoint = true, endpoint
}

func (f *fate) failed(e *Error) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open, f.last = false, e
	f.maybe = f.maybe || e.Outcome == OutcomeUnknown
}

// givenUp is the error of a call that has not waited for the end.
func (f *fate) givenUp(ctx context.Context, op *operation) *Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := &Error{
		Op: op.single.op, Endpoint: f.endpoint, Code: codeOfContext(ctx), write: op.writes,
		Attempts: f.attempts, cause: ctx.Err(), Message: ctx.Err().Error(),
	}
	if !f.open && !f.maybe {
		e.Outcome = NotSent
	}
	return e.behind(f.last)
}

// behind adds to the end of a call's context what has held it up.
func (e *Error) behind(last *Error) *Error {
	if last != nil {
		e.cause = errors.Join(e.cause, last.sentinel)
		e.Message += "; last error: " + last.text()
	}
	return e
}

// size is how many calls share the request.
func (f *fate) size() int {
	if f == nil {
		return 1
	}
	return f.calls
}
