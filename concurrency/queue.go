package concurrency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/duration"
)

// A queue is all contenders for one name: keys in the order of their create revisions, and
// of their names where one Txn has created several. The first one holds the lock; the
// rules of each recipe say which others may.
type queue struct {
	co   *Coordinator
	name string // as the user has written it, for errors

	root   string   // all keys of the name begin with it
	prefix string   // keys of contenders like this one do
	kinds  []string // prefixes of the contenders that may be in its way; nil: they are not read
	value  []byte

	// A semaphore's: its weight and the limit. Both 0 otherwise: it waits until no
	// contender is before it.
	weight, limit int64

	linger time.Duration // a mutex's MutexConfig.Linger
}

// near is how many contenders may be before one for it to watch all of them. One that is
// farther behind watches only the key that is so many places before it, so that a release
// wakes no more than these.
const near = 64

// place is one contender's place in a queue, from before its key is put until it is
// certainly gone.
type place struct {
	q       *queue
	s       *Session
	slot    int // negative: the key is not one of the session's slots
	key     string
	lease   etcd.LeaseID // that the key is put on; 0: none
	value   []byte
	created int64   // the key's create revision; 0: it is not known to be there
	m       *member // of the hub of the queue's root; nil while it watches another
	seen    int64   // the revision at which it has last read the keys
	list    []contender

	// doubt: a request that puts the key has had an unknown outcome. The newest that may
	// still be applied compared the epoch.
	doubt bool
	epoch int64
	// deleting is how many requests that delete the key have had an unknown outcome.
	deleting int
}

// contender is a key of a queue.
type contender struct {
	key     string
	created int64
	value   []byte
}

var (
	// errRequeue: the place was lost, and another one can be taken.
	errRequeue = errors.New("the place in the queue was lost")
	// errSlotTaken: somebody else uses the lease, and has this key.
	errSlotTaken = errors.New("the key is somebody else's")
)

// acquire queues and waits until the place holds. With try it does not wait.
func (q *queue) acquire(ctx context.Context, try bool) (*Lock, error) {
	return q.insist(ctx, func() (*Lock, error) { return q.attempt(ctx, try) })
}

// insist makes attempts until one holds. It goes on when a place was lost.
func (q *queue) insist(ctx context.Context, attempt func() (*Lock, error)) (*Lock, error) {
	if err := q.check(ctx); err != nil {
		return nil, err
	}
	if q.linger > 0 && ctx.Err() == nil {
		if l := q.co.lingers.take(q); l != nil {
			return l, nil
		}
	}
	q.co.counters.waiting.Add(1)
	defer q.co.counters.waiting.Add(-1)
	for requeued, failures := 0, 0; ; {
		l, err := attempt()
		switch {
		case err == nil:
			if l.requeued = requeued; q.linger > 0 {
				q.co.lingers.attend(l) //nolint:contextcheck // the key outlives the call
			}
			return l, nil
		case errors.Is(err, errSlotTaken):
		case errors.Is(err, errRequeue):
			requeued++
			q.co.counters.requeued.Add(1)
		case requeued > 0 && etcd.Temporary(err) && pause(ctx, failures):
			failures++ // it has waited before, and goes on
		default:
			return nil, q.failed(ctx, err)
		}
		if ended := q.ended(ctx); ended != nil {
			return nil, ended
		}
	}
}

// check refuses what cannot be meant.
func (q *queue) check(ctx context.Context) error {
	switch {
	case ctx == nil:
		return errNilContext
	case q.name == "":
		return invalid("the name is empty")
	case q.linger < 0 || q.linger > q.co.config.TTL:
		return invalid("%q: Linger is %v; it must not be negative, nor above Config.TTL, which is %v", q.name, q.linger, q.co.config.TTL)
	}
	if err := duration.Check("Linger", q.linger); err != nil {
		return invalid("%q: %v", q.name, err)
	}
	return nil
}

// attempt takes one place and waits until it holds.
func (q *queue) attempt(ctx context.Context, try bool) (*Lock, error) {
	p, err := q.reserve(ctx)
	if err != nil {
		return nil, err
	}
	err = p.enqueue(ctx, try)
	if err == nil && !try {
		err = p.wait(ctx)
	}
	return p.hold(ctx, err)
}

// hold makes the lock of a place that holds, unless err says that it does not.
func (p *place) hold(ctx context.Context, err error) (*Lock, error) {
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // both at once
	}
	if err == nil {
		if l := newLock(p); l != nil {
			return l, nil
		}
		err = errRequeue
	}
	p.drop(err)
	return nil, err
}

// ended is the error when the call cannot go on.
func (q *queue) ended(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return q.failed(ctx, context.Cause(ctx))
	case q.co.isClosed():
		return q.failed(ctx, ErrClosed)
	}
	return nil
}

