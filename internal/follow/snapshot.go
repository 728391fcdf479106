package follow

import (
	"context"
	"errors"
	"iter"

	"silly.store/etcd"
)

const (
	// earlyWatch is from how many keys on the watch is opened before they are read, so
	// that the history after the snapshot is not compacted while that is under way.
	earlyWatch = 10_000
	// pagedReads is how often a range is read page by page that is compacted meanwhile.
	pagedReads = 3
)

// read reads the range, and returns how it differs from the state.
func (f *Follower) read(ctx context.Context) (*Step, error) {
	first := f.epoch == 0
	if !first {
		done, err := f.gate.pass(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	found, err := f.rangeNow(ctx)
	if err != nil {
		return nil, err
	}
	if found.count > earlyWatch {
		if err := f.watchFrom(ctx, found.header.Revision+1); err != nil {
			return nil, err
		}
	}
	changes, err := f.changesTo(found)
	if err != nil {
		f.unwatch()
		return nil, err
	}
	step := &Step{Kind: Resynced, Revision: found.header.Revision, Changes: changes}
	if f.fellBack(found.header) || f.reset || first {
		f.epoch++
	}
	if first {
		step.Kind = Snapshot
	}
	f.reset, f.compactions, f.audit = false, 0, audit{}
	f.revision, f.term = found.header.Revision, found.header.RaftTerm
	f.phase = unwatched
	return f.handOn(step), nil
}

// changesTo are the changes that lead to what was found; none if Config.Pieces takes them.
func (f *Follower) changesTo(found found) (changes []Change, err error) {
	take := f.config.Pieces
	if take == nil {
		take = func(some []Change) error {
			changes = append(changes, some...)
			return nil
		}
	}
	err = differences(f.state, found.pairs, f.config.KeysOnly, take)
	return changes, err
}

// found is a range at the revision of its header.
type found struct {
	header etcd.ResponseHeader
	count  int64
	pairs  iter.Seq2[etcd.KeyValue, error]
}

// rangeNow begins to read the range at the store's revision.
func (f *Follower) rangeNow(ctx context.Context) (found, error) {
	req := f.scope()
	req.KeysOnly = f.config.KeysOnly
	if f.compactions >= pagedReads {
		resp, err := f.c.Get(ctx, req)
		if err != nil {
			return found{}, err
		}
		return found{resp.Header, resp.Count, each(resp.KVs)}, nil
	}
	r, err := f.c.Range(ctx, req)
	if err != nil {
		return found{}, err
	}
	return found{r.Header(), r.Count(), r.All()}, nil
}

func each(kvs []etcd.KeyValue) iter.Seq2[etcd.KeyValue, error] {
	return func(yield func(etcd.KeyValue, error) bool) {
		for i := range kvs {
			if !yield(kvs[i], nil) {
				return
			}
		}
	}
}

// scope is the range as a read names it.
func (f *Follower) scope() etcd.GetRequest {
	return etcd.GetRequest{Key: f.config.Key, Prefix: f.config.Prefix, FromKey: f.config.FromKey, RangeEnd: f.config.RangeEnd}
}

// pieceSize is how many changes are taken at a time, and sometimes one more.
const pieceSize = 256

// differences takes the changes that lead from the state to the pairs that were found, some
// at a time. Both are in ascending order.
func differences(state State, pairs iter.Seq2[etcd.KeyValue, error], keysOnly bool, take func([]Change) error) error {
	changes := make([]Change, 0, pieceSize+1)
	next, stop := iter.Pull(state.All())
	defer stop()
	old, more := next()
	for kv, err := range pairs {
		if err == nil && len(changes) >= pieceSize {
			err = take(changes)
			changes = changes[:0]
		}
		if err != nil {
			return err
		}
		for more && old.Key < kv.Key {
			changes = append(changes, Change{Old: old})
			old, more = next()
		}
		switch {
		case !more || old.Key != kv.Key:
			changes = append(changes, Change{New: owned(&kv, nil)})
			continue
		case !same(old, &kv, keysOnly):
			changes = appendChange(changes, old, owned(&kv, old))
		}
		old, more = next()
	}
	for ; more; old, more = next() {
		changes = append(changes, Change{Old: old})
	}
	return take(changes)
}

// same reports whether two pairs of a key are one and the same. Equal revisions do not
// prove it: they may be of two histories. A member that is asked for keys only may leave
// the lease out, so that is not compared then.
func same(a, b *etcd.KeyValue, keysOnly bool) bool {
	return a.ModRevision == b.ModRevision && a.CreateRevision == b.CreateRevision && a.Version == b.Version &&
		(keysOnly || a.Lease == b.Lease && string(a.Value) == string(b.Value))
}

// fellBack reports whether a linearizable answer is of an older history than the follower
// has seen.
func (f *Follower) fellBack(h etcd.ResponseHeader) bool {
	return h.Revision < f.revision || h.RaftTerm < f.term
}

// lose notes that history was lost, and has the range read again. It returns nil, or err
// if that is of another kind.
func (f *Follower) lose(err error) error {
	if !etcd.HistoryLost(err) {
		return err
	}
	f.unwatch()
	if f.config.From != nil {
		return err
	}
	f.phase = unread
	f.reset = f.reset || errors.Is(err, etcd.ErrHistoryReset)
	if errors.Is(err, etcd.ErrCompacted) {
		f.compactions++
	}
	return nil
}
