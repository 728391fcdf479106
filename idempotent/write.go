package idempotent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
)

// A write is made by copies of one request, all with the same compare on the key of a lane
// or a marker. Its states:
//
//	certain   no copy is of unknown outcome. An error is the write's error.
//	unknown   a copy may have been applied, now or later. Only an answer of etcd that shows
//	          the key after it has moved settles the write: applied, or not and never will be.
//	settled   the key has moved; no copy has any effect from here on.
//
// certain → unknown by a copy without an answer; both → settled by an answer, which may be
// that to a void: a put of the key alone, behind the same compare.

// Result says what a write has done.
type Result struct {
	// Succeeded reports whether the conditions of the request held, so that Then was
	// applied and not Else.
	Succeeded bool
	// Revision is the revision at which the write was applied.
	Revision int64
	// Recovered: the answer to the copy that was applied was lost. The Writer has found
	// out the result, except for the responses of the operations.
	Recovered bool
	// Response is the answer to the request as the caller made it. It is nil if Recovered
	// is set: read what you need at Revision.
	Response *etcd.TxnResponse
}

// pauses spaces copies.
var pauses = backoff.Backoff{First: 10 * time.Millisecond, Cap: time.Second}

// errMoved means that the write was not applied and never will be, although etcd has not
// refused it: the key is gone, or another write has put it. The write may be made again.
var errMoved = errors.New("the writer's key has changed")

// write is one write in flight. It is for one goroutine at a time.
type write struct {
	client *etcd.Client
	req    *etcd.TxnRequest // the caller's
	key    string
	at     int64 // the key's mod revision: what all copies compare. After the write, what it is then
	lease  etcd.LeaseID

	then, orElse, void string // the values that say what became of it

	unknown error // of the last copy of unknown outcome; nil: there is none
}

// do makes copies until the write is settled or ctx ends. Errors that etcd.MaybeApplied
// reports leave the write unknown; see [write.settle].
func (w *write) do(ctx context.Context) (*Result, error) {
	req := w.request()
	for failures := 0; ; failures++ {
		resp, err := w.client.Txn(call.WithSafeCopies(ctx, failures), req)
		switch {
		case err == nil && resp.Succeeded:
			return w.applied(resp), nil
		case err == nil:
			return w.moved(ctx, resp)
		case etcd.MaybeApplied(err):
			w.unknown = err
		case w.unknown == nil:
			return nil, explain(w.req, err)
		case isRefusal(ctx, err):
			result, unsettled := w.settle(ctx, explain(w.req, err))
			if etcd.MaybeApplied(unsettled) {
				unsettled = call.Join(unsettled, err)
			}
			return result, unsettled
		}
		if err := w.pause(ctx, failures, err); err != nil {
			return nil, err
		}
	}
}

// settle makes the copies that are under way ineffective, and finds out whether one of them
// was applied. If none was, the write's error is refusal.
func (w *write) settle(ctx context.Context, refusal error) (*Result, error) {
	req := etcd.TxnRequest{
		If:   []etcd.Compare{etcd.CompareModRevision(w.key, etcd.Equal, w.at)},
		Then: []etcd.Op{w.put(w.void)},
		Else: []etcd.Op{etcd.GetRequest{Key: w.key}},
	}
	for failures := 0; ; failures++ {
		resp, err := w.client.Txn(call.WithSafeCopies(ctx, failures), req)
		switch {
		case err == nil && resp.Succeeded:
			w.at, w.unknown = resp.Header.Revision, nil
			return nil, refusal
		case err == nil:
			result, err := w.moved(ctx, resp)
			if errors.Is(err, errMoved) {
				err = refusal
			}
			return result, err
		case isRefusal(ctx, err) && !etcd.MaybeApplied(err):
			return nil, call.Join(w.unknown, err)
		}
		if err := w.pause(ctx, failures, err); err != nil {
			return nil, err
		}
	}
}

// isRefusal reports whether another copy would be answered with the same error.
func isRefusal(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !etcd.Temporary(err) && !errors.Is(err, etcd.ErrClosed)
}

