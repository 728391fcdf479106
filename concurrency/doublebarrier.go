package concurrency

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// DoubleBarrier lets participants begin together and end together: a round begins when n
// have entered. It is safe for concurrent use.
type DoubleBarrier struct {
	q queue
	n int
}

// Round is one participation in a round of a [DoubleBarrier]. It is safe for concurrent
// use.
type Round struct {
	l    *Lock
	mark string // the value of all keys of the round
}

// DoubleBarrier returns the double barrier of a name for n participants, from 1 to 128,
// the number of operations that etcd takes in a Txn unless configured. All users of a name
// must give the same n. It does no I/O.
//
// Keys: <name>/<lease>[.<n>]. The layout is not that of client/v3's recipes.
func (co *Coordinator) DoubleBarrier(name string, n int) *DoubleBarrier {
	b := &DoubleBarrier{plainQueue(co, name, nil), n}
	b.q.kinds = nil // it reads the others itself
	return b
}

// Enter waits until n participants have entered, and returns their round. Participants
// beyond n wait for the next round. If ctx ends first, the others go on waiting: this
// participant counts until its key is deleted, which the client tries until it succeeds or the
// lease ends. See [Mutex.Lock] for what it survives and for errors.
//
// etcd: KV/Txn, KV/Range, Watch/Watch (since 3.0)
func (b *DoubleBarrier) Enter(ctx context.Context) (*Round, error) {
	if b.n < 1 || b.n > maxRound {
		return nil, invalid("%q: %d participants; it must be from 1 to %d", b.q.name, b.n, maxRound)
	}
	r := new(Round)
	var before *place // of the attempt before
	l, err := b.q.insist(ctx, func() (*Lock, error) {
		if err := before.withdraw(ctx); err != nil {
			return nil, err
		}
		p, err := b.q.reserve(ctx)
		if err != nil {
			return nil, err
		}
		before = p
		if err = p.enqueue(ctx, false); err == nil {
			r.mark, err = b.meet(ctx, p)
		}
		return p.hold(ctx, err)
	})
	if err != nil {
		return nil, err
	}
	r.l = l
	return r, nil
}

// withdraw deletes the key of a place whose session has ended, if it is still there: with it, a
// participant that queues again would be in a round twice.
func (p *place) withdraw(ctx context.Context) error {
	if p == nil || p.s.Err() == nil || p.q.co.isClosed() {
		return nil
	}
	for failures := 0; ; failures++ {
		err := p.withdrawOnce(call.WithCopies(ctx, failures))
		if err == nil || !retriable(err) || !pause(ctx, failures) {
			return err
		}
	}
}

func (p *place) withdrawOnce(ctx context.Context) error {
	switch {
	case p.created != 0:
		_, err := p.q.co.client.Txn(ctx, etcd.TxnRequest{If: []etcd.Compare{p.guard()}, Then: []etcd.Op{etcd.DeleteRequest{Key: p.key}}})
		return err
	case p.doubt: // a copy may put the key until the lease is gone
		_, err := p.q.co.client.Revoke(ctx, etcd.RevokeRequest{ID: p.lease})
		if errors.Is(err, etcd.ErrLeaseNotFound) {
			return nil
		}
		return err
	}
	return nil
}

// maxRound is the number of operations that etcd takes in a Txn unless configured.
const maxRound = 128

// A round is a fact in etcd: a participant that sees n waiting keys closes the round by one
// Txn, which compares that each of them is as it was and puts the round's mark into all. Keys
// with a mark do not count for the next round, and a participant passes when its own key has
// one. So all participants agree on the members of a round, whatever each of them has seen.

// meet waits until the key of the place is in a round, and returns the round's mark.
func (b *DoubleBarrier) meet(ctx context.Context, p *place) (mark string, err error) {
	ctx, cancel := joined(ctx, p.s.life)
	defer cancel()
	for failures := 0; ; {
		mark, err := b.watch(ctx, p, failures)
		switch {
		case err == nil && mark != "":
			return mark, nil
		case err == nil: // it is to read again
			failures = 0
		case !etcd.HistoryLost(err) && !retriable(err) || !pause(ctx, failures):
			return "", p.lost(err)
		default:
			failures++
		}
	}
}

// lobby is what a participant knows of the keys.
type lobby struct {
	b    *DoubleBarrier
	p    *place
	keys map[string]etcd.KeyValue
}

// closeAfter is how long those of a complete round leave it to the last of them to close it.
const closeAfter = 100 * time.Millisecond

