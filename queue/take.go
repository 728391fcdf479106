package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
)

// pauses spaces requests that fail.
var pauses = backoff.Backoff{First: 20 * time.Millisecond, Cap: time.Second}

// pause waits until another attempt is due; false when ctx ends before.
func pause(ctx context.Context, failures int) bool {
	return call.Sleep(ctx, pauses.Jittered(failures))
}

// retriable reports whether the same request may succeed later, when it is safe to repeat.
func retriable(err error) bool { return etcd.Temporary(err) || etcd.MaybeApplied(err) }

// Take waits for a free item and claims it: no other worker gets it as long as the claim
// lives. ctx bounds the wait, not the claim. When ctx ends first, Take returns at once,
// and an item that a request in flight may have claimed is given back.
//
// Errors: ctx's, ErrClosed, concurrency.ErrClosed, and those of [etcd.Client.Grant] and
// [etcd.Client.Txn].
//
// etcd: KV/Txn, KV/Range (since 3.0), Watch/Watch, Lease/LeaseGrant
func (q *Queue) Take(ctx context.Context) (*Claim, error) {
	if err := q.usable(ctx); err != nil {
		return nil, err
	}
	for {
		it, err := q.view.take(ctx)
		if err != nil {
			return nil, q.failed("Take", "", err)
		}
		cl, err := q.takeItem(ctx, &it)
		switch {
		case err != nil:
			return nil, q.failed("Take", it.id, err)
		case cl != nil:
			q.counters.taken.Add(1)
			return cl, nil
		}
	}
}

// takeItem claims an item that the view has given. It returns neither a claim nor an error
// when another one is to be taken.
func (q *Queue) takeItem(ctx context.Context, it *item) (*Claim, error) {
	if !q.enter() {
		return nil, ErrClosed
	}
	defer q.leave()
	if q.config.MaxAttempts > 0 && it.attempts >= q.config.MaxAttempts {
		return nil, q.bury(ctx, it)
	}
	s, err := q.co.Session(ctx)
	if err != nil {
		q.view.putBack(it)
		return nil, err
	}
	return q.claim(ctx, s, it)
}

// attempt is one attempt to claim an item, made by copies of one request. Each compares the
// mod revision of the item's state and puts it, so that only one copy can be applied, and
// none after somebody else has claimed the item. The nonce tells whose a claim is.
type attempt struct {
	q     *Queue
	s     *concurrency.Session
	it    *item
	nonce []byte
	doubt bool // a copy may have been applied, or may yet be
}

func (a *attempt) key() string { return a.q.root + claimed + a.it.id }

// claim claims an item. It returns neither a claim nor an error when somebody else was
// faster, or the session is lost.
func (q *Queue) claim(ctx context.Context, s *concurrency.Session, it *item) (*Claim, error) {
	a := &attempt{q: q, s: s, it: it, nonce: []byte(rand.Text())}
	for failures := 0; ; failures++ {
		resp, err := q.client.Txn(call.WithSafeCopies(ctx, failures), a.request())
		switch {
		case err == nil:
			return a.settle(ctx, resp)
		case errors.Is(err, etcd.ErrLeaseNotFound):
			q.view.putBack(it)
			return nil, a.sessionLost(ctx)
		}
		a.doubt = a.doubt || etcd.MaybeApplied(err)
		if retriable(err) && pause(ctx, failures) {
			continue
		}
		a.giveUp()
		return nil, err
	}
}

func (a *attempt) request() etcd.TxnRequest {
	return etcd.TxnRequest{
		If: []etcd.Compare{
			etcd.CompareModRevision(a.it.key, etcd.Equal, a.it.mod),
			etcd.Missing(a.key()),
		},
		Then: []etcd.Op{
			etcd.PutRequest{Key: a.key(), Value: a.nonce, Lease: a.s.Lease().ID},
			etcd.PutRequest{Key: a.it.key, Value: state(a.it.attempts + 1)},
			etcd.GetRequest{Key: a.q.root + values + a.it.id},
		},
		Else: []etcd.Op{etcd.GetRequest{Key: a.key()}},
	}
}

