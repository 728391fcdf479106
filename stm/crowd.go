package stm

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"silly.store/etcd"
)

// Transactions of one client that change the same keys would make each other run again. So
// those that begin with a key over which there was a conflict come together, in a crowd:
//
//   - They take turns. Each runs its function on the state that the one before has left, which
//     is not in etcd yet.
//   - One Txn, a batch, compares what they have read of etcd's state and puts what the last one
//     has left. It succeeds or fails for all of them.
//   - The state after a batch is known from its answer, so the next batch begins without reads.
//
// Each transaction of a batch takes effect at the batch's revision, one after the other, and
// the answer comes after the call of each and before its return: strictly serializable. Only a
// key that a transaction has read before it puts it can be put twice in a batch. What a batch
// cannot carry (ranges, deletions, leases, a second put without a read) runs alone with the turn, after the open batch was sent: batches follow each other so fast that
// it would never be in time without. So does one that has met two conflicts outside of them.
//
// The turn orders the functions and nothing else: when one takes long, those that have run
// commit without it, and those that wait for it run without the turn.

const (
	// turnPatience is how long a transaction waits for the others' functions.
	turnPatience = 100 * time.Millisecond
	// batchFull is how many keys a batch compares or puts, of the 128 that etcd takes.
	batchFull = 96
	// hottest bounds how long a key stays hot without conflicts, in batches.
	hottest = 8
	// warm is by how much a conflict, or a batch in which several use it, heats a key.
	warm = 2
	// mostHot bounds the keys that are remembered as hot.
	mostHot = 10_000
)

// crowds has a crowd for each client with transactions under way.
var crowds = struct {
	mu sync.Mutex // guards the field below and crowd.users
	of map[*etcd.Client]*crowd
}{of: make(map[*etcd.Client]*crowd)}

// crowd is the transactions of one client.
type crowd struct {
	client *etcd.Client
	users  int

	turn chan struct{} // capacity 1: a value in it is the right to run, or to commit

	mu    sync.Mutex     // guards the fields below
	heat  map[string]int // of keys that transactions have met over; absent: cold
	batch *batch         // that the next transaction joins; nil: none yet
	state *snapshot      // after the last batch; nil: not known
}

// enter returns the crowd of a client; leave it afterwards.
func enter(c *etcd.Client) *crowd {
	crowds.mu.Lock()
	defer crowds.mu.Unlock()
	cr := crowds.of[c]
	if cr == nil {
		cr = &crowd{client: c, turn: make(chan struct{}, 1), heat: make(map[string]int)}
		crowds.of[c] = cr
	}
	cr.users++
	return cr
}

func (cr *crowd) leave() {
	crowds.mu.Lock()
	defer crowds.mu.Unlock()
	if cr.users--; cr.users == 0 {
		delete(crowds.of, cr.client)
	}
}

func (cr *crowd) isHot(key string) bool {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	return cr.heat[key] > 0
}

// conflicted makes the keys hot that differ in the newer state.
func (cr *crowd) conflicted(older, newer *snapshot) {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if len(cr.heat) > mostHot {
		clear(cr.heat) // keys that nobody uses again do not cool down
	}
	for key, kv := range newer.keys {
		if old, known := older.keys[key]; known && old.ModRevision != kv.ModRevision {
			cr.heat[key] = min(cr.heat[key]+warm, hottest)
		}
	}
}

// join waits for the turn, and has the transaction see the state of the open batch. Without
// success within turnPatience it returns false, and the transaction runs alone.
func (cr *crowd) join(ctx context.Context, tx *Tx) bool {
	if !cr.takeTurn(ctx) {
		return false
	}
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if cr.batch != nil && cr.batch.isFull() {
		cr.closeLocked(cr.batch, true)
		return false
	}
	tx.hasTurn = true
	if cr.batch == nil {
		cr.batch = newBatch(cr)
		tx.batch = cr.batch
		if cr.state == nil || cr.state.revision < tx.known.revision {
			cr.batch.known = tx.known.clone() // the answer to a conflict
			return true
		}
		cr.batch.known, cr.state = cr.state, nil
	}
	tx.batch, tx.ahead = cr.batch, true
	tx.known = cr.batch.known.clone()
	return true
}

func (cr *crowd) takeTurn(ctx context.Context) bool {
	select {
	case cr.turn <- struct{}{}:
		return true
	default:
	}
	patience := time.NewTimer(turnPatience)
	defer patience.Stop()
	select {
	case cr.turn <- struct{}{}:
		return true
	case <-patience.C:
	case <-ctx.Done():
	}
	return false
}

// alone waits for the turn, for a transaction that runs outside of batches, and sends the open
// batch before. Without success within turnPatience the transaction has no turn.
func (cr *crowd) alone(ctx context.Context, tx *Tx) {
	if !cr.takeTurn(ctx) {
		return
	}
	tx.hasTurn = true
	if b := cr.sendOpen(); b != nil {
		select {
		case <-b.done:
		case <-ctx.Done():
		}
	}
}

// sendOpen sends the open batch, and returns it if there is one with members. The caller has
// the turn, and will change what the state of the next batch would be.
func (cr *crowd) sendOpen() *batch {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	b := cr.batch
	cr.state = nil
	if b == nil {
		return nil
	}
	cr.closeLocked(b, false)
	if len(b.members) == 0 {
		return nil
	}
	return b
}

// endTurn gives the turn up. stale: the server no longer has the state of the open batch.
func (cr *crowd) endTurn(stale bool) {
	if stale {
		cr.mu.Lock()
		if cr.batch != nil {
			cr.closeLocked(cr.batch, false)
		}
		cr.mu.Unlock()
	}
	<-cr.turn
}

// closeLocked sends a batch that is open. hasTurn: the caller has the turn, and the batch gives
// it back.
func (cr *crowd) closeLocked(b *batch, hasTurn bool) {
	cr.batch = nil
	if len(b.members) == 0 {
		if hasTurn {
			<-cr.turn
		}
		return
	}
	go b.commit(b.ctx, hasTurn)
}

// clone returns a copy that shares the values.
func (s *snapshot) clone() *snapshot {
	return &snapshot{revision: s.revision, keys: maps.Clone(s.keys)}
}

// cool lets the keys of a batch cool down that a single transaction has used.
func (cr *crowd) coolLocked(uses map[string]int) {
	for key, n := range uses {
		switch {
		case n > 1:
			cr.heat[key] = min(cr.heat[key]+warm, hottest)
		case cr.heat[key] > 1:
			cr.heat[key]--
		default:
			delete(cr.heat, key)
		}
	}
}

// others are the keys of the state that the batch has not read, in any order: reading them
// with it keeps them known.
func (b *batch) others(room int) (keys []string) {
	for key := range b.known.keys {
		if !slices.Contains(b.reads, key) && b.writes[key] == nil && len(keys) < room {
			keys = append(keys, key)
		}
	}
	return keys
}