// failed names the lock in err. errors.Is finds the error of ctx when that has ended, also
// where its cause is another one.
func (q *queue) failed(ctx context.Context, err error) error {
	if locked := (*LockedError)(nil); errors.As(err, &locked) {
		return err
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("concurrency: %q: %w: %w", q.name, ended, err)
	}
	return q.named(err)
}

// named names the lock in err.
func (q *queue) named(err error) error { return fmt.Errorf("concurrency: %q: %w", q.name, err) }

// reserve makes a place whose key is not put yet.
func (q *queue) reserve(ctx context.Context) (*place, error) {
	var slot int
	s, err := q.co.session(ctx, func(s *Session) (ok bool) {
		slot, ok = s.take(q.prefix)
		return ok
	})
	if err != nil {
		return nil, err
	}
	p := &place{q: q, s: s, slot: slot, key: s.slotKey(q.prefix, slot), lease: s.lease.ID, value: q.value}
	p.m = q.co.hubs.come(hubKey{key: q.root}, p.key, p.s)
	return p, nil
}

// enqueue puts the key. It sends the request again until its outcome is known.
func (p *place) enqueue(ctx context.Context, try bool) error {
	for copies := 0; ; {
		if err := p.s.Err(); err != nil {
			return p.lost(err)
		}
		epoch := p.s.currentEpoch()
		resp, err := p.q.co.client.Txn(call.WithCopies(ctx, copies), p.request(epoch, try))
		switch {
		case err == nil:
			again, err := p.settle(ctx, epoch, resp, try)
			if !again {
				return err
			}
		case errors.Is(err, etcd.ErrLeaseNotFound):
			p.s.lose(err)
			return errRequeue
		case !etcd.MaybeApplied(err):
			return p.s.explain(err)
		default:
			p.doubt, p.epoch = true, epoch
			copies++
			if ctx.Err() != nil {
				return err
			}
			if err := p.s.fence(ctx, epoch); err != nil {
				return p.lost(err)
			}
		}
	}
}

// lost turns the end of the session into what the caller has to do.
func (p *place) lost(err error) error {
	if p.s.Err() != nil && !p.q.co.isClosed() {
		return errRequeue
	}
	return err
}

// putRequest is what a request to put a key consists of, in one allocation.
type putRequest struct {
	compares  [3]etcd.Compare
	put       etcd.PutRequest
	own       etcd.GetRequest // the key, if the compares fail
	session   etcd.GetRequest // and that of the session
	others    etcd.GetRequest // contenders, in either branch
	then, els [3]etcd.Op
}

// request puts the key unless it is there, or with try unless any is there.
func (p *place) request(epoch int64, try bool) etcd.TxnRequest {
	r := &putRequest{
		put:     etcd.PutRequest{Key: p.key, Value: p.value, Lease: p.lease},
		own:     etcd.GetRequest{Key: p.key},
		session: etcd.GetRequest{Key: p.s.key},
	}
	req := etcd.TxnRequest{
		If:   append(r.compares[:0], etcd.Missing(p.key), p.s.inEpoch(epoch)),
		Then: append(r.then[:0], &r.put),
		Else: append(r.els[:0], &r.own, &r.session),
	}
	switch {
	case try:
		empty := etcd.Missing(p.q.root)
		empty.Prefix = true
		r.others = p.q.first(firstFew)
		req.If = append(req.If, empty)
		req.Else = append(req.Else, &r.others)
	case p.q.kinds != nil:
		r.others = p.q.newest(near+2, 0)
		req.Then = append(req.Then, &r.others)
	}
	return req
}

// firstFew is how many keys a search for the holder reads at first: some may be of names
// below this one.
const firstFew = 8

// first reads the keys from the oldest on.
func (q *queue) first(limit int64) etcd.GetRequest {
	return etcd.GetRequest{Key: q.root, Prefix: true, SortTarget: etcd.SortByCreateRevision, SortOrder: etcd.Ascend, Limit: limit}
}

// newest reads the keys that may be in the way of one created at the revision (0: now), from
// the newest on. A semaphore needs all, with their values.
func (q *queue) newest(limit, created int64) etcd.GetRequest {
	req := etcd.GetRequest{
		Key: q.blocks(), Prefix: true, SortTarget: etcd.SortByCreateRevision, SortOrder: etcd.Descend,
		MaxCreateRevision: created, Limit: limit, KeysOnly: true,
	}
	if q.limit > 0 {
		req.Limit, req.KeysOnly = 0, false
	}
	return req
}

