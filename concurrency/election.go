package concurrency

import (
	"context"
	"fmt"
)

// ElectionConfig configures an [Election]. The zero value is valid.
type ElectionConfig struct {
	// Value is what [Election.Campaign] proclaims: an address, for example. It is copied.
	Value []byte
	// Restart makes [Election.Run] campaign again, after a pause, when its function
	// returns an error.
	Restart bool
	// ObserveEvery makes [Election.Observe] yield every state, also those that were over
	// before a slow reader could see them. It cannot yield states that a compaction has
	// removed.
	ObserveEvery bool
}

// Election elects one leader among all candidates of a name. It is safe for concurrent
// use.
type Election struct {
	q      queue
	config ElectionConfig
}

// Election returns the election of a name. It does no I/O. Its keys are those of [Mutex].
func (co *Coordinator) Election(name string, config ElectionConfig) *Election {
	return &Election{plainQueue(co, name, config.Value), config}
}

// State is the state of an election.
type State struct {
	// Present reports whether there is a leader. If not, all fields below except
	// Revision are zero.
	Present bool
	// Leader is the leader's key.
	Leader string
	// Value is what the leader has proclaimed. It belongs to the caller.
	Value []byte
	// Term is the leader's term, see [Leadership.Term].
	Term int64
	// Revision is the store's revision of this state.
	Revision int64
}

// Campaign waits until it leads; see [Mutex.Lock] for what it survives and for errors.
func (e *Election) Campaign(ctx context.Context) (*Leadership, error) {
	l, err := e.q.acquire(ctx, false)
	if err != nil {
		return nil, err
	}
	return &Leadership{l: l, proclaiming: make(chan struct{}, 1), last: l.p.created}, nil
}

// Leader returns the present leader.
//
// etcd: KV/Range (since 3.0)
func (e *Election) Leader(ctx context.Context) (State, error) {
	if err := e.q.check(ctx); err != nil {
		return State{}, err
	}
	h, revision, err := e.q.findHolder(ctx)
	if err != nil {
		return State{}, fmt.Errorf("concurrency: Leader of %q: %w", e.q.name, err)
	}
	if h == nil {
		return State{Revision: revision}, nil
	}
	return State{Present: true, Leader: h.Key, Value: h.Value, Term: h.Token, Revision: revision}, nil
}
