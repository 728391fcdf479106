package check

import (
	"testing"

	"silly.store/etcd/robustness/internal/history"
)

// Each of X1, S1 and S2 finds what breaks it, and nothing in a good history.
func TestExact(t *testing.T) {
	write := func(id string, fate history.Fate, revision int64) history.Effect {
		return history.Effect{ID: id, Key: "exact/k", Fate: fate, Revision: revision}
	}
	const l, m = "exact/list/0/0", "exact/list/0/1"
	tx := func(id string, began, ended int64, fate history.Fate, appended []string, reads ...history.List) history.Effect {
		return history.Effect{ID: id, Began: began, Ended: ended, Fate: fate, Appended: appended, Reads: reads}
	}
	put := func(key, value string, revision int64) history.Event {
		return history.Event{Key: key, Value: value, Revision: revision}
	}
	read := func(key string, ids ...string) history.List { return history.List{Key: key, IDs: ids} }
	for name, test := range map[string]struct {
		invariant string
		effects   []history.Effect
		truth     []history.Event
		bad       bool
	}{
		"writes":           {"X1", []history.Effect{write("a", history.Done, 2), write("b", history.Unknown, 0), write("c", history.NotApplied, 0)}, []history.Event{put("exact/k", "a", 2)}, false},
		"twice":            {"X1", []history.Effect{write("a", history.Done, 2)}, []history.Event{put("exact/k", "a", 2), put("exact/k", "a", 3)}, true},
		"unknown twice":    {"X1", []history.Effect{write("a", history.Unknown, 0)}, []history.Event{put("exact/k", "a", 2), put("exact/k", "a", 3)}, true},
		"lost":             {"X1", []history.Effect{write("a", history.Done, 2)}, nil, true},
		"denied":           {"X1", []history.Effect{write("a", history.NotApplied, 0)}, []history.Event{put("exact/k", "a", 2)}, true},
		"another revision": {"X1", []history.Effect{write("a", history.Done, 3)}, []history.Event{put("exact/k", "a", 2)}, true},

		"numbers":      {"S2", []history.Effect{{Sequence: "s", Number: 1}, {Sequence: "s", Number: 2}, {Sequence: "s", Number: 2, Fate: history.Unknown}}, nil, false},
		"number twice": {"S2", []history.Effect{{Sequence: "s", Number: 1}, {Sequence: "s", Number: 1}}, nil, true},

		"in order": {"S1", []history.Effect{
			tx("a", 1, 2, history.Done, []string{l}, read(l), read(m)), tx("b", 3, 4, history.Done, []string{l, m}, read(l, "a"), read(m)),
		}, []history.Event{put(l, "a ", 2), put(l, "a b ", 3), put(m, "b ", 3)}, false},
		"lost update": {"S1", []history.Effect{
			tx("a", 1, 4, history.Done, []string{l}, read(l)), tx("b", 1, 4, history.Done, []string{l}, read(l)),
		}, []history.Event{put(l, "a ", 2), put(l, "b ", 3)}, true},
		"write skew": {"S1", []history.Effect{
			tx("a", 1, 4, history.Done, []string{l}, read(l), read(m)), tx("b", 1, 4, history.Done, []string{m}, read(l), read(m)),
		}, []history.Event{put(l, "a ", 2), put(m, "b ", 3)}, true},
		"real time": {"S1", []history.Effect{
			tx("a", 5, 6, history.Done, []string{l}, read(l)), tx("b", 1, 2, history.Done, []string{l}, read(l, "a")),
		}, []history.Event{put(l, "a ", 2), put(l, "a b ", 3)}, true},
		"half":               {"S1", []history.Effect{tx("a", 1, 2, history.Unknown, []string{l, m}, read(l), read(m))}, []history.Event{put(l, "a ", 2)}, true},
		"denied transaction": {"S1", []history.Effect{tx("a", 1, 2, history.NotApplied, []string{l}, read(l))}, []history.Event{put(l, "a ", 2)}, true},
	} {
		run := &history.Run{Judged: []string{test.invariant}, Effects: test.effects, Truth: test.truth}
		f := Judge(run)[1]
		if f.Count > 0 != test.bad || f.Checked == 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
