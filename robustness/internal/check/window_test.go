package check

import (
	"slices"
	"strings"
	"testing"

	"silly.store/etcd/robustness/internal/history"
)

// windows returns two windows of a run. The first ends at revision 4; a put of v3, a
// lease and a watch continue in the second, which ends at 8.
func windows() (first, second *history.Run) {
	judged := []string{"I1", "I2", "I3", "I4", "I5", "I7"}
	v1 := history.Event{Revision: 2, Key: "k/0", Value: "v1", Created: 2, Version: 1, At: 15 * ms}
	leased := history.Event{Revision: 3, Key: "lease/1", Value: "v2", Created: 3, Version: 1, Lease: 1, At: 25 * ms}
	end := history.Event{Revision: 4, Key: Own + "end", Value: "end 1", Created: 4, Version: 1, At: 50 * ms}
	put := func(process int, key, value string, began, ended, revision int64) history.Call {
		return history.Call{Process: process, Kind: history.Put, Key: key, Value: value, Began: began * ms, Ended: ended * ms, Revision: revision}
	}
	late := put(3, "k/0", "v3", 30, 40, 0)
	late.Fate, late.Error = history.Unknown, "cut"
	bare := func(e history.Event) history.Event { e.At = 0; return e }
	all := history.Filter{Key: "k/", Prefix: true, PrevKV: true}
	first = &history.Run{
		Judged: judged, LeasesMayEnd: true, Truth: []history.Event{v1, leased, end},
		Calls:  []history.Call{put(1, "k/0", "v1", 10, 20, 2), put(2, "lease/1", "v2", 20, 30, 3), late},
		Leases: []history.Lease{{ID: 1, Key: "lease/1", TTL: 1e9, Granted: 20 * ms, Ended: 60 * ms}},
		Watches: []*history.Watch{{
			ID: 1, Filter: all, Requested: 2, Start: 2, Confirmed: 1, Final: 4,
			Responses: []history.Response{{At: 16 * ms, Revision: 2, Events: []history.Event{bare(v1)}}},
		}},
	}
	v3 := history.Event{Revision: 5, Key: "k/0", Value: "v3", Created: 2, Version: 2, At: 100 * ms}
	gone := history.Event{Revision: 6, Key: "lease/1", Delete: true, At: 2000 * ms}
	removed := history.Event{Revision: 7, Key: "k/0", Delete: true, At: 2100 * ms}
	end = history.Event{Revision: 8, Key: Own + "end", Value: "end 2", Created: 4, Version: 2, At: 2200 * ms}
	read := history.Call{Process: 4, Kind: history.Get, Key: "k/0", Began: 80 * ms, Ended: 90 * ms, Revision: 4, Found: "v1", Modified: 2}
	remove := history.Call{Process: 4, Kind: history.Delete, Key: "k/0", Began: 2050 * ms, Ended: 2110 * ms, Revision: 7, Matched: true}
	before := bare(v3)
	before.Prev, before.HasPrev = "v1", true
	last := bare(removed)
	last.Prev, last.HasPrev = "v3", true
	second = &history.Run{
		Judged: judged, LeasesMayEnd: true, Truth: []history.Event{v3, gone, removed, end},
		Calls:  []history.Call{read, remove},
		Leases: []history.Lease{{ID: 1, Key: "lease/1", TTL: 1e9, Granted: 20 * ms, Lost: 1900 * ms, Ended: 2200 * ms}},
		Faults: []history.Fault{{Name: "stall", From: 900 * ms, To: 2000 * ms}},
		Watches: []*history.Watch{{
			ID: 2, Filter: all, Requested: 5, Start: 5, Known: 3, Confirmed: 1, Final: 8,
			Responses: []history.Response{{At: 101 * ms, Revision: 5, Events: []history.Event{before}}, {At: 2101 * ms, Revision: 7, Events: []history.Event{last}}},
		}},
	}
	second.Before = After(first)
	return first, second
}

// Watches, leases and writes that span two windows are judged in both.
func TestWindows(t *testing.T) {
	first, second := windows()
	for i, r := range []*history.Run{first, second} {
		for name, f := range verdicts(r) {
			if f.Count != 0 || f.Checked == 0 && name != Truth {
				t.Errorf("window %d, %s: %d of %d: %+v", i+1, name, f.Count, f.Checked, f.Violations)
			}
		}
	}
	b := second.Before
	if b.Revision != 4 || len(b.Calls) != 1 || b.Calls[0].Value != "v3" || len(b.Leases) != 0 {
		t.Errorf("taken over: %+v", b)
	}
	if len(b.Keys) != 3 || b.Keys[0].Key != "k/0" || b.Keys[2].Key != Own+"end" {
		t.Errorf("keys taken over: %+v", b.Keys)
	}
	if third := After(second); len(third.Keys) != 1 || len(third.Calls) != 0 || len(third.Leases) != 1 || len(third.Faults) != 1 {
		t.Errorf("taken over by a third window: %+v", third)
	}
}

