package follow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/internal/follow"
)

// scope is the prefix that is followed in the tests by model.
const scope = "in/"

// write is what one revision has done to the store; nil stands for a deletion.
type write struct {
	revision int64
	pairs    map[string]*etcd.KeyValue
}

// oracle makes all writes of a store and knows its state at every revision, in each of its
// histories.
type oracle struct {
	c *etcd.Client

	mu        sync.Mutex // guards the fields below; held during a write
	histories [][]write  // the last one is the store's
	now       map[string]*etcd.KeyValue
	revision  int64
}

// newOracle makes one of an empty store.
func newOracle(c *etcd.Client) *oracle {
	return &oracle{c: c, histories: [][]write{nil}, now: make(map[string]*etcd.KeyValue), revision: 1}
}

// step makes a random write: some keys are put, others deleted, in one revision.
func (o *oracle) step(ctx context.Context, r *rand.Rand) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	txn := etcd.TxnRequest{}
	values := make(map[string][]byte)
	for range 1 + r.IntN(4) {
		key := fmt.Sprint(scope, r.IntN(12))
		if r.IntN(5) == 0 {
			key = "out" + key
		}
		if _, taken := values[key]; taken {
			continue
		}
		if r.IntN(3) == 0 && o.now[key] != nil {
			values[key] = nil
			txn.Then = append(txn.Then, etcd.DeleteRequest{Key: key})
			continue
		}
		values[key] = fmt.Appendf(nil, "%d", r.IntN(3))
		txn.Then = append(txn.Then, etcd.PutRequest{Key: key, Value: values[key]})
	}
	resp, err := o.c.Txn(ctx, txn)
	if err != nil {
		return err
	}
	o.record(resp.Header.Revision, values)
	return nil
}

// record takes over what a write has done.
func (o *oracle) record(revision int64, values map[string][]byte) {
	w := write{revision, make(map[string]*etcd.KeyValue)}
	for key, value := range values {
		old := o.now[key]
		switch {
		case value == nil:
			delete(o.now, key)
			w.pairs[key] = nil
			continue
		case old == nil:
			old = &etcd.KeyValue{CreateRevision: revision}
		}
		kv := &etcd.KeyValue{Key: key, Value: value, CreateRevision: old.CreateRevision, ModRevision: revision, Version: old.Version + 1}
		o.now[key], w.pairs[key] = kv, kv
	}
	last := len(o.histories) - 1
	o.histories[last] = append(o.histories[last], w)
	o.revision = revision
}

// setBack begins a new history, from the revision of the present one that a backup has.
func (o *oracle) setBack(revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var kept []write
	for _, w := range o.histories[len(o.histories)-1] {
		if w.revision <= revision {
			kept = append(kept, w)
		}
	}
	o.histories = append(o.histories, kept)
	o.now, o.revision = stateAt(kept, revision), revision
}

// stateAt is the state of a history at a revision.
func stateAt(history []write, revision int64) map[string]*etcd.KeyValue {
	state := make(map[string]*etcd.KeyValue)
	for _, w := range history {
		if w.revision > revision {
			break
		}
		for key, kv := range w.pairs {
			if kv == nil {
				delete(state, key)
			} else {
				state[key] = kv
			}
		}
	}
	maps.DeleteFunc(state, func(key string, _ *etcd.KeyValue) bool { return !strings.HasPrefix(key, scope) })
	return state
}

// judge holds the steps of a follower against an oracle, whose lock guards it.
type judge struct {
	o       *oracle
	took    *sync.Cond // a step was taken, or reading has ended
	ended   bool
	state   map[string]*etcd.KeyValue // as handed on
	last    follow.Step
	history int // of the oracle's, the first one that the last step may be of
	kinds   map[follow.Kind]int
}

func newJudge(o *oracle) *judge {
	return &judge{o: o, took: sync.NewCond(&o.mu), state: make(map[string]*etcd.KeyValue), kinds: make(map[follow.Kind]int)}
}

