package etcd

import (
	"context"
	"errors"
	"sync"
	"time"
)

// begun is a call that Hooks.Call has seen. The zero value is of one that nobody wants to
// hear the end of.
type begun struct {
	o     *observer
	ctx   context.Context // the call's, which is seen
	ended func(CallResult)
	began time.Time
	seen  *calledContext
}

// calledContext is the context of a call whose end somebody wants to hear of: the one that
// Hooks.Call has returned, and what the call's attempts have shown.
type calledContext struct {
	context.Context
	mu       sync.Mutex // guards the fields below
	attempts int
	endpoint string
}

// calledKey is the key by which a context finds the calledContext above it.
var calledKey = new(byte)

// Value implements context.Context.
func (c *calledContext) Value(key any) any {
	if key == calledKey {
		return c
	}
	return c.Context.Value(key)
}

// noteAttempt notes an attempt that is made for the caller of ctx.
func (o *observer) noteAttempt(ctx context.Context, endpoint string) {
	if seen, ok := ctx.Value(calledKey).(*calledContext); ok {
		seen.mu.Lock()
		seen.attempts++
		seen.endpoint = endpoint
		seen.mu.Unlock()
	}
}

// begin tells Hooks.Call of a call and returns the context in which to make it. ctx is not
// nil.
func (o *observer) begin(ctx context.Context, info CallInfo) (context.Context, begun) {
	if o.hooks.Call == nil {
		return ctx, begun{}
	}
	ctx, ended := o.hooks.Call(ctx, info)
	if ended == nil {
		return ctx, begun{}
	}
	seen := &calledContext{Context: ctx}
	return seen, begun{o: o, ctx: seen, ended: ended, began: time.Now(), seen: seen}
}

// end tells of the end. resp, which may be nil, is the answer if err is nil.
func (b *begun) end(err error, resp any) {
	if b.ended == nil {
		return
	}
	r := CallResult{Duration: time.Since(b.began)}
	if err == nil {
		r.Revision, r.Pairs = sizeOf(resp)
	} else {
		r.Err, _ = errors.AsType[*Error](err)
	}
	b.seen.mu.Lock()
	r.Attempts, r.Endpoint = b.seen.attempts, b.seen.endpoint
	b.seen.mu.Unlock()
	if r.Endpoint == "" && r.Err != nil {
		r.Endpoint = r.Err.Endpoint
	}
	defer b.o.caught(b.ctx, "Hooks.Call")
	b.ended(r)
}

// sizeOf is the revision of an answer, and how many pairs it has.
func sizeOf(resp any) (revision int64, pairs int) {
	switch r := resp.(type) {
	case *GetResponse:
		return r.Header.Revision, len(r.KVs)
	case *PutResponse:
		return r.Header.Revision, 0
	case *DeleteResponse:
		return r.Header.Revision, len(r.PrevKVs)
	case *TxnResponse:
		for i := range r.Responses {
			if get := r.Responses[i].Get; get != nil {
				pairs += len(get.KVs)
			}
		}
		return r.Header.Revision, pairs
	}
	return 0, 0
}

// infoOf describes a call by its request.
func infoOf(op string, req wireRequest) CallInfo {
	info := CallInfo{Op: op, Operations: 1, Bytes: req.sizeWire()}
	switch w := req.(type) {
	case *rangeRequest:
		info.Key = w.Key
	case *putRequest:
		info.Key = w.Key
	case *deleteRangeRequest:
		info.Key = w.Key
	}
	return info
}