// settle takes the answer to a copy, which is final: the item's state has moved.
func (a *attempt) settle(ctx context.Context, resp *etcd.TxnResponse) (*Claim, error) {
	token := resp.Header.Revision
	var value *etcd.GetResponse
	if resp.Succeeded {
		value = resp.Responses[2].Get
	} else {
		kv, there := resp.Responses[0].Get.First()
		if !there || string(kv.Value) != string(a.nonce) {
			a.q.counters.conflicts.Add(1)
			return nil, nil
		}
		token = kv.CreateRevision // an earlier copy has claimed it
		var err error
		if value, err = a.q.client.Get(ctx, etcd.GetRequest{Key: a.q.root + values + a.it.id}); err != nil {
			a.giveUp()
			return nil, err
		}
	}
	a.doubt = true // it is claimed, and is to be given back unless it is used
	kv, there := value.First()
	if !there {
		a.q.background(a.s, func(ctx context.Context) error { return a.q.sweep(ctx, a, token) }, nil)
		return nil, nil
	}
	cl := newClaim(a, token, kv.Clone()) //nolint:contextcheck // a claim outlives the call that made it
	if cl == nil {
		a.giveUp()
	}
	return cl, nil
}

// giveUp sees that the item is free, also if a copy of the request is applied later.
func (a *attempt) giveUp() {
	if !a.doubt {
		a.q.view.putBack(a.it)
		return
	}
	// If the session ends before that is known, a claim goes with the lease. Without one,
	// nothing shows that the item is free.
	a.q.background(a.s, a.undo, func() { a.q.view.putBack(a.it) })
}

// undo puts the item's state, unless a copy has claimed it: from that answer on none can.
// Where one has, the claim is given back.
func (a *attempt) undo(ctx context.Context) error {
	resp, err := a.q.client.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.CompareModRevision(a.it.key, etcd.Equal, a.it.mod)},
		Then: []etcd.Op{etcd.PutRequest{Key: a.it.key, Value: state(a.it.attempts)}},
		Else: []etcd.Op{etcd.GetRequest{Key: a.key()}},
	})
	if err != nil || resp.Succeeded {
		return err
	}
	kv, there := resp.Responses[0].Get.First()
	if !there || string(kv.Value) != string(a.nonce) {
		return nil
	}
	return a.q.giveBack(ctx, a.it, kv.CreateRevision, a.it.attempts)
}

// giveBack deletes a claim, if it is there, and leaves the item where it was.
func (q *Queue) giveBack(ctx context.Context, it *item, token int64, attempts int) error {
	key := q.root + claimed + it.id
	resp, err := q.client.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.CompareCreateRevision(key, etcd.Equal, token)},
		Then: []etcd.Op{etcd.DeleteRequest{Key: key}, etcd.PutRequest{Key: it.key, Value: state(attempts)}},
	})
	if err == nil && resp.Succeeded {
		q.counters.givenBack.Add(1)
	}
	return err
}

// sweep removes a state key without a value: somebody has deleted that by hand.
func (q *Queue) sweep(ctx context.Context, a *attempt, token int64) error {
	_, err := q.client.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.CompareCreateRevision(a.key(), etcd.Equal, token)},
		Then: []etcd.Op{etcd.DeleteRequest{Key: a.key()}, etcd.DeleteRequest{Key: a.it.key}},
	})
	return err
}

// sessionLost has the session end whose lease etcd does not know: the client learns of it
// from a renewal.
func (a *attempt) sessionLost(ctx context.Context) error {
	for failures := 0; a.s.Err() == nil; failures++ {
		_, err := a.q.client.KeepAliveOnce(ctx, etcd.KeepAliveRequest{ID: a.s.Lease().ID})
		if err != nil && !errors.Is(err, etcd.ErrLeaseNotFound) && !retriable(err) || !pause(ctx, failures) {
			return call.Join(err, context.Cause(ctx))
		}
	}
	return nil
}
