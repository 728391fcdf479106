package concurrency

import (
	"context"
	"fmt"
)

// ElectionConfig configures an [Election]. The zero value is valid.
type ElectionConfig struct {
	// Value is what [Election.Campaign] proclaims: an address, for example. It is copied.
	Value []byte
	// Restart has [Election.Run] campaign again after its function returned an error,
	// after a pause.
	Restart bool
	// ObserveEvery has [Election.Observe] yield every state, also those that were over
	// before a slow reader could see them. Those that a compaction has hidden are left out
	// in any case.
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

// State is who leads.
type State struct {
	// Present reports whether there is a leader. The fields below but Revision are zero
	// if not.
	Present bool
	// Leader is the leader's key.
	Leader string
	// Value is what the leader has proclaimed. It belongs to the caller.
	Value []byte
	// Term is the leader's, see [Leadership.Term].
	Term int64
	// Revision is that of the store at which this is so.
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

// Leader returns who leads now.
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
