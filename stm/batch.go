package stm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"silly.store/etcd"
)

// batch is transactions of a crowd that are applied together. It is open while it is
// crowd.batch, then under way until done is closed.
type batch struct {
	crowd *crowd

	// The holder of the turn changes the fields below while the batch is open, under crowd.mu.

	known   *snapshot // etcd's state
	reads   []string  // the keys of it that were read
	writes  map[string]*write
	order   []string // keys of writes, first written first
	uses    map[string]int
	members []*Tx
	present int // members that wait
	ctx     context.Context
	cancel  context.CancelFunc // ends the request when nobody waits for it

	done     chan struct{} // closed when the fields below are set
	revision int64
	conflict bool
	err      error
}

func newBatch(cr *crowd) *batch {
	return &batch{
		crowd: cr, known: &snapshot{}, writes: make(map[string]*write), uses: make(map[string]int), done: make(chan struct{}),
	}
}

func (b *batch) isFull() bool { return len(b.reads) >= batchFull || len(b.order) >= batchFull }

// errAlone means that the transaction must run again, outside of the crowd. The function sees
// it as the error of a method, as it sees that the state which it reads was compacted.
var errAlone = errors.New("stm: this attempt has read what others have not committed yet; the function runs again, alone")

// add makes the transaction, whose function has returned ended, a member. It returns false
// when the batch has left without it.
func (b *batch) add(ctx context.Context, tx *Tx, ended error) bool {
	cr := b.crowd
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if cr.batch != b {
		return false
	}
	if len(b.members) == 0 {
		b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
		b.known.revision = tx.known.revision
	}
	for _, key := range tx.keys {
		b.uses[key]++
		kv, known := tx.known.key(key) // from the answer to a conflict over a range, maybe
		if !known {
			continue // put by an earlier member, which has not read it
		}
		if !slices.Contains(b.reads, key) {
			b.reads = append(b.reads, key)
		}
		b.known.addPair(key, kv)
	}
	if ended == nil {
		for _, key := range tx.order {
			b.merge(key, tx.writes[key])
		}
	}
	b.members = append(b.members, tx)
	b.present++
	return true
}

// merge puts a write of a member over that of an earlier one.
func (b *batch) merge(key string, w *write) {
	before := b.writes[key]
	merged := *w
	switch {
	case before == nil:
		b.order = append(b.order, key)
	case w.put.IgnoreLease:
		merged.put.IgnoreLease = before.put.IgnoreLease // the lease that the one before has left
	}
	b.writes[key] = &merged
}

// wait returns what has become of the batch to one of its members, which has no turn. The
// member that gets the next turn sends the batch.
func (b *batch) wait(ctx context.Context) error {
	timer := time.NewTimer(turnPatience)
	defer timer.Stop()
	for turn, patience := b.crowd.turn, timer.C; ; {
		select {
		case <-b.done:
			return b.err
		case turn <- struct{}{}:
			b.send(true)
			turn, patience = nil, nil
		case <-patience:
			b.send(false) // somebody's function takes long
			turn, patience = nil, nil
		case <-ctx.Done():
			return b.abandon(ctx)
		}
	}
}

// send sends the batch if it is still open. hasTurn: the caller has the turn, and gives it up.
func (b *batch) send(hasTurn bool) {
	b.crowd.mu.Lock()
	defer b.crowd.mu.Unlock()
	switch {
	case b.crowd.batch == b:
		b.crowd.closeLocked(b, hasTurn)
	case hasTurn:
		<-b.crowd.turn
	}
}

// abandon is what a member does whose context has ended. The last one ends the request and
// waits for that.
func (b *batch) abandon(ctx context.Context) error {
	b.send(false)
	b.crowd.mu.Lock()
	b.present--
	last := b.present == 0
	b.crowd.mu.Unlock()
	if last {
		b.cancel()
		<-b.done
		switch {
		case b.conflict, errors.Is(b.err, errAlone):
			return fmt.Errorf("stm: waiting for the commit: %w", context.Cause(ctx))
		case b.err != nil:
			return fmt.Errorf("stm: waiting for the commit: %w: %w", context.Cause(ctx), b.err)
		}
		return nil
	}
	return &leftError{context.Cause(ctx)}
}

// leftError is the error of a caller that has left a batch under way.
type leftError struct{ cause error }

func (e *leftError) Error() string {
	return fmt.Sprintf("stm: waiting for the commit: %v; the transaction may have been applied", e.cause)
}

func (e *leftError) Unwrap() error { return e.cause }

// MaybeApplied makes etcd.MaybeApplied report true.
func (e *leftError) MaybeApplied() bool { return true }

// commit is the goroutine of a batch under way. Its members wait for it.
func (b *batch) commit(ctx context.Context, hasTurn bool) {
	defer b.cancel()
	req, others := b.request()
	resp, err := b.crowd.client.Txn(etcd.WithRetryWrites(ctx, etcd.SafeOnly), req)
	cr := b.crowd
	cr.mu.Lock()
	cr.state = nil
	switch {
	case err != nil && etcd.MaybeApplied(err):
		b.err = err
	case err != nil:
		b.err = errAlone // whoever is to blame learns it alone
	case resp.Succeeded:
		b.revision = resp.Header.Revision
		cr.coolLocked(b.uses)
		cr.state = b.after(resp, others)
	default:
		b.conflict = true
		cr.state = answerOf(resp, append(b.reads, others...))
	}
	close(b.done)
	cr.mu.Unlock()
	if hasTurn {
		<-cr.turn
	}
}

// request compares what was read and puts what was written. Both branches read what is to
// be known for the next batch.
func (b *batch) request() (req etcd.TxnRequest, others []string) {
	for _, key := range b.reads {
		req.If = append(req.If, etcd.CompareModRevision(key, etcd.Equal, b.known.keys[key].ModRevision))
		req.Else = append(req.Else, etcd.GetRequest{Key: key})
	}
	for _, key := range b.order {
		req.Then = append(req.Then, b.writes[key].op())
	}
	others = b.others(batchFull - max(len(req.Then), len(req.Else)))
	for _, key := range others {
		req.Then = append(req.Then, etcd.GetRequest{Key: key})
		req.Else = append(req.Else, etcd.GetRequest{Key: key})
	}
	return req, others
}

// after is the state that the batch has left.
func (b *batch) after(resp *etcd.TxnResponse, others []string) *snapshot {
	state := &snapshot{revision: resp.Header.Revision}
	for _, key := range b.reads {
		kv := b.known.keys[key]
		if w := b.writes[key]; w != nil {
			if kv.ModRevision == 0 {
				kv = etcd.KeyValue{Key: key, CreateRevision: b.revision}
			}
			kv.Value, kv.ModRevision = w.put.Value, b.revision
			kv.Version++
			if !w.put.IgnoreLease {
				kv.Lease = 0
			}
		}
		state.addPair(key, kv)
	}
	if len(resp.Responses) == len(b.order)+len(others) {
		for i, key := range others {
			if got := resp.Responses[len(b.order)+i].Get; got != nil {
				state.addKey(key, got)
			}
		}
	}
	return state
}

// answerOf is the state in the answer to Gets of the keys.
func answerOf(resp *etcd.TxnResponse, keys []string) *snapshot {
	state := &snapshot{revision: resp.Header.Revision}
	if len(resp.Responses) != len(keys) {
		return nil
	}
	for i, key := range keys {
		if resp.Responses[i].Get == nil {
			return nil
		}
		state.addKey(key, resp.Responses[i].Get)
	}
	return state
}