// Violations across the border of two windows are found.
func TestBadWindows(t *testing.T) {
	for _, bad := range []struct {
		name   string
		breaks string
		says   string
		spoil  func(first, second *history.Run)
	}{
		{"a revision is missing between windows", Truth, "follows on", func(_, r *history.Run) { r.Truth = r.Truth[1:] }},
		{"a version is skipped between windows", Truth, "version", func(_, r *history.Run) { r.Truth[0].Version = 3 }},
		{"a value of before is read no longer", "I1", "no order", func(_, r *history.Run) { r.Calls[0].Found, r.Calls[0].Modified = "", 0 }},
		{"an answer from the last window", "I1", "after another call had been", func(_, r *history.Run) { r.Calls[0].Revision = 3 }},
		{"a late write is applied twice", "I2", "applied 2 times", func(_, r *history.Run) {
			r.Truth = append(r.Truth, history.Event{Revision: 9, Key: "k/0", Value: "v3", Created: 9, Version: 1})
		}},
		{"a write of the last window is applied again", "I2", "no call wrote it", func(_, r *history.Run) {
			r.Truth = append(r.Truth, history.Event{Revision: 9, Key: "k/0", Value: "v1", Created: 9, Version: 1})
		}},
		{"a write that was refused before is applied", "I2", "no call wrote it", func(first, r *history.Run) {
			first.Calls[2].Fate = history.NotApplied
			r.Before = After(first)
		}},
		{"a key of before is deleted by nobody", "I2", "more than calls account for", func(_, r *history.Run) { r.Calls = r.Calls[:1] }},
		{"the first event of the window is missing", "I4", "missed revision 5", func(_, r *history.Run) {
			r.Watches[0].Responses = r.Watches[0].Responses[1:]
		}},
		{"an event of the last window comes again", "I4", "before its start", func(_, r *history.Run) {
			w := r.Watches[0]
			w.Responses = slices.Insert(w.Responses, 0, history.Response{Revision: 4, Events: []history.Event{{Revision: 2, Key: "k/0", Value: "v1", Created: 2, Version: 1}}})
		}},
		{"a wrong value of before", "I3", "previous value", func(_, r *history.Run) { r.Watches[0].Responses[0].Events[0].Prev = "v0" }},
		{"compacted behind what it knew", "I4", "reported compaction", func(_, r *history.Run) {
			r.Before.Compacted = 4
			w := r.Watches[0]
			w.Error, w.Compacted, w.Responses = "compacted", 3, nil
		}},
		{"a lease of before is lost in silence", "I5", "was reported", func(_, r *history.Run) { r.Leases[0].Lost = 0 }},
		{"a lease of before is lost without a fault", "I5", "without a cause", func(_, r *history.Run) { r.Faults = nil }},
	} {
		t.Run(bad.name, func(t *testing.T) {
			first, second := windows()
			bad.spoil(first, second)
			f := verdicts(second)[bad.breaks]
			if !slices.ContainsFunc(f.Violations, func(v Violation) bool { return strings.Contains(v.Text, bad.says) }) {
				t.Errorf("none of %s says %q: %+v", bad.breaks, bad.says, f.Violations)
			}
		})
	}
}

// A watch without responses for long may find its revision compacted.
func TestCompactedBetweenWindows(t *testing.T) {
	_, second := windows()
	second.Before.Compacted = 4
	w := second.Watches[0]
	w.Error, w.Compacted, w.Responses = "compacted", 4, nil
	if f := verdicts(second)["I4"]; f.Count != 0 {
		t.Errorf("I4 is broken: %+v", f.Violations)
	}
}

// A lease revoked by its user does not count as lost.
func TestRevoked(t *testing.T) {
	_, second := windows()
	second.Leases[0].Lost, second.Leases[0].Revoked = 0, 1900*ms
	if f := verdicts(second)["I5"]; f.Count != 0 {
		t.Errorf("I5 is broken: %+v", f.Violations)
	}
	second.Leases[0].Revoked = 2001 * ms // after the deletion
	if f := verdicts(second)["I5"]; f.Count != 1 {
		t.Error("a loss before the revocation is nothing")
	}
}

func TestSplit(t *testing.T) {
	events := func(revisions ...int64) (of []history.Event) {
		for _, r := range revisions {
			of = append(of, history.Event{Revision: r})
		}
		return of
	}
	at := func(responses []history.Response) (of []int64) {
		for _, r := range responses {
			for _, e := range r.Events {
				of = append(of, e.Revision)
			}
			if r.Progress {
				of = append(of, -r.Revision)
			}
		}
		return of
	}
	all := []history.Response{
		{Revision: 3, Events: events(2, 3)}, {Revision: 3, Progress: true}, {Revision: 6, Events: events(4, 5, 5, 6)}, {Revision: 7, Progress: true},
	}
	for _, x := range []struct {
		behind        int64
		before, after []int64
	}{
		{1, nil, []int64{2, 3, -3, 4, 5, 5, 6, -7}},
		{3, []int64{2, 3, -3}, []int64{4, 5, 5, 6, -7}},
		{5, []int64{2, 3, -3, 4, 5, 5}, []int64{6, -7}},
		{6, []int64{2, 3, -3, 4, 5, 5, 6}, []int64{-7}},
		{9, []int64{2, 3, -3, 4, 5, 5, 6, -7}, nil},
	} {
		before, after := Split(all, x.behind)
		if !slices.Equal(at(before), x.before) || !slices.Equal(at(after), x.after) {
			t.Errorf("behind %d: %v and %v", x.behind, at(before), at(after))
		}
	}
}

func TestAdd(t *testing.T) {
	many := Finding{Invariant: "I3", Checked: 30}
	for range 15 {
		many.broken(0, "missed")
	}
	sum := Add(Add(nil, []Finding{many, {Invariant: "I4", Checked: 2}}), []Finding{many})
	if len(sum) != 2 || sum[0].Checked != 60 || sum[0].Count != 30 || len(sum[0].Violations) != kept || sum[1].Checked != 2 {
		t.Errorf("%+v", sum)
	}
}