// settle takes the answer to the request. again: nothing was put, but may be.
func (p *place) settle(ctx context.Context, epoch int64, resp *etcd.TxnResponse, try bool) (again bool, err error) {
	if resp.Succeeded {
		p.created, p.seen = resp.Header.Revision, resp.Header.Revision
		if try || p.q.kinds == nil {
			return false, nil
		}
		return false, p.take(ctx, resp.Responses[1].Get)
	}
	own, there := resp.Responses[0].Get.First()
	if there && p.doubt && p.mine(own) { // an earlier copy has put it
		p.created, p.seen = own.CreateRevision, resp.Header.Revision
		if try || p.q.kinds == nil {
			return false, nil
		}
		return false, p.read(ctx)
	}
	key, _ := resp.Responses[1].Get.First()
	switch {
	case there:
		return false, errSlotTaken
	case key.ModRevision != epoch:
		p.s.moved(epoch, resp.Responses[1].Get)
		return true, nil
	case try:
		return false, p.refused(ctx, resp.Responses[2].Get)
	}
	return false, errRequeue // cannot be
}

// mine reports whether one of the place's own requests has put the key, when some had an
// unknown outcome.
func (p *place) mine(kv etcd.KeyValue) bool {
	if p.slot < 0 {
		return bytes.Equal(kv.Value, p.value)
	}
	return kv.Lease == p.lease
}

// refused is the answer of a try that has found keys. Those may be of names below this one;
// then the place queues, and gives up when it is not the first.
func (p *place) refused(ctx context.Context, keys *etcd.GetResponse) error {
	h := p.q.holder(keys.KVs)
	if h == nil && keys.More {
		var err error
		if h, _, err = p.q.findHolder(ctx); err != nil {
			return err
		}
	}
	if h != nil {
		return &LockedError{Name: p.q.name, Holder: *h}
	}
	if err := p.enqueue(ctx, false); err != nil {
		return err
	}
	if len(p.list) > 0 {
		return &LockedError{Name: p.q.name}
	}
	return nil
}

// holder finds the first contender among keys from the oldest on.
func (q *queue) holder(kvs []etcd.KeyValue) *Holder {
	for i := range kvs {
		if q.contends(kvs[i].Key) {
			kv := kvs[i].Clone()
			return &Holder{Key: kv.Key, Token: kv.CreateRevision, Value: kv.Value, Lease: kv.Lease}
		}
	}
	return nil
}

// findHolder reads the first contender, nil if there is none, and at which revision that is
// so.
func (q *queue) findHolder(ctx context.Context) (*Holder, int64, error) {
	for limit := int64(firstFew); ; limit = 0 {
		resp, err := q.co.client.Get(ctx, q.first(limit))
		if err != nil {
			return nil, 0, err
		}
		if h := q.holder(resp.KVs); h != nil || !resp.More {
			return h, resp.Header.Revision, nil
		}
	}
}

// contends reports whether a key is that of a contender in the way, and not of a name below
// this one.
func (q *queue) contends(key string) bool {
	for _, kind := range q.kinds {
		if rest, ok := strings.CutPrefix(key, kind); ok && !strings.Contains(rest, "/") {
			return true
		}
	}
	return false
}

// blocks is the prefix of all keys that may be in the way.
func (q *queue) blocks() string {
	if len(q.kinds) == 1 {
		return q.kinds[0]
	}
	return q.root
}

// read reads the place's own key and the keys before it.
func (p *place) read(ctx context.Context) error { return p.readUpTo(ctx, near+2) }

func (p *place) readUpTo(ctx context.Context, limit int64) error {
	resp, err := p.q.co.client.Txn(ctx, etcd.TxnRequest{
		Then: []etcd.Op{etcd.GetRequest{Key: p.key, KeysOnly: true}, p.q.newest(limit, p.created)},
	})
	if err != nil {
		return err
	}
	if own, _ := resp.Responses[0].Get.First(); own.CreateRevision != p.created {
		return errRequeue
	}
	p.seen = resp.Header.Revision
	return p.take(ctx, resp.Responses[1].Get)
}

// take keeps the contenders before the place.
func (p *place) take(ctx context.Context, keys *etcd.GetResponse) error {
	p.list = p.list[:0]
	for i := range keys.KVs {
		kv := &keys.KVs[i]
		if kv.Key == p.key || !p.q.contends(kv.Key) || !p.after(kv) {
			continue
		}
		p.list = append(p.list, contender{kv.Key, kv.CreateRevision, kv.Value})
	}
	if !keys.More || len(p.list) > near {
		return nil
	}
	return p.readUpTo(ctx, 0) // keys of other names have taken the room
}

// after reports whether the place comes after the key in the queue.
func (p *place) after(kv *etcd.KeyValue) bool {
	return kv.CreateRevision < p.created || kv.CreateRevision == p.created && kv.Key < p.key
}
