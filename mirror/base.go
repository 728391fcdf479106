package mirror

import (
	"context"
	"fmt"
	"iter"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// pagedReads is how often the source is read piece by piece, when a compaction interrupts
// that, before it is read by one request, which takes memory for all of it.
const pagedReads = 3

// found is the source's range at one revision.
type found struct {
	revision int64
	term     uint64
	pairs    iter.Seq2[etcd.KeyValue, error]
}

// readRange begins to read a range at the store's revision. whole: by one request.
func readRange(ctx context.Context, c *etcd.Client, req etcd.GetRequest, whole bool) (found, error) {
	if whole {
		resp, err := c.Get(ctx, req)
		if err != nil {
			return found{}, err
		}
		return found{resp.Header.Revision, resp.Header.RaftTerm, func(yield func(etcd.KeyValue, error) bool) {
			for i := range resp.KVs {
				if !yield(resp.KVs[i], nil) {
					return
				}
			}
		}}, nil
	}
	r, err := c.Range(ctx, req)
	if err != nil {
		return found{}, err
	}
	return found{r.Revision(), r.Header().RaftTerm, r.All()}, nil
}

// base makes the target what the source is at one revision. Both are read in the order of
// their keys, piece by piece, and only differences are written.
func (m *Mirror) base(ctx context.Context, g *guard) error {
	m.from.begin()
	src, err := readRange(ctx, m.source, etcd.GetRequest{Key: m.config.Prefix, Prefix: true}, m.compactions >= pagedReads)
	m.from.end()
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	next := g.checkpoint
	next.Complete, next.Revision, next.Done, next.Term, next.Keys = false, src.revision, 0, src.term, 0
	if err := g.put(ctx, nil, next); err != nil { // a later compaction of the target leaves this revision
		return err
	}
	m.to.begin()
	dst, err := readRange(ctx, m.target, etcd.GetRequest{Key: m.config.DestPrefix, Prefix: true}, false)
	m.to.end()
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	m.begun(src.revision)
	b := &copying{m: m, g: g, ctx: ctx}
	for d, err := range differences(m.pairs(src.pairs, m.from), m.others(dst.pairs, g.key, m.to)) {
		if err != nil {
			return err
		}
		if err := b.take(d); err != nil {
			return err
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	next = g.checkpoint
	next.Complete, next.Keys = true, b.keys
	return g.put(ctx, nil, next)
}

// pair is a pair as the target should have it, or has it.
type pair struct {
	key   string
	value []byte
	lease etcd.LeaseID
}

// pairs are the source's pairs with the target's keys.
func (m *Mirror) pairs(of iter.Seq2[etcd.KeyValue, error], w *wait) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		for kv, err := range w.over(of) {
			if err != nil {
				yield(pair{}, fmt.Errorf("source: %w", err))
				return
			}
			if !yield(pair{key: m.config.dest(kv.Key), value: kv.Value}, nil) {
				return
			}
		}
	}
}

// others are the target's pairs but for the checkpoint.
func (m *Mirror) others(of iter.Seq2[etcd.KeyValue, error], key string, w *wait) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		for kv, err := range w.over(of) {
			switch {
			case err != nil:
				yield(pair{}, fmt.Errorf("target: %w", err))
				return
			case kv.Key == key:
			case !yield(pair{kv.Key, kv.Value, kv.Lease}, nil):
				return
			}
		}
	}
}

// difference is one key of source or target.
type difference struct {
	want, has *pair // nil: there is none
}

func (d *difference) key() string {
	if d.want != nil {
		return d.want.key
	}
	return d.has.key
}

func (d *difference) equal() bool {
	return d.want != nil && d.has != nil && string(d.want.value) == string(d.has.value) && d.has.lease == 0
}

// differences walks both sides, in the order of their keys, and yields every key, those that
// are equal too. It yields an error last.
func differences(want, has iter.Seq2[pair, error]) iter.Seq2[difference, error] {
	return func(yield func(difference, error) bool) {
		next, stop := iter.Pull2(has)
		defer stop()
		old, err, more := next()
		for p, failed := range want {
			for more && err == nil && failed == nil && old.key < p.key {
				if !yield(difference{has: &pair{old.key, old.value, old.lease}}, nil) {
					return
				}
				old, err, more = next()
			}
			if failed = call.Join(failed, err); failed != nil {
				yield(difference{}, failed)
				return
			}
			d := difference{want: &p}
			if more && old.key == p.key {
				d.has = &pair{old.key, old.value, old.lease}
				old, err, more = next()
			}
			if !yield(d, nil) {
				return
			}
		}
		for ; more; old, err, more = next() {
			if !yield(difference{has: &pair{old.key, old.value, old.lease}}, err) || err != nil {
				return
			}
		}
	}
}

// copying is a base under way.
type copying struct {
	m    *Mirror
	g    *guard
	ctx  context.Context
	keys int64
	ops  []op
	size int
}

func (b *copying) take(d difference) error {
	if d.want != nil {
		b.keys++
	}
	if d.equal() || d.key() == b.g.key {
		return nil
	}
	o := op{key: d.key(), delete: d.want == nil}
	if !o.delete {
		o.value = d.want.value
	}
	if len(b.ops) >= b.m.limits.ops || len(b.ops) > 0 && b.size+o.size() > b.m.limits.bytes {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.ops = append(b.ops, o)
	b.size += o.size()
	return nil
}

// flush writes what was taken, in as many Txns as the target wants.
func (b *copying) flush() error {
	for len(b.ops) > 0 {
		r := revision{ops: b.ops}
		part := r.head(b.m.limits)
		split, err := b.m.write(b.ctx, b.g, part.ops, b.g.checkpoint)
		if err != nil {
			return err
		}
		if !split {
			b.ops = b.ops[part.part:]
		}
	}
	b.ops, b.size = nil, 0
	return nil
}
