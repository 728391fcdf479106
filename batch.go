package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"silly.store/etcd/internal/coalesce"
)

// OpResult is the result of one operation of a [Client.Batch]: its answer, in the field
// of its kind, or its error.
type OpResult struct {
	OpResponse
	// Err is an [*Error], or nil. Its Op is the method of the operation's kind.
	Err error
	// Op is the operation, as it was given, and Index its place among the others.
	Op    Op
	Index int
}

// BatchResults are the results of a [Client.Batch], in the order of its operations.
type BatchResults []OpResult

// Err returns nil if all operations have succeeded, and otherwise one error for those
// that have failed. [errors.Is] finds the errors of all of them, and [MaybeApplied] is
// true if any of them may have been applied. Unwrap returns one error per failed
// operation, whose text begins with its Index.
func (r BatchResults) Err() error {
	var failed []error
	for i := range r {
		if r[i].Err != nil {
			failed = append(failed, &operationError{r[i].Index, r[i].Err})
		}
	}
	if failed == nil {
		return nil
	}
	return &batchError{failed, len(r)}
}

// operationError is why one operation of a Batch has failed.
type operationError struct {
	index int
	err   error
}

func (e *operationError) Error() string { return fmt.Sprintf("operation %d: %v", e.index, e.err) }
func (e *operationError) Unwrap() error { return e.err }

// batchError is the error of all failed operations; each is an operationError.
type batchError struct {
	failed []error
	total  int
}

func (e *batchError) Unwrap() []error { return e.failed }

// maxListed is how many failed operations the text of a batchError names. Those of
// one request have the same text.
const maxListed = 3

func (e *batchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "etcd: %d of %d operations of the Batch failed", len(e.failed), e.total)
	separator := ": "
	for _, err := range e.failed[:min(len(e.failed), maxListed)] {
		b.WriteString(separator + err.Error())
		separator = "; "
	}
	if more := len(e.failed) - maxListed; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// Batch makes many independent operations in as few requests as possible, and
// returns the result of each in its place. Use it to read or write many keys at
// once; for operations that must happen together there is [Client.Txn].
//
// Operations of one kind travel together: linearizable Gets, serializable Gets, Puts
// and Deletes, up to 128 per request, or fewer if the servers accept fewer. Each
// TxnRequest travels alone. The client sends several requests at a time, so the order of
// operations is undefined, except that Puts of one key are applied in the order given.
//
// Each operation has the result that it would have had alone, with two differences: Puts
// and Deletes that share a request have one revision, and when the outcome of their
// request is unknown, so is that of each. If a server refuses a request because of one
// operation, the client sends the others again without it.
//
// [BatchResults.Err] reports whether all of them have succeeded.
//
// Errors: those of the methods for each kind, in the result of each operation.
// ErrInvalidRequest for an operation that is nil or makes no sense. An operation
// may have been applied if [MaybeApplied] is true for its error.
//
// etcd: KV/Txn, and KV/Range, KV/Put or KV/DeleteRange for a single operation of its
// kind (since 3.0)
func (c *Client) Batch(ctx context.Context, ops ...Op) BatchResults {
	if len(ops) == 0 {
		return nil
	}
	var begun begun
	if ctx != nil {
		ctx, begun = c.observer.begin(ctx, CallInfo{Op: "Batch", Operations: len(ops)})
	}
	p := batchPlan{c: c, ctx: ctx, results: make(BatchResults, len(ops)), open: make(map[batchKey]*batchRequest)}
	for i, op := range ops {
		p.results[i].Op, p.results[i].Index = op, i
		p.take(op, &p.results[i])
	}
	for _, round := range p.rounds {
		sideBySide(round)
	}
	begun.end(p.results.Err(), nil)
	return p.results
}

// batchPlan is how the operations of a Batch are put into requests. Those of a
// round are sent beside each other, and a round begins when the one before it has
// ended: the second of two Puts of one key is of the second round.
type batchPlan struct {
	c       *Client
	ctx     context.Context
	results BatchResults
	rounds  [][]func()

	open map[batchKey]*batchRequest // the last of each kind
	puts map[string]int             // how many there are of each key
}

type batchKey struct {
	op    *coalesce.Operation
	round int
}

// batchRequest is a request that takes more operations while there is room.
type batchRequest struct {
	items  []*batchItem
	size   int
	limits coalesce.Limits
}

// batchItem is an operation that travels with others of its kind.
type batchItem struct {
	coalesce.Waiter
	resp   sharedResponse
	result *OpResult
}

