package etcd

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
)

// OpResult is what has become of one operation of a [Client.Batch]: its answer,
// in the field of its kind, or its error.
type OpResult struct {
	OpResponse
	Err error
}

// Batch makes many independent operations in as few requests as possible, and
// returns the result of each in its place. Use it to read or write many keys at
// once; for operations that must happen together there is [Client.Txn].
//
// Operations of a kind travel together: linearizable Gets, serializable Gets, Puts
// and Deletes, up to 128 in a request, or what the servers have been found to
// take. Each TxnRequest travels alone. The requests are sent beside each other, so
// that nothing is promised of the order of operations, but that Puts of one key
// are applied in the order given.
//
// An operation fares as it would have alone, with two differences: Puts and Deletes
// that travel together have one revision, and when the fate of their request is
// unknown so is that of each. If a server refuses a request because of one of its
// operations, the others are sent again without it.
//
// Errors: those of the methods for each kind, each of its own operation.
// ErrInvalidRequest for an operation that is nil or makes no sense. An operation
// may have been applied if [MaybeApplied] says so of its error.
//
// etcd: KV/Txn, and KV/Range, KV/Put or KV/DeleteRange for what is alone of its
// kind (since 3.0)
func (c *Client) Batch(ctx context.Context, ops ...Op) []OpResult {
	if len(ops) == 0 {
		return nil
	}
	p := batchPlan{c: c, ctx: ctx, results: make([]OpResult, len(ops)), open: make(map[batchKey]*batchRequest)}
	for i, op := range ops {
		p.take(op, &p.results[i])
	}
	for _, round := range p.rounds {
		sideBySide(round)
	}
	return p.results
}

// batchPlan is how the operations of a Batch are put into requests. Those of a
// round are sent beside each other, and a round begins when the one before it has
// ended: the second of two Puts of one key is of the second round.
type batchPlan struct {
	c       *Client
	ctx     context.Context
	results []OpResult
	rounds  [][]func()

	open map[batchKey]*batchRequest // the last of each kind
	puts map[string]int             // how many there are of each key
}

type batchKey struct {
	op    *operation
	round int
}

// batchRequest is a request that takes more operations while there is room.
type batchRequest struct {
	items  []*batchItem
	size   int
	limits batchLimits
}

// batchItem is an operation that travels with others of its kind.
type batchItem struct {
	waiter
	resp   sharedResponse
	result *OpResult
}

// take puts an operation into a request.
func (p *batchPlan) take(op Op, result *OpResult) {
	switch op := value(op).(type) {
	case GetRequest:
		kind := &opGet
		if op.Serializable {
			kind = &opGetLocal
		}
		w, err := op.wire()
		p.join(kind, w.Key, &w, err, &batchItem{resp: new(GetResponse), result: result})
	case PutRequest:
		w, err := op.wire()
		p.join(&opPut, w.Key, &w, err, &batchItem{resp: new(PutResponse), result: result})
	case DeleteRequest:
		w, err := op.wire()
		p.join(&opDelete, w.Key, &w, err, &batchItem{resp: new(DeleteResponse), result: result})
	case TxnRequest:
		p.add(0, func() { result.Txn, result.Err = p.c.Txn(p.ctx, op) })
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
func (p *batchPlan) join(op *operation, key string, req wireRequest, reqErr error, it *batchItem) {
	if p.ctx == nil {
		reqErr = errNilContext
	} else if reqErr != nil {
		reqErr = within(op.single.op+"Request", reqErr)
	}
	if reqErr != nil {
		it.result.Err = invalid(op.single.op, reqErr)
		return
	}
	it.key = maphash.String(p.c.coalescer.seed, key)
	it.msg = req.appendWire(nil)
	k := batchKey{op, p.turn(op, key)}
	r := p.open[k]
	if r == nil || len(r.items) >= r.limits.parts || r.size+len(it.msg) > r.limits.bytes || p.c.coalescer.mayOverflow(prevKV(req)) {
		r = &batchRequest{limits: p.c.coalescer.limits(op)}
		p.open[k] = r
		p.add(k.round, func() { p.send(op, r.items) })
	}
	r.items = append(r.items, it)
	r.size += len(it.msg)
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
func (p *batchPlan) turn(op *operation, key string) int {
	if op != &opPut {
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

// send makes one request of items. If it is refused each half is sent by itself,
// until the operation that is to blame is alone.
func (p *batchPlan) send(op *operation, items []*batchItem) {
	b := newBatch(op, batchLimits{parts: len(items), bytes: math.MaxInt}, nil)
	b.ctx, b.cancel = p.ctx, func() {}
	for _, it := range items {
		b.add(&it.waiter)
	}
	err := new(sender).send(p.c, b)
	b.settle(err)
	if items[0].alone {
		p.c.coalescer.refused(op, b, err)
		half := len(items) / 2
		p.send(op, items[:half])
		p.send(op, items[half:])
		return
	}
	for _, it := range items {
		it.end(op)
	}
}

// end sets the result.
func (it *batchItem) end(op *operation) {
	if it.result.Err = it.waiter.result(op, it.resp); it.result.Err != nil {
		return
	}
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
