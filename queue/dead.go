package queue

import (
	"context"
	"iter"
	"strings"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// DeadLetter is an item that was given to Config.MaxAttempts workers, none of whom
// acknowledged it.
type DeadLetter struct {
	// ID, Value and Priority are the item's. Value belongs to the caller.
	ID       string
	Value    []byte
	Priority int
	// Attempts is how often the item was given to a worker.
	Attempts int
}

// burial is what makes a dead letter of an item. Its value stays where it is.
func (q *Queue) burial(it *item) []etcd.Op {
	return []etcd.Op{
		etcd.DeleteRequest{Key: it.key},
		etcd.PutRequest{Key: q.root + dead + it.id, Value: deadState(it.attempts, it.priority)},
	}
}

// bury makes a dead letter of an item whose workers have all crashed. It is nil also when
// somebody else was faster.
func (q *Queue) bury(ctx context.Context, it *item) error {
	for failures := 0; ; failures++ {
		resp, err := q.client.Txn(call.WithSafeCopies(ctx, failures), etcd.TxnRequest{
			If: []etcd.Compare{
				etcd.CompareModRevision(it.key, etcd.Equal, it.mod),
				etcd.Missing(q.root + claimed + it.id),
			},
			Then: q.burial(it),
		})
		switch {
		case err == nil && resp.Succeeded:
			q.counters.buried.Add(1)
			return nil
		case err == nil:
			return nil
		case !retriable(err) || !pause(ctx, failures):
			q.view.putBack(it)
			return err
		}
	}
}

// Dead yields the dead letters, ordered by ID. The error is yielded last.
//
// etcd: KV/Range (since 3.0)
func (q *Queue) Dead(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		if err := q.usable(ctx); err != nil {
			yield(DeadLetter{}, err)
			return
		}
		prefix := q.root + dead
		r, err := q.client.Range(ctx, etcd.GetRequest{Key: prefix, Prefix: true})
		if err != nil {
			yield(DeadLetter{}, q.failed("Dead", "", err))
			return
		}
		for kv, err := range r.All() {
			if err == nil {
				var d DeadLetter
				var there bool
				if d, there, err = q.deadLetter(ctx, strings.TrimPrefix(kv.Key, prefix), kv.Value); err == nil {
					if there && !yield(d, nil) {
						return
					}
					continue
				}
			}
			yield(DeadLetter{}, q.failed("Dead", "", err))
			return
		}
	}
}

// deadLetter reads the value of a dead letter; false if it has gone meanwhile.
func (q *Queue) deadLetter(ctx context.Context, id string, state []byte) (DeadLetter, bool, error) {
	resp, err := q.client.Get(ctx, etcd.GetRequest{Key: q.root + values + id})
	if err != nil {
		return DeadLetter{}, false, err
	}
	d := DeadLetter{ID: strings.Clone(id)}
	d.Attempts, d.Priority = deadStateOf(state)
	kv, there := resp.First()
	d.Value = kv.Clone().Value
	return d, there, nil
}

// Revive puts a dead letter back into the queue, at the end, as if it had never been
// taken.
//
// Errors: ErrNotDead, ErrClosed and those of [etcd.Client.Txn]. It may have been put back
// if [etcd.MaybeApplied] says so.
//
// etcd: KV/Txn, KV/Range (since 3.0)
func (q *Queue) Revive(ctx context.Context, id string) error {
	return q.settleDead(ctx, "Revive", id, func(priority int) []etcd.Op {
		p := q.placeFor(Item{ID: id, Priority: priority})
		return []etcd.Op{etcd.PutRequest{Key: p.key(q.root), Value: state(0)}}
	})
}

// Remove deletes a dead letter.
//
// Errors: those of Revive.
//
// etcd: KV/Txn, KV/Range (since 3.0)
func (q *Queue) Remove(ctx context.Context, id string) error {
	return q.settleDead(ctx, "Remove", id, func(int) []etcd.Op {
		return []etcd.Op{etcd.DeleteRequest{Key: q.root + values + id}}
	})
}

// settleDead deletes the key of a dead letter, and does what ops say in the same Txn.
func (q *Queue) settleDead(ctx context.Context, method, id string, ops func(priority int) []etcd.Op) error {
	if err := q.usable(ctx); err != nil {
		return err
	}
	if id == "" {
		return invalid("%s: the ID is empty", method)
	}
	key := q.root + dead + id
	resp, err := q.client.Get(ctx, etcd.GetRequest{Key: key})
	if err != nil {
		return q.failed(method, id, err)
	}
	kv, there := resp.First()
	if !there {
		return q.failed(method, id, ErrNotDead)
	}
	if !q.enter() {
		return q.failed(method, id, ErrClosed)
	}
	defer q.leave()
	_, priority := deadStateOf(kv.Value)
	done, err := q.write(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.Unchanged(kv)},
		Then: append([]etcd.Op{etcd.DeleteRequest{Key: key}}, ops(priority)...),
	})
	switch {
	case err != nil:
		return q.failed(method, id, err)
	case !done:
		return q.failed(method, id, ErrNotDead)
	}
	return nil
}