// take puts an operation into a request.
func (p *batchPlan) take(op Op, result *OpResult) {
	switch op := value(op).(type) {
	case GetRequest:
		kind := coalesce.Get
		if op.Serializable {
			kind = coalesce.GetLocal
		}
		w, err := op.wire()
		w.enter(&p.c.space)
		p.join(kind, w.Key, &w, err, &batchItem{resp: new(GetResponse), result: result})
	case PutRequest:
		w, err := op.wire()
		w.enter(&p.c.space)
		p.join(coalesce.Put, w.Key, &w, err, &batchItem{resp: new(PutResponse), result: result})
	case DeleteRequest:
		w, err := op.wire()
		w.enter(&p.c.space)
		p.join(coalesce.Delete, w.Key, &w, err, &batchItem{resp: new(DeleteResponse), result: result})
	case TxnRequest:
		p.add(0, func() { result.Txn, result.Err = p.c.txn(p.ctx, op) })
	default:
		result.Err = invalid("Batch", errors.New("an operation is nil"))
	}
}

// value is op without a pointer to it; nil if there is none.
func value(op Op) Op {
	if isNil(op) {
		return nil
	}
	switch op := op.(type) {
	case *PutRequest:
		return *op
	case *GetRequest:
		return *op
	case *DeleteRequest:
		return *op
	case *TxnRequest:
		return *op
	}
	return op
}

// join puts an operation into a request with others of its kind.
func (p *batchPlan) join(op *coalesce.Operation, key string, req wireRequest, reqErr error, it *batchItem) {
	if p.ctx == nil {
		reqErr = errNilContext
	} else if reqErr != nil {
		reqErr = within(op.Single.Op+"Request", reqErr)
	}
	if reqErr != nil {
		it.result.Err = invalid(op.Single.Op, reqErr)
		return
	}
	p.c.coalescer.Prepare(&it.Waiter, p.c.space.prefix, key, req.appendWire(nil))
	k := batchKey{op, p.turn(op, key)}
	r := p.open[k]
	if r == nil || len(r.items) >= r.limits.Parts || r.size+len(it.Message) > r.limits.Bytes || p.c.coalescer.MayOverflow(prevKV(req)) {
		r = &batchRequest{limits: p.c.coalescer.Limits(op)}
		p.open[k] = r
		p.add(k.round, func() { p.send(op, r.items) })
	}
	r.items = append(r.items, it)
	r.size += len(it.Message)
}

func prevKV(req wireRequest) bool {
	switch w := req.(type) {
	case *putRequest:
		return w.PrevKV
	case *deleteRangeRequest:
		return w.PrevKV
	}
	return false
}

// turn is the round of an operation.
func (p *batchPlan) turn(op *coalesce.Operation, key string) int {
	if op != coalesce.Put {
		return 0
	}
	if p.puts == nil {
		p.puts = make(map[string]int)
	}
	p.puts[key]++
	return p.puts[key] - 1
}

func (p *batchPlan) add(round int, send func()) {
	for len(p.rounds) <= round {
		p.rounds = append(p.rounds, nil)
	}
	p.rounds[round] = append(p.rounds[round], send)
}

// send makes one request of items, and sets their results.
func (p *batchPlan) send(op *coalesce.Operation, items []*batchItem) {
	waiters := make([]*coalesce.Waiter, len(items))
	for i, it := range items {
		waiters[i] = &it.Waiter
	}
	p.c.coalescer.Together(p.ctx, op, waiters)
	for _, it := range items {
		it.end(op, &p.c.space)
	}
}

// end sets the result.
func (it *batchItem) end(op *coalesce.Operation, s *space) {
	answer, err := it.Answer()
	if err != nil {
		it.result.Err = public(err)
		return
	}
	if it.result.Err = decodeShared(op.Single, answer, it.resp); it.result.Err != nil {
		return
	}
	it.resp.leave(s)
	switch resp := it.resp.(type) {
	case *GetResponse:
		it.result.Get = resp
	case *PutResponse:
		it.result.Put = resp
	case *DeleteResponse:
		it.result.Delete = resp
	}
}

// maxSideBySide is how many requests of a Batch are under way.
const maxSideBySide = 4

// sideBySide runs all of them, a few at the same time.
func sideBySide(all []func()) {
	var next atomic.Int64
	run := func() {
		for i := next.Add(1); i <= int64(len(all)); i = next.Add(1) {
			all[i-1]()
		}
	}
	var others sync.WaitGroup
	for range min(len(all), maxSideBySide) - 1 {
		others.Go(run)
	}
	run()
	others.Wait()
}