// watch follows the keys. It returns the mark of the place's key, or "" when the keys must be
// read again. copies is how many requests that close the round may be under way.
func (b *DoubleBarrier) watch(ctx context.Context, p *place, copies int) (mark string, err error) {
	resp, err := b.q.co.client.Get(ctx, etcd.GetRequest{Key: b.q.root, Prefix: true})
	if err != nil {
		return "", err
	}
	v := lobby{b, p, make(map[string]etcd.KeyValue)}
	for i := range resp.KVs {
		v.put(&resp.KVs[i])
	}
	var w *etcd.Watcher // made when there is something to wait for
	for {
		mark, last, err := v.look()
		switch {
		case mark != "" || err != nil:
			return mark, err
		case last != nil && last.Key == p.key:
			return "", v.close(call.WithCopies(ctx, copies))
		case w == nil:
			w, err = b.q.co.client.Watch(ctx, etcd.WatchRequest{Key: b.q.root, Prefix: true, Revision: resp.Header.Revision + 1})
			if err != nil {
				return "", err
			}
			defer w.Close()
		}
		changed, err := v.next(ctx, w, last != nil)
		switch {
		case err != nil:
			return "", err
		case !changed:
			return "", v.close(call.WithCopies(ctx, copies))
		}
	}
}

// Context ends when the participant's session or key is lost: the others then count it as
// gone.
func (r *Round) Context() context.Context {
	if r.l == nil {
		return ended
	}
	return r.l.Context()
}

// Key is the participant's key.
func (r *Round) Key() string {
	if r.l == nil {
		return ""
	}
	return r.l.Key()
}

// Leave waits until the other participants of the round have left as well. A
// participant whose process or session was lost counts as gone.
//
// Errors: ctx's, ErrNotHeld after Leave. The participant has left in any case.
//
// etcd: KV/Txn, KV/Range, Watch/Watch (since 3.0)
func (r *Round) Leave(ctx context.Context) error {
	if r.l == nil {
		return new(Lock).Unlock(ctx)
	}
	if err := r.l.Unlock(ctx); err != nil && !errors.Is(err, ErrLockLost) {
		return err
	}
	q := r.l.p.q
	err := q.co.awaitDeletions(ctx, hubKey{key: q.root}, func(ctx context.Context) (outset, error) {
		resp, err := q.co.client.Get(ctx, etcd.GetRequest{Key: q.root, Prefix: true})
		if err != nil {
			return outset{}, err
		}
		o := outset{revision: resp.Header.Revision}
		for i := range resp.KVs {
			if kv := &resp.KVs[i]; string(kv.Value) == r.mark {
				o.before = append(o.before, blocker{kv.Key, 1})
			}
		}
		return o, nil
	})
	if err != nil {
		return q.failed(ctx, err)
	}
	return nil
}

func (v *lobby) put(kv *etcd.KeyValue) {
	if rest, ok := strings.CutPrefix(kv.Key, v.b.q.root); ok && !strings.Contains(rest, "/") {
		v.keys[kv.Key] = kv.Clone()
	}
}

// look returns the mark of the place's key. Without one, last is the last of those that make
// a round if the place is one of them.
func (v *lobby) look() (mark string, last *etcd.KeyValue, err error) {
	own, there := v.keys[v.p.key]
	switch {
	case !there || own.CreateRevision != v.p.created:
		return "", nil, errRequeue
	case len(own.Value) > 0:
		return string(own.Value), nil, nil
	}
	first := v.first()
	if first == nil || !slices.ContainsFunc(first, func(kv etcd.KeyValue) bool { return kv.Key == own.Key }) {
		return "", nil, nil
	}
	return "", &first[len(first)-1], nil
}

// first are the n that have waited longest, nil if fewer wait.
func (v *lobby) first() []etcd.KeyValue {
	var waiting []etcd.KeyValue
	for _, kv := range v.keys {
		if len(kv.Value) == 0 {
			waiting = append(waiting, kv)
		}
	}
	if len(waiting) < v.b.n {
		return nil
	}
	slices.SortFunc(waiting, func(a, b etcd.KeyValue) int {
		return cmp.Or(cmp.Compare(a.CreateRevision, b.CreateRevision), cmp.Compare(a.Key, b.Key))
	})
	return waiting[:v.b.n]
}

// next takes the next changes. It returns false when there was none for closeAfter, if it
// shall not wait longer.
func (v *lobby) next(ctx context.Context, w *etcd.Watcher, hurry bool) (changed bool, err error) {
	wait := ctx
	if hurry {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, closeAfter)
		defer cancel()
	}
	resp, err := w.Read(wait)
	switch {
	case err != nil && hurry && wait.Err() != nil && ctx.Err() == nil:
		return false, nil
	case err != nil:
		return false, err
	}
	for i := range resp.Events {
		if ev := &resp.Events[i]; ev.Type == etcd.EventDelete {
			delete(v.keys, ev.KV.Key)
		} else {
			v.put(&ev.KV)
		}
	}
	return true, nil
}

// close marks the first n as a round, if they are as they were: mod revisions do not come
// back, so no copy of the request that lands late can do it again. The caller reads the keys
// to learn what has come of it.
func (v *lobby) close(ctx context.Context) error {
	first := v.first()
	mark := []byte(strconv.FormatInt(first[len(first)-1].CreateRevision, 10))
	var req etcd.TxnRequest
	for _, kv := range first {
		req.If = append(req.If, etcd.CompareModRevision(kv.Key, etcd.Equal, kv.ModRevision))
		req.Then = append(req.Then, etcd.PutRequest{Key: kv.Key, Value: mark, IgnoreLease: true})
	}
	_, err := v.b.q.co.client.Txn(ctx, req)
	return err
}
