package concurrency

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"silly.store/etcd"
	"silly.store/etcd/internal/follow"
)

// Observe yields the leader, now and after each change of the leader or its value, in
// order, until ctx or the client ends; it yields that error last. It also yields that
// there is no leader. Compactions, lost members and restored clusters do not end it. A
// slow reader gets the latest state only, see [ElectionConfig.ObserveEvery]. Breaking
// out of the loop releases everything.
//
// etcd: KV/Range, Watch/Watch (since 3.0)
func (e *Election) Observe(ctx context.Context) iter.Seq2[State, error] {
	return func(yield func(State, error) bool) {
		if err := e.q.check(ctx); err != nil {
			yield(State{}, err)
			return
		}
		f := follow.New(e.q.co.client, follow.Config{Key: e.q.root, Prefix: true})
		defer f.Close()
		o := observer{q: &e.q, f: f}
		for passed := 0; ; {
			step, err := f.Next(ctx)
			if err != nil {
				yield(State{}, fmt.Errorf("concurrency: Observe of %q: %w", e.q.name, err))
				return
			}
			o.take(step)
			switch {
			case !o.changed():
				continue
			case !e.config.ObserveEvery && passed < maxPassed && f.Waiting():
				passed++
				continue
			}
			passed = 0
			if !yield(o.state(step.Revision), nil) {
				return
			}
		}
	}
}

// maxPassed is how many states a reader can miss in a row because another has come already.
const maxPassed = 1000

// observer finds the leader in the state after each whole revision, so that several changes
// in one response cannot name the wrong one.
type observer struct {
	q      *queue
	f      *follow.Follower
	leader *etcd.KeyValue // nil: nobody
	told   State
	begun  bool // told is set
}

func (o *observer) take(step follow.Step) {
	lost := false
	for _, ch := range step.Changes {
		switch {
		case !o.q.contends(ch.Key()):
		case o.leader != nil && ch.Key() == o.leader.Key && (ch.New == nil || ch.New.CreateRevision != o.leader.CreateRevision):
			o.leader, lost = nil, true
		case ch.New == nil:
		case o.leader == nil || ch.Key() == o.leader.Key || earlier(ch.New, o.leader):
			o.leader = ch.New
		}
	}
	if !lost {
		return
	}
	o.leader = nil
	for kv := range o.f.Pairs() {
		if o.q.contends(kv.Key) && (o.leader == nil || earlier(kv, o.leader)) {
			o.leader = kv
		}
	}
}

// earlier is the order of a queue.
func earlier(a, b *etcd.KeyValue) bool {
	return a.CreateRevision < b.CreateRevision || a.CreateRevision == b.CreateRevision && a.Key < b.Key
}

// changed reports whether the state differs from the one that the reader has seen.
func (o *observer) changed() bool {
	switch {
	case !o.begun || (o.leader != nil) != o.told.Present:
		return true
	case o.leader == nil:
		return false
	}
	return o.leader.Key != o.told.Leader || o.leader.CreateRevision != o.told.Term || string(o.leader.Value) != string(o.told.Value)
}

func (o *observer) state(revision int64) State {
	st := State{Revision: revision}
	if o.leader != nil {
		st = State{
			Present: true, Leader: o.leader.Key, Value: o.leader.Value,
			Term: o.leader.CreateRevision, Revision: revision,
		}
	}
	o.told, o.begun = st, true
	st.Value = slices.Clone(st.Value) // it is the reader's
	return st
}
