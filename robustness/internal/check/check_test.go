package check

import (
	"strings"
	"testing"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

const ms = int64(time.Millisecond)

// good returns a history with something to check for every invariant; all hold.
func good() *history.Run {
	call := func(process int, kind history.Kind, key, value string, began, ended, revision int64) history.Call {
		return history.Call{
			Process: process, Kind: kind, Key: key, Value: value,
			Began: began * ms, Ended: ended * ms, Deadline: (began + 1000) * ms, Revision: revision,
		}
	}
	get := call(1, history.Get, "k/0", "", 30, 40, 2)
	get.Found, get.Modified = "v1", 2
	unknown := call(2, history.Put, "k/0", "v2", 35, 60, 0)
	unknown.Fate, unknown.Error = history.Unknown, "cut"
	never := call(2, history.Put, "k/0", "v7", 61, 62, 0)
	never.Fate = history.Unknown
	after := call(1, history.Get, "k/0", "", 70, 80, 3)
	after.Found, after.Modified = "v2", 3
	remove := call(1, history.Delete, "k/0", "", 90, 100, 4)
	remove.Matched = true
	swap := call(1, history.Swap, "k/1", "v3", 110, 120, 5)
	swap.Matched = true
	missed := call(3, history.Swap, "k/1", "v8", 112, 130, 5)
	missed.Expected, missed.Found, missed.Modified = "v1", "v3", 5
	refused := call(2, history.Put, "k/1", "v5", 120, 130, 0)
	refused.Fate, refused.Error, refused.Refusal = history.NotApplied, "no leader", "no leader"
	stale := call(3, history.Get, "k/0", "", 140, 150, 2)
	stale.Stale, stale.Found, stale.Modified = true, "v1", 2

	v1 := history.Event{Revision: 2, Key: "k/0", Value: "v1", Created: 2, Version: 1, At: 15 * ms}
	v2 := history.Event{Revision: 3, Key: "k/0", Value: "v2", Created: 2, Version: 2, At: 50 * ms}
	gone := history.Event{Revision: 4, Key: "k/0", Delete: true, At: 95 * ms}
	v3 := history.Event{Revision: 5, Key: "k/1", Value: "v3", Created: 5, Version: 1, At: 115 * ms}
	m0 := history.Event{Revision: 6, Key: "m/0", Value: "v4", Created: 6, Version: 1, At: 160 * ms}
	m1 := history.Event{Revision: 6, Key: "m/1", Value: "v4", Created: 6, Version: 1, At: 160 * ms}
	leased := history.Event{Revision: 7, Key: "lease/1", Value: "v6", Created: 7, Version: 1, Lease: 1, At: 200 * ms}
	expired := history.Event{Revision: 8, Key: "lease/1", Delete: true, At: 2000 * ms}
	end := history.Event{Revision: 9, Key: Own + "end", Value: "end", Created: 9, Version: 1, At: 2100 * ms}

	withPrev := func(e history.Event, prev string) history.Event {
		e.At, e.Prev, e.HasPrev = 0, prev, prev != ""
		return e
	}
	seen := func(revision int64, events ...history.Event) history.Response {
		for i := range events {
			events[i].At = 0
		}
		return history.Response{At: revision * 300 * ms, Revision: revision, Events: events}
	}
	return &history.Run{
		Judged: []string{"I1", "I2", "I3", "I4", "I5", "I7", "I8", "I9", "I10", "I11", "I12"},
		Took:   3 * time.Second, LeasesMayEnd: true, Compacted: 0,
		Calls: []history.Call{
			call(1, history.Put, "k/0", "v1", 10, 20, 2), get, unknown, never, after, remove, swap, missed, refused,
			call(2, history.Many, "m/", "v4", 150, 170, 6), stale, call(3, history.Put, "lease/1", "v6", 190, 210, 7),
		},
		Truth: []history.Event{v1, v2, gone, v3, m0, m1, leased, expired, end},
		Watches: []*history.Watch{
			{
				ID: 1, Filter: history.Filter{Key: "k/", Prefix: true, PrevKV: true, Progress: true}, Before: 1, Start: 2, Confirmed: 1, Final: 9,
				Responses: []history.Response{
					seen(2, v1), seen(3, withPrev(v2, "v1")), {At: 900 * ms, Revision: 3, Progress: true},
					seen(5, withPrev(gone, "v2"), v3),
				},
			},
			{ID: 2, Filter: history.Filter{Key: "m/", Prefix: true}, Requested: 3, Start: 3, Confirmed: 1, Final: 9, Responses: []history.Response{seen(6, m0, m1)}},
			{ID: 3, Filter: history.Filter{Key: "k/", Prefix: true, NoPut: true}, Requested: 1, Start: 1, Confirmed: 1, Responses: []history.Response{seen(4, gone)}},
		},
		Scans: []history.Scan{{Prefix: "m/", Revision: 7, Pairs: []history.Event{m0, m1}}},
		Leases: []history.Lease{
			{ID: 1, Key: "lease/1", TTL: time.Second, Granted: 180 * ms, Lost: 1900 * ms, Error: "not renewed"},
			{ID: 2, TTL: time.Second, Granted: 180 * ms},
		},
		Faults:  []history.Fault{{Name: "stall", From: 900 * ms, To: 1950 * ms}},
		Refused: []history.Refusal{{What: "a foreign cluster", Refused: true, Named: true}},
		Usage: []history.Usage{
			{What: "heap bytes", Invariant: "I9", Before: 1, After: 2, Most: 3},
			{What: "goroutines", Invariant: "I10", Before: 1, After: 1, Most: 1},
		},
		Hashes: []history.Hash{{Member: "a", Revision: 9, Hash: 1}, {Member: "b", Revision: 9, Hash: 1}},
	}
}

// verdicts returns the counts of violations by invariant.
func verdicts(r *history.Run) map[string]Finding {
	m := make(map[string]Finding)
	for _, f := range Judge(r) {
		m[f.Invariant] = f
	}
	return m
}

func TestGoodHistory(t *testing.T) {
	for name, f := range verdicts(good()) {
		if f.Count != 0 {
			t.Errorf("%s is broken: %+v", name, f.Violations)
		}
		if f.Checked == 0 {
			t.Errorf("%s has checked nothing", name)
		}
	}
}

// Every invariant fails in each of its ways.
func TestBadHistories(t *testing.T) {
	for _, bad := range []struct {
		name   string
		breaks string
		says   string
		spoil  func(r *history.Run)
	}{
		{"the truth has a gap", Truth, "follows on", func(r *history.Run) { r.Truth = append(r.Truth[:3], r.Truth[4:]...) }},
		{"a version is skipped", Truth, "version", func(r *history.Run) { r.Truth[1].Version = 3 }},
		{"oracles disagree", Truth, "other events", func(r *history.Run) { r.OracleFaults = []string{"other events"} }},

		{"a stale value is read", "I1", "where it is", func(r *history.Run) { r.Calls[4].Found, r.Calls[4].Modified = "v1", 2 }},
		{"a deleted value is read", "I1", "no order", func(r *history.Run) { r.Calls[4].Began, r.Calls[4].Ended, r.Calls[4].Found = 102*ms, 105*ms, "v1" }},
		{"a value from nowhere is read", "I1", "no order", func(r *history.Run) { r.Calls[1].Found = "v9" }},
		{"a key that exists is not found", "I1", "no order", func(r *history.Run) { r.Calls[4].Found = "" }},
		{"a delete missed its key", "I1", "no order", func(r *history.Run) { r.Calls[5].Matched = false }},
		{"a swap matched wrongly", "I1", "no order", func(r *history.Run) { r.Calls[6].Expected = "v1" }},
		{"a swap read wrongly", "I1", "no order", func(r *history.Run) { r.Calls[7].Found = "v2" }},
		{"a write that never happened is read", "I1", "no order", func(r *history.Run) { r.Calls[4].Found = "v7" }},
		{"an answer names the wrong revision", "I1", "did not happen", func(r *history.Run) { r.Calls[0].Revision = 3 }},
		{"a value is of another revision", "I1", "where it is", func(r *history.Run) { r.Calls[1].Modified = 1 }},
		{"an answer from the past", "I1", "after another call had been", func(r *history.Run) { r.Calls[4].Revision = 1 }},
		{"an answer from the future", "I1", "but the last revision is", func(r *history.Run) { r.Calls[4].Revision = 99 }},
		{"members differ", "I1", "has hash", func(r *history.Run) { r.Hashes[1].Hash = 2 }},
		{"a scan misses a key", "I1", "has 1 keys", func(r *history.Run) { r.Scans[0].Pairs = r.Scans[0].Pairs[:1] }},
		{"a scan is of two revisions", "I1", "there was", func(r *history.Run) { r.Scans[0].Pairs[1].Version = 2 }},

		{"a write is applied twice", "I2", "applied 2 times", func(r *history.Run) {
			r.Truth = append(r.Truth, history.Event{Revision: 10, Key: "k/1", Value: "v3", Created: 5, Version: 2})
		}},
		{"an unknown write is applied twice", "I2", "applied 2 times", func(r *history.Run) {
			r.Truth = append(r.Truth, history.Event{Revision: 10, Key: "k/0", Value: "v2", Created: 10, Version: 1})
		}},
		{"a write is lost", "I2", "applied 0 times", func(r *history.Run) { r.Truth[3].Value = "other" }},
		{"a refused write is applied", "I2", "reported not applied", func(r *history.Run) {
			r.Truth = append(r.Truth, history.Event{Revision: 10, Key: "k/1", Value: "v5", Created: 5, Version: 2})
		}},
		{"a swap that did not match is applied", "I2", "did not match", func(r *history.Run) {
			r.Truth = append(r.Truth, history.Event{Revision: 10, Key: "k/1", Value: "v8", Created: 5, Version: 2})
		}},
		{"a write goes to another key", "I2", "instead of", func(r *history.Run) { r.Calls[0].Key = "k/5" }},
		{"no call wrote it", "I2", "no call wrote it", func(r *history.Run) { r.Calls[0].Value = "v0" }},
		{"no call deleted it", "I2", "more than calls account for", func(r *history.Run) {
			r.Leases, r.Calls[5].Fate = nil, history.NotApplied
		}},

		{"an event is missing", "I3", "missed revision 4", func(r *history.Run) {
			r.Watches[0].Responses[3].Events = r.Watches[0].Responses[3].Events[1:]
		}},
		{"the last event is missing", "I3", "missed revision 5", func(r *history.Run) {
			r.Watches[0].Responses[3].Events = r.Watches[0].Responses[3].Events[:1]
		}},
		{"an event comes twice", "I3", "two pieces, or twice", func(r *history.Run) {
			w := r.Watches[1]
			w.Responses = append(w.Responses, w.Responses[0])
		}},
		{"an event comes twice in a response", "I3", "twice", func(r *history.Run) {
			x := &r.Watches[1].Responses[0]
			x.Events = append(x.Events, x.Events[1])
		}},
		{"events are out of order", "I3", "after 5", func(r *history.Run) {
			e := r.Watches[0].Responses[3].Events
			e[0], e[1] = e[1], e[0]
		}},
		{"a revision is split", "I3", "two pieces", func(r *history.Run) {
			w := r.Watches[1]
			one, two := w.Responses[0], w.Responses[0]
			one.Events, two.Events = one.Events[:1], two.Events[1:]
			w.Responses = []history.Response{one, two}
		}},
		{"a filter leaks", "I3", "got", func(r *history.Run) { r.Watches[2].Filter.NoDelete = true }},
		{"another's key", "I3", "got", func(r *history.Run) { r.Watches[1].Filter.Key = "k/" }},
		{"progress runs ahead", "I3", "missed revision 4", func(r *history.Run) { r.Watches[0].Responses[2].Revision = 4 }},
		{"progress runs backwards", "I3", "progress", func(r *history.Run) { r.Watches[0].Responses[2].Revision = 2 }},
		{"a wrong create flag", "I3", ", want {", func(r *history.Run) { r.Watches[0].Responses[0].Events[0].Created = 1 }},
		{"a wrong value", "I3", ", want {", func(r *history.Run) { r.Watches[0].Responses[0].Events[0].Value = "v2" }},
		{"a put as a delete", "I3", ", want {", func(r *history.Run) { r.Watches[0].Responses[0].Events[0].Delete = true }},
		{"a wrong value before", "I3", "previous value", func(r *history.Run) { r.Watches[0].Responses[1].Events[0].Prev = "v0" }},
		{"no value before", "I3", "without the previous value", func(r *history.Run) { r.Watches[0].Responses[1].Events[0].HasPrev = false }},
		{"a header behind its events", "I3", "under a header", func(r *history.Run) { r.Watches[1].Responses[0].Revision = 5 }},
		{"a watch gives up", "I3", "ended: unavailable", func(r *history.Run) { r.Watches[1].Error = "unavailable" }},

		{"it starts elsewhere", "I4", "starts at 4", func(r *history.Run) { r.Watches[1].Start = 4 }},
		{"from now starts in the past", "I4", "existed before", func(r *history.Run) { r.Watches[0].Before = 2 }},
		{"an event before the start", "I4", "before its start", func(r *history.Run) { r.Watches[0].Start = 3 }},
		{"the first event is missing", "I4", "missed revision 2", func(r *history.Run) { r.Watches[0].Responses = r.Watches[0].Responses[1:] }},
		{"compacted without need", "I4", "reported compaction", func(r *history.Run) {
			r.Compacted = 5
			r.Watches[0].Error, r.Watches[0].Compacted = "compacted", 5
		}},
		{"compacted by no call", "I4", "reported compaction", func(r *history.Run) {
			r.Watches[0].Error, r.Watches[0].Compacted = "compacted", 8
		}},

		{"a loss is reported late", "I5", "was reported", func(r *history.Run) { r.Leases[0].Lost = 2001 * ms }},
		{"a loss is not reported", "I5", "was reported", func(r *history.Run) { r.Leases[0].Lost = 0 }},
		{"a false loss", "I5", "without a cause", func(r *history.Run) { r.Leases[1].Lost = 800 * ms }},
		{"a loss where none may be", "I5", "without a cause", func(r *history.Run) {
			r.LeasesMayEnd = false
			r.Leases[1].Lost = 1000 * ms
		}},

		{"a process goes back", "I7", "then at 1", func(r *history.Run) { r.Calls[4].Revision = 1 }},
		{"a call is late", "I8", "after its deadline", func(r *history.Run) { r.Calls[0].Deadline = r.Calls[0].Ended - 51*ms }},
		{"a call hangs", "I8", "took", func(r *history.Run) {
			r.Calls[0].Deadline, r.Calls[0].Ended = 0, 71_000*ms
		}},
		{"memory grows", "I9", "heap bytes", func(r *history.Run) { r.Usage[0].After = 4 }},
		{"nothing was measured", "I9", "nothing", func(r *history.Run) { r.Usage = r.Usage[1:] }},
		{"a goroutine is left", "I10", "goroutines", func(r *history.Run) { r.Usage[1].After = 2 }},
		{"a foreign cluster is used", "I11", "accepted", func(r *history.Run) { r.Refused[0].Refused = false }},
		{"a refusal says nothing", "I11", "does not say why", func(r *history.Run) { r.Refused[0].Named = false }},
		{"nothing was tried", "I11", "nothing", func(r *history.Run) { r.Refused = nil }},
		{"what must be refused is not", "I12", "must be refused", func(r *history.Run) { r.Calls[8].Fate, r.Calls[8].Error = history.Done, "" }},
		{"another's refusal", "I12", "another call's reason", func(r *history.Run) { r.Calls[2].Error = "txn: no leader" }},
		{"nothing was refused", "I12", "nothing was refused", func(r *history.Run) { r.Calls[8].Error = "" }},
	} {
		t.Run(bad.name, func(t *testing.T) {
			r := good()
			bad.spoil(r)
			f := verdicts(r)[bad.breaks]
			if f.Count == 0 {
				t.Fatalf("%s holds", bad.breaks)
			}
			for _, v := range f.Violations {
				if strings.Contains(v.Text, bad.says) {
					return
				}
			}
			t.Errorf("none says %q: %+v", bad.says, f.Violations)
		})
	}
}

// A pause of the machine excuses delays during it, and nothing else.
func TestPausesExcuse(t *testing.T) {
	r := good()
	r.Calls[0].Deadline = r.Calls[0].Ended - 80*ms
	if verdicts(r)["I8"].Count != 1 {
		t.Error("80 ms late without a pause is nothing")
	}
	r.Pauses = []history.Pause{{From: r.Calls[0].Ended - 60*ms, To: r.Calls[0].Ended - 20*ms}}
	if verdicts(r)["I8"].Count != 0 {
		t.Error("80 ms late with a pause of 40 ms is too late")
	}
}

// A run with too few calls, events or faults does not count.
func TestShort(t *testing.T) {
	r := good()
	if short := Short(r); len(short) > 0 {
		t.Errorf("short: %q", short)
	}
	r.Least = history.Amount{Faults: 2, Calls: 100, Events: 100, Leases: 3}
	r.Failures = []string{"no leader"}
	if short := Short(r); len(short) != 5 {
		t.Errorf("short: %q", short)
	}
}

// An unknown invariant does not pass.
func TestUnknownInvariant(t *testing.T) {
	r := good()
	r.Judged = []string{"I6"}
	if verdicts(r)["I6"].Count == 0 {
		t.Error("I6 holds")
	}
}
