package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// goodQueue returns a history of a queue and a group that breaks nothing.
func goodQueue() *history.Run {
	put := func(revision int64, key, value string) history.Event {
		return history.Event{Revision: revision, Key: key, Value: value, Created: revision, Version: 1, At: revision * ms}
	}
	gone := func(revision int64, key string) history.Event {
		return history.Event{Revision: revision, Key: key, Delete: true, At: revision * ms}
	}
	added := func(id string, fate history.Fate) history.Added {
		return history.Added{Queue: "queue/q", Client: "ours", ID: id, Began: ms, Ended: 9 * ms, Fate: fate}
	}
	claim := func(id string, token, taken, settled int64, effect string, fate history.Fate) history.Claimed {
		return history.Claimed{
			Queue: "queue/q", Client: "ours", ID: id, Process: int(token), Key: "queue/q/c/" + id, Token: token,
			Taken: taken * ms, Settled: settled * ms, Ended: (settled + 5) * ms, Effect: effect, Fate: fate,
		}
	}
	lost := claim("a", 4, 4, 30, "e1", history.NotApplied)
	lost.Gone = 20 * ms
	owned := func(token, from, gone, to int64) history.Owned {
		return history.Owned{Group: "group/g", Partition: 1, Key: "group/g/p/0001", Token: token, From: from * ms, Gone: gone * ms, To: to * ms}
	}
	return &history.Run{
		Judged: []string{"Q1", "G1"}, Took: 9 * time.Second,
		Added:   []history.Added{added("a", history.Done), added("b", history.Done), added("c", history.NotApplied), added("d", history.Unknown)},
		Claimed: []history.Claimed{lost, claim("a", 6, 25, 40, "e2", history.Done)},
		Owned:   []history.Owned{owned(10, 1, 5, 6), owned(11, 7, 9, 10)},
		Drained: []history.Rest{{After: "the load", Bound: 3 * ms}},
		Shares:  []history.Shared{{Group: "group/g", Partitions: 5, Members: map[string]int{"a": 3, "b": 2}}},
		Truth: []history.Event{
			put(2, "queue/q/v/a", "a"), put(3, "queue/q/v/b", "b"), put(4, "queue/q/c/a", "n"), gone(5, "queue/q/c/a"),
			put(6, "queue/q/c/a", "m"), gone(7, "queue/q/c/a"), gone(7, "queue/q/v/a"), put(7, "effect/queue/q/a", "e2"),
		},
	}
}

func TestGoodQueue(t *testing.T) {
	for _, f := range verdicts(goodQueue()) {
		if f.Count > 0 || f.Checked == 0 {
			t.Errorf("%s: %d checked, %v", f.Invariant, f.Checked, f.Violations)
		}
	}
}

func TestBadQueue(t *testing.T) {
	again := history.Event{Revision: 8, Key: "effect/queue/q/a", Value: "e9", Created: 7, Version: 2, At: 8 * ms}
	for _, bad := range []struct {
		name, breaks, says string
		spoil              func(r *history.Run)
	}{
		{"an item is lost", "Q1", "is lost", func(r *history.Run) {
			r.Truth = append(r.Truth, history.Event{Revision: 8, Key: "queue/q/v/b", Delete: true})
		}},
		{"an item was not added, and is there", "Q1", "was not added", func(r *history.Run) { r.Added[1].Fate = history.NotApplied }},
		{"acknowledged twice", "Q1", "2 times", func(r *history.Run) { r.Truth = append(r.Truth, again) }},
		{"acknowledged, and reported as lost", "Q1", "got an error that says it was not", func(r *history.Run) { r.Claimed[1].Fate = history.NotApplied }},
		{"reported as acknowledged", "Q1", "is there 0 times", func(r *history.Run) { r.Claimed[0].Fate = history.Done }},
		{"acknowledged by a claim that was lost", "Q1", "which was lost", func(r *history.Run) { r.Claimed[0].Effect, r.Claimed[1].Effect = "e2", "e1" }},
		{"two claims at once", "Q1", "was given to process 6", func(r *history.Run) { r.Claimed[0].Gone = 28 * ms }},
		{"something is left over", "Q1", "left over", func(r *history.Run) { r.Drained[0].Keys = []string{"queue/q/c/a"} }},
		{"nobody has looked", "Q1", "nobody has looked", func(r *history.Run) { r.Drained = nil }},
		{"two owners", "G1", "was given to", func(r *history.Run) { r.Owned[0].To = 8 * ms }},
		{"a partition is not owned", "G1", "4 of 5", func(r *history.Run) { r.Shares[0].Members["a"] = 2 }},
		{"uneven shares", "G1", "owns 4 of 5", func(r *history.Run) { r.Shares[0].Members = map[string]int{"a": 4, "b": 1} }},
		{"nobody has looked at the group", "G1", "nobody has looked", func(r *history.Run) { r.Shares = nil }},
	} {
		t.Run(bad.name, func(t *testing.T) {
			r := goodQueue()
			bad.spoil(r)
			f := verdicts(r)[bad.breaks]
			if !slices.ContainsFunc(f.Violations, func(v Violation) bool { return strings.Contains(v.Text, bad.says) }) {
				t.Errorf("none says %q: %+v", bad.says, f.Violations)
			}
		})
	}
}

// A worker or an owner whose key somebody has deleted cannot know that at once.
func TestQueueHands(t *testing.T) {
	r := goodQueue()
	r.Claimed[0].Gone, r.Owned[0].To = 28*ms, 8*ms
	r.Hands = []history.Hand{{At: 6 * ms, Key: "queue/q/c/a"}, {At: 5 * ms, Key: "group/g/p/0001/abc"}}
	for _, f := range verdicts(r) {
		if f.Count > 0 {
			t.Errorf("%s: %v", f.Invariant, f.Violations)
		}
	}
}