// pause waits until another copy is due. It returns the write's error when there will be
// none.
func (w *write) pause(ctx context.Context, failures int, err error) error {
	if errors.Is(err, etcd.ErrClosed) {
		return call.Join(w.unknown, err)
	}
	if !call.Sleep(ctx, pauses.Jittered(failures)) {
		return call.Join(w.unknown, context.Cause(ctx))
	}
	return nil
}

// request is what all copies ask for. Without conditions it does without a nested
// transaction, which costs etcd time.
func (w *write) request() etcd.TxnRequest {
	req := etcd.TxnRequest{
		If:   []etcd.Compare{etcd.CompareModRevision(w.key, etcd.Equal, w.at)},
		Else: []etcd.Op{etcd.GetRequest{Key: w.key}},
	}
	then := with(w.req.Then, w.put(w.then))
	if len(w.req.If) == 0 {
		req.Then = then
		return req
	}
	req.Then = []etcd.Op{etcd.TxnRequest{If: w.req.If, Then: then, Else: with(w.req.Else, w.put(w.orElse))}}
	return req
}

func (w *write) put(value string) etcd.Op {
	return etcd.PutRequest{Key: w.key, Value: []byte(value), Lease: w.lease}
}

// with returns ops and one more, and leaves the caller's array alone.
func with(ops []etcd.Op, op etcd.Op) []etcd.Op {
	return append(append(make([]etcd.Op, 0, len(ops)+1), ops...), op)
}

// applied is the result of the copy that resp answers.
func (w *write) applied(resp *etcd.TxnResponse) *Result {
	w.at, w.unknown = resp.Header.Revision, nil
	own := resp
	if len(w.req.If) > 0 && len(resp.Responses) == 1 && resp.Responses[0].Txn != nil {
		own = resp.Responses[0].Txn
		own.Header = resp.Header
	}
	if last := len(own.Responses) - 1; last >= 0 {
		own.Responses = own.Responses[:last:last] // without that of the writer's key
	}
	return &Result{Succeeded: own.Succeeded, Revision: resp.Header.Revision, Response: own}
}

// moved finds out what became of the write from an answer that shows that its key has moved.
func (w *write) moved(ctx context.Context, resp *etcd.TxnResponse) (*Result, error) {
	if len(resp.Responses) != 1 || resp.Responses[0].Get == nil {
		return nil, call.Join(w.unknown, fmt.Errorf("idempotent: the server answered one read with %d responses", len(resp.Responses)))
	}
	kv, found := resp.Responses[0].Get.First()
	switch {
	case found && w.says(kv) != nil:
		return w.recovered(kv), nil
	case w.unknown == nil, found && string(kv.Value) == w.void:
		w.at, w.unknown = kv.ModRevision, nil
		return nil, errMoved
	}
	return w.look(ctx)
}

// says returns what a value of the key says of the write; nil: nothing.
func (w *write) says(kv etcd.KeyValue) *Result {
	switch string(kv.Value) {
	case w.then:
		return &Result{Succeeded: true, Revision: kv.ModRevision, Recovered: true}
	case w.orElse:
		return &Result{Revision: kv.ModRevision, Recovered: true}
	}
	return nil
}

func (w *write) recovered(kv etcd.KeyValue) *Result {
	w.at, w.unknown = kv.ModRevision, nil
	return w.says(kv)
}

// look reads what came first after the compared revision: a write of unknown outcome may
// have been applied before its key was deleted, with its lease or by hand.
func (w *write) look(ctx context.Context) (*Result, error) {
	unknown := func(err error) (*Result, error) { return nil, call.Join(w.unknown, err) }
	history, err := w.client.Watch(ctx, etcd.WatchRequest{Key: w.key, Revision: w.at + 1})
	if err != nil {
		return unknown(err)
	}
	defer func() { _ = history.Close() }() // nothing is lost with it
	for {
		resp, err := history.Read(ctx)
		switch {
		case err != nil:
			return unknown(err)
		case len(resp.Events) == 0:
			continue
		}
		first := resp.Events[0]
		if first.Type == etcd.EventPut && w.says(first.KV) != nil {
			return w.recovered(first.KV), nil
		}
		w.unknown = nil
		return nil, errMoved
	}
}
