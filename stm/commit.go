package stm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"silly.store/etcd"
	"silly.store/etcd/internal/coalesce"
)

// attempt runs f and commits what it has written. When that has to be done again, newer
// is the state to do it on.
func (tx *Tx) attempt(ctx context.Context, f func(*Tx) error) (newer *snapshot, err error) {
	defer tx.fail(errOver)
	defer tx.giveTurn()
	if tx.crowd != nil && tx.alone {
		tx.crowd.alone(ctx, tx)
	}
	err = f(tx)
	if tx.batch != nil {
		return tx.attemptTogether(ctx, err)
	}
	switch {
	case isStale(tx.err):
		return tx.readAgain(ctx)
	case err != nil:
		return nil, err
	case tx.err != nil:
		return nil, tx.err
	case len(tx.writes) == 0:
		tx.revision = tx.known.revision
		return nil, nil
	}
	return tx.commit(ctx)
}

// attemptTogether has the transaction, whose function has returned ended, take part in the
// batch that it has joined.
func (tx *Tx) attemptTogether(ctx context.Context, ended error) (newer *snapshot, err error) {
	b := tx.batch
	switch {
	case errors.Is(tx.err, errAlone), isStale(tx.err):
		return nil, errAlone
	case tx.err != nil && ended == nil:
		return nil, tx.err
	case tx.err != nil:
		return nil, ended
	case !b.add(ctx, tx, ended):
		return &snapshot{}, nil
	}
	tx.giveTurn()
	switch err := b.wait(ctx); {
	case err != nil:
		return nil, err
	case b.conflict:
		return &snapshot{}, nil
	}
	tx.revision = b.revision
	return nil, ended
}

// giveTurn lets the next transaction of the crowd run.
func (tx *Tx) giveTurn() {
	if tx.hasTurn {
		tx.hasTurn = false
		tx.crowd.endTurn(isStale(tx.err))
	}
}

var errOver = fmt.Errorf("stm: %w: the function has returned, and its Tx is of no more use", etcd.ErrInvalidRequest)

// isStale reports whether a read has failed because the server no longer has the state
// that the transaction sees.
func isStale(err error) bool {
	return errors.Is(err, etcd.ErrCompacted) || errors.Is(err, etcd.ErrFutureRevision) || errors.Is(err, etcd.ErrHistoryReset)
}

// commit applies the writes if nothing that was read has changed, and else reads the
// same again.
func (tx *Tx) commit(ctx context.Context) (newer *snapshot, err error) {
	req := etcd.TxnRequest{If: tx.compares(), Else: tx.gets()}
	for _, key := range tx.order {
		req.Then = append(req.Then, tx.writes[key].op())
	}
	if len(req.If) == 0 {
		req.Else = nil
	}
	if tx.writer != nil {
		return tx.commitOnce(ctx, req)
	}
	if tx.crowd != nil && !tx.hasTurn && len(tx.prefixes) == 0 { // others wait for the turn
		ctx = coalesce.WithFootprint(ctx, &coalesce.Footprint{Reads: tx.keys, Writes: tx.order})
	}
	resp, err := tx.client.Txn(etcd.WithRetryWrites(ctx, etcd.SafeOnly), req)
	if err != nil {
		return nil, tx.explain(&req, err)
	}
	if resp.Succeeded {
		tx.revision = resp.Header.Revision
		return nil, nil
	}
	return tx.answered(resp)
}

// commitOnce is commit through the Writer.
func (tx *Tx) commitOnce(ctx context.Context, req etcd.TxnRequest) (newer *snapshot, err error) {
	result, err := tx.writer.Txn(ctx, req)
	switch {
	case err != nil:
		return nil, tx.explain(&req, err)
	case result.Succeeded:
		tx.revision = result.Revision
		return nil, nil
	case result.Recovered:
		return tx.readAgain(ctx) // the answer with the present state was lost
	}
	return tx.answered(result.Response)
}

func (tx *Tx) explain(req *etcd.TxnRequest, err error) error {
	if errors.Is(err, etcd.ErrTooManyOps) {
		return fmt.Errorf("stm: %d keys and %d ranges were read, which takes %d compares, and %d keys written: %w",
			len(tx.keys), len(tx.prefixes), len(req.If), len(req.Then), err)
	}
	return err
}

// compares is the condition that what was read is still so. A compare over a range holds
// when no key of it is newer than the state that was read; a deleted key is missed by
// that, and so each key has its own compare.
func (tx *Tx) compares() (list []etcd.Compare) {
	for _, prefix := range tx.prefixes {
		list = append(list, etcd.Compare{
			Key: prefix, Prefix: true, Target: etcd.TargetModRevision, Result: etcd.Less, ModRevision: tx.known.revision + 1,
		})
		below, _ := tx.known.keysBelow(prefix)
		for _, kv := range below {
			list = append(list, etcd.Unchanged(kv))
		}
	}
	for _, key := range tx.keys {
		kv, _ := tx.known.key(key)
		list = append(list, etcd.CompareModRevision(key, etcd.Equal, kv.ModRevision))
	}
	return list
}

// gets reads all that the attempt has read.
func (tx *Tx) gets() (list []etcd.Op) {
	for _, prefix := range tx.prefixes {
		list = append(list, etcd.GetRequest{Key: prefix, Prefix: true})
	}
	for _, key := range tx.keys {
		list = append(list, etcd.GetRequest{Key: key})
	}
	return list
}

// answered is the state in the answer to gets.
func (tx *Tx) answered(resp *etcd.TxnResponse) (*snapshot, error) {
	newer := &snapshot{revision: resp.Header.Revision}
	if want := len(tx.prefixes) + len(tx.keys); len(resp.Responses) != want || slices.ContainsFunc(resp.Responses, notGet) {
		return nil, fmt.Errorf("stm: the server answered %d reads with %d responses", want, len(resp.Responses))
	}
	for i, prefix := range tx.prefixes {
		newer.addRange(prefix, resp.Responses[i].Get)
	}
	for i, key := range tx.keys {
		newer.addKey(key, resp.Responses[len(tx.prefixes)+i].Get)
	}
	return newer, nil
}

func notGet(r etcd.OpResponse) bool { return r.Get == nil }

// readAgain reads at the present revision what the attempt has read so far. The next
// attempt then needs no reads, and is done before the next compaction.
func (tx *Tx) readAgain(ctx context.Context) (*snapshot, error) {
	if len(tx.keys)+len(tx.prefixes) == 0 {
		return &snapshot{}, nil
	}
	resp, err := tx.client.Txn(ctx, etcd.TxnRequest{Then: tx.gets()})
	switch {
	case isStale(err):
		return &snapshot{}, nil
	case err != nil:
		return nil, err
	}
	return tx.answered(resp)
}
