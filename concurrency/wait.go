package concurrency

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// outset is what the place has to wait for by what it has read. far: it watches a key in
// front of it only, and must read again when that is gone.
func (p *place) outset() (o outset, far bool, err error) {
	o = outset{revision: p.seen}
	list := p.list
	p.list = nil
	switch {
	case p.q.limit > 0:
		o.before, o.budget, err = p.q.weights(list)
		return o, false, err
	case len(list) > near:
		o.before = blockers(list[near-1 : near])
		return o, true, nil
	}
	o.before = blockers(list)
	return o, false, nil
}

// blockers are contenders of weight 1. Their keys are copied: each would keep the answer
// that it has come with.
func blockers(list []contender) []blocker {
	if len(list) == 0 {
		return nil
	}
	var keys strings.Builder
	size := 0
	for i := range list {
		size += len(list[i].key)
	}
	keys.Grow(size)
	for i := range list {
		keys.WriteString(list[i].key)
	}
	rest, before := keys.String(), make([]blocker, len(list))
	for i := range list {
		n := len(list[i].key)
		before[i], rest = blocker{rest[:n], 1}, rest[n:]
	}
	return before
}

// weights is what a semaphore's contender waits for: until what those before it have leaves
// room for it. The first in the queue says what the limit is; others that say something else
// are about to give up.
func (q *queue) weights(list []contender) (before []blocker, budget int64, err error) {
	before = blockers(list)
	for i := range list { // from the newest on
		weight, limit, ok := parseWeight(list[i].value)
		if i == len(list)-1 && limit != q.limit {
			return nil, 0, fmt.Errorf("%w: the limit is %d here, and %q in the key %q", ErrConfigMismatch, q.limit, list[i].value, list[i].key)
		}
		if !ok {
			weight = q.limit
		}
		before[i].weight = min(weight, q.limit)
	}
	return before, q.limit - q.weight, nil
}

// weightValue is the value of a semaphore's key.
func weightValue(weight, limit int64) []byte {
	return []byte(strconv.FormatInt(weight, 10) + "/" + strconv.FormatInt(limit, 10))
}

func parseWeight(value []byte) (weight, limit int64, ok bool) {
	a, b, _ := strings.Cut(string(value), "/")
	weight, err1 := strconv.ParseInt(a, 10, 64)
	limit, err2 := strconv.ParseInt(b, 10, 64)
	return weight, limit, err1 == nil && err2 == nil && 0 < weight && weight <= limit
}

func (o outset) clear() bool {
	var sum int64
	for _, b := range o.before {
		sum += b.weight
	}
	return sum <= o.budget
}

// wait returns when the place holds, as shown by the keys that it has read and by the hub
// since.
func (p *place) wait(ctx context.Context) error {
	o, far, err := p.outset()
	if err != nil || o.clear() {
		return err
	}
	for {
		st, err := p.await(ctx, o, far)
		switch {
		case err != nil:
			return p.lost(err)
		case st == standsEnded:
			return p.lost(p.s.Err())
		case st == standsClear && !far:
			return nil
		case st == standsGone:
			return errRequeue
		}
		if err := p.readAgain(ctx); err != nil {
			return p.lost(err)
		}
		if o, far, err = p.outset(); err != nil || o.clear() {
			return err
		}
	}
}

// readAgain reads the keys again, and goes on for passing errors until the session ends.
func (p *place) readAgain(ctx context.Context) error {
	ctx, cancel := joined(ctx, p.s.life)
	defer cancel()
	p.again()
	for failures := 0; ; failures++ {
		err := p.read(ctx)
		if err == nil || !etcd.Temporary(err) || !pause(ctx, failures) {
			return err
		}
	}
}

// await waits at the hub that o is about.
func (p *place) await(ctx context.Context, o outset, far bool) (standing, error) {
	m := p.m
	if far {
		p.m.leave(true)
		p.m = nil
		m = p.q.co.hubs.come(hubKey{key: o.before[0].key, exact: true}, p.key, p.s)
		defer m.leave(true)
	}
	if !m.join(o) {
		return standsStale, nil
	}
	st, err := m.await(ctx)
	if st == standsFailed {
		err = m.failure()
	}
	return st, err
}

// again prepares the place for reading the keys again.
func (p *place) again() {
	if p.m == nil {
		p.m = p.q.co.hubs.come(hubKey{key: p.q.root}, p.key, p.s)
		return
	}
	p.m.again()
}

// drop gives up a place because of err.
func (p *place) drop(err error) {
	if p.m != nil {
		p.m.leave(false)
	}
	switch {
	case errors.Is(err, errSlotTaken): // the slot stays busy
	case p.created == 0 && !p.doubt:
		p.free()
	case p.s.Err() == nil || p.lease == 0:
		p.q.co.releaser.add(&release{name: p.q.name, lasting: p.lease == 0, do: func(ctx context.Context) (bool, error) {
			_, done, err := p.release(ctx)
			return done, err
		}})
	}
}

// release makes an attempt to delete the key. done: it is gone, and the slot is free, or it
// goes with the lease. held: it was there until the release, as far as can be known. A lease
// that the server has ended may have taken it before, which the session learns later.
func (p *place) release(ctx context.Context) (held, done bool, err error) {
	if ended := p.s.Err(); ended != nil && p.lease != 0 {
		return !errors.Is(ended, etcd.ErrLeaseExpired), true, nil
	}
	if p.created == 0 {
		if err := p.find(ctx); err != nil || p.created == 0 {
			return false, err == nil, err
		}
	}
	resp, err := p.q.co.client.Txn(call.WithCopies(ctx, p.deleting), etcd.TxnRequest{If: []etcd.Compare{p.guard()}, Then: []etcd.Op{etcd.DeleteRequest{Key: p.key}}})
	if err != nil {
		if etcd.MaybeApplied(err) {
			p.deleting++
		}
		return false, false, err
	}
	p.free()
	byClose := errors.Is(p.s.Err(), ErrClosed) // Close of the coordinator may have been faster
	return resp.Succeeded || p.deleting > 0 || byClose, true, nil
}

// find looks for the key that a request of unknown outcome has put, once none can put it any
// more. If there is none, the slot is free.
func (p *place) find(ctx context.Context) error {
	if err := p.settled(ctx); err != nil {
		return err
	}
	resp, err := p.q.co.client.Get(ctx, etcd.GetRequest{Key: p.key})
	if err != nil {
		return err
	}
	if kv, ok := resp.First(); ok && p.mine(kv) {
		p.created = kv.CreateRevision
		return nil
	}
	p.free()
	return nil
}

// settled returns when no request can put the key any more.
func (p *place) settled(ctx context.Context) error {
	err := p.s.fence(ctx, p.epoch)
	if err == nil || p.s.Err() == nil {
		return err
	}
	// Only a key without a lease comes here. Its requests compare the session's key, which
	// goes with the session's lease.
	resp, err := p.q.co.client.Get(ctx, etcd.GetRequest{Key: p.s.key, CountOnly: true})
	if err == nil && resp.Count > 0 {
		err = errors.New("the lease of the session is still there")
	}
	return err
}

// free returns the slot of a key that is gone, and to which no request under way can bring
// it back.
func (p *place) free() {
	if p.slot >= 0 {
		p.s.give(p.q.prefix, p.slot)
	}
}

// guard is the condition that the place is still there.
func (p *place) guard() etcd.Compare {
	return etcd.CompareCreateRevision(p.key, etcd.Equal, p.created)
}