// take says what is wrong with a step.
func (j *judge) take(step follow.Step) error {
	j.o.mu.Lock()
	defer j.o.mu.Unlock()
	defer j.took.Broadcast()
	j.kinds[step.Kind]++
	if err := j.order(step); err != nil {
		return err
	}
	for _, ch := range step.Changes {
		if err := j.apply(ch); err != nil {
			return fmt.Errorf("%v at %d: %w", step.Kind, step.Revision, err)
		}
	}
	before := j.last
	j.last = step
	first := j.history
	for ; j.history < len(j.o.histories); j.history++ {
		if j.agrees(j.o.histories[j.history], before) {
			return nil
		}
	}
	return fmt.Errorf("after %v at %d, epoch %d, the state is %s, which it was in none of the histories %d to %d; the last one has %s",
		step.Kind, step.Revision, step.Epoch, text(j.state), first, j.history-1, text(stateAt(j.o.histories[j.history-1], step.Revision)))
}

func (j *judge) order(step follow.Step) error {
	switch {
	case (step.Kind == follow.Snapshot) != (j.last.Epoch == 0):
		return fmt.Errorf("%v in epoch %d", step.Kind, j.last.Epoch)
	case step.Epoch < j.last.Epoch, step.Epoch > j.last.Epoch && step.Kind != follow.Resynced && step.Kind != follow.Snapshot:
		return fmt.Errorf("epoch %d after %d, by %v", step.Epoch, j.last.Epoch, step.Kind)
	case step.Epoch == j.last.Epoch && step.Revision < j.last.Revision, step.Kind == follow.Changed && step.Revision == j.last.Revision:
		return fmt.Errorf("%v at revision %d after %d", step.Kind, step.Revision, j.last.Revision)
	case step.Kind == follow.Progressed && len(step.Changes) > 0:
		return errors.New("progress with changes")
	}
	return nil
}

func (j *judge) apply(ch follow.Change) error {
	if had := j.state[ch.Key()]; ch.Old != had {
		return fmt.Errorf("a change of %s is from %+v, but %+v was handed on", ch.Key(), ch.Old, had)
	}
	if ch.New == nil {
		delete(j.state, ch.Key())
	} else {
		j.state[ch.Key()] = ch.New
	}
	return nil
}

// agrees reports whether the state is the history's at the last step, and whether that has
// no revision between the step and the one before which was left out.
func (j *judge) agrees(history []write, before follow.Step) bool {
	if !maps.EqualFunc(j.state, stateAt(history, j.last.Revision), equal) {
		return false
	}
	if j.last.Kind != follow.Changed {
		return true
	}
	for _, w := range history {
		for key := range w.pairs {
			if strings.HasPrefix(key, scope) && before.Revision < w.revision && w.revision < j.last.Revision {
				return false
			}
		}
	}
	return true
}

func equal(a, b *etcd.KeyValue) bool {
	return a.Key == b.Key && string(a.Value) == string(b.Value) && a.CreateRevision == b.CreateRevision &&
		a.ModRevision == b.ModRevision && a.Version == b.Version && a.Lease == b.Lease
}

func text(state map[string]*etcd.KeyValue) string {
	var b strings.Builder
	for key, kv := range state {
		fmt.Fprintf(&b, "%s=%s@%d-%d ", key, kv.Value, kv.CreateRevision, kv.ModRevision)
	}
	return b.String()
}

// current reports whether what was handed on is the store's present state.
func (j *judge) current() bool {
	j.o.mu.Lock()
	defer j.o.mu.Unlock()
	return j.currentLocked()
}

func (j *judge) currentLocked() bool {
	last := j.o.histories[len(j.o.histories)-1]
	return j.last.Revision <= j.o.revision && maps.EqualFunc(j.state, stateAt(last, j.o.revision), equal)
}

// wait waits until another goroutine has taken the steps that lead to the present state,
// or has ended.
func (j *judge) wait() {
	j.o.mu.Lock()
	defer j.o.mu.Unlock()
	for !j.ended && !j.currentLocked() {
		j.took.Wait()
	}
}

// end says that no more steps are taken.
func (j *judge) end() {
	j.o.mu.Lock()
	defer j.o.mu.Unlock()
	j.ended = true
	j.took.Broadcast()
}

// until takes steps until what was handed on is the present state.
func (j *judge) until(t testing.TB, f *follow.Follower) {
	t.Helper()
	for !j.current() {
		if err := j.take(next(t, f)); err != nil {
			t.Fatal(err)
		}
	}
}
