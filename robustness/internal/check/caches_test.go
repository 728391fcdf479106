package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// goodCache returns a history of two caches and a subscription that breaks nothing.
func goodCache() *history.Run {
	put := func(revision, created, version int64, key, value string) history.Event {
		return history.Event{Revision: revision, Key: key, Value: value, Created: created, Version: version, At: revision * 10 * ms}
	}
	a2, b3, a4 := put(2, 2, 1, "w/a", "v2"), put(3, 3, 1, "w/b", "v3"), put(4, 2, 2, "w/a", "v4")
	b5 := history.Event{Revision: 5, Key: "w/b", Delete: true, At: 50 * ms}
	b6, c6 := put(6, 6, 1, "w/b", "v6"), put(6, 6, 1, "w/c", "v6")
	end := put(7, 7, 1, Own+"end", "end")
	read := func(f history.Freshness, key string, began, revision int64, pairs ...history.Event) history.CacheRead {
		return history.CacheRead{
			Cache: 1, Fresh: history.Fresh{Freshness: f}, Key: key, Began: began * ms, Ended: (began + 2) * ms,
			Deadline: (began + 9) * ms, Revision: revision, Pairs: pairs,
		}
	}
	peek := read(history.Peek, "w/a", 41, 4, a2)
	peek.Before = 3
	all := read(history.Linearizable, "w/", 46, 4, a4, b3)
	all.Prefix = true
	within := read(history.Within, "w/b", 57, 5)
	within.Age = 10 * time.Millisecond
	least := read(history.AtLeast, "w/b", 62, 6, b6)
	least.Least = 6
	exact := read(history.AtRevision, "w/a", 66, 3, a2)
	exact.Least = 3
	server := read(history.Linearizable, "w/c", 70, 6, c6)
	server.Cache, server.FromServer = 2, true
	behind := read(history.Local, "w/c", 75, 5)
	behind.Cache = 2
	failed := read(history.Linearizable, "w/c", 80, 0)
	failed.Error = "no leader"
	call := history.Call{Kind: history.Put, Key: "w/a", Value: "v4", Began: 39 * ms, Ended: 45 * ms, Revision: 4}
	change := func(old, now *history.Event) history.CacheChange { return history.CacheChange{Old: old, New: now} }
	return &history.Run{
		Judged: []string{"C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9"}, Took: 9 * time.Second,
		Calls: []history.Call{call},
		Truth: []history.Event{a2, b3, a4, b5, b6, c6, end},
		Reads: []history.CacheRead{read(history.Local, "w/a", 30, 3, a2), peek, all, within, least, exact, server, behind, failed},
		Subscribers: []*history.Subscriber{{
			Cache: 1, Prefix: "w/", Final: 6,
			Updates: []history.CacheUpdate{
				{At: 31 * ms, Revision: 3, First: true, Changes: []history.CacheChange{change(nil, &a2), change(nil, &b3)}},
				{At: 61 * ms, Revision: 6, Changes: []history.CacheChange{change(&a2, &a4), change(&b3, nil), change(nil, &b6), change(nil, &c6)}},
			},
		}},
		Catches: []history.Catch{{Cache: 1, After: "a cut", Began: ms, Ended: 900 * ms, Wanted: 6, Revision: 6}},
		Usage: []history.Usage{
			{What: "bytes", Invariant: "C8", After: 5, Most: 10},
			{What: "watchers", Invariant: "C9", Before: 3, After: 3, Most: 3},
		},
	}
}

func TestGoodCache(t *testing.T) {
	for _, f := range verdicts(goodCache()) {
		if f.Count > 0 || f.Checked == 0 {
			t.Errorf("%s: %d checked, %v", f.Invariant, f.Checked, f.Violations)
		}
	}
}

func TestBadCache(t *testing.T) {
	for _, bad := range []struct {
		name, breaks, says string
		spoil              func(r *history.Run)
	}{
		{"an old value", "C1", "at revision 6 with nothing", func(r *history.Run) { r.Reads[4].Pairs = nil }},
		{"a value of another revision", "C1", "of \"w/a\" at revision 3", func(r *history.Run) { r.Reads[0].Pairs = r.Reads[2].Pairs[:1] }},
		{"a pair with a wrong version", "C1", "version 7", func(r *history.Run) { r.Reads[0].Pairs[0].Version = 7 }},
		{"a deleted key", "C1", "of \"w/b\" at revision 5", func(r *history.Run) { r.Reads[3].Pairs = r.Reads[2].Pairs[1:] }},
		{"a revision that there is not", "C1", "the last is 7", func(r *history.Run) { r.Reads[0].Revision = 8 }},
		{"half a range", "C1", "not as many keys", func(r *history.Run) { r.Reads[2].Pairs = r.Reads[2].Pairs[:1] }},
		{"a range of two revisions", "C1", "in place of", func(r *history.Run) { r.Reads[2].Pairs[0] = r.Truth[0] }},
		{"a range out of order", "C1", "not in order", func(r *history.Run) { slices.Reverse(r.Reads[2].Pairs) }},
		{"a peek of what is not there yet", "C1", "of \"w/a\" at revision 3", func(r *history.Run) {
			r.Reads[1].Revision, r.Reads[1].Pairs = 3, r.Reads[2].Pairs[:1]
		}},
		{"a peek of what is gone", "C1", "of \"w/a\" at revision 4", func(r *history.Run) { r.Reads[1].Before = 4 }},
		{"a local read runs backwards", "C2", "at revision 3, and before it one at 6", func(r *history.Run) { r.Reads[0].Began = 65 * ms }},
		{"behind the server's answer", "C2", "before it one at 6", func(r *history.Run) { r.Reads[7].Freshness = history.AtLeast }},
		{"without a write", "C3", "at revision 3, which began when 4", func(r *history.Run) { r.Reads[2].Revision = 3 }},
		{"without what the other cache has told", "C3", "which began when 6", func(r *history.Run) { r.Reads[6].Revision = 5 }},
		{"before the revision", "C4", "at least 6", func(r *history.Run) { r.Reads[4].Revision = 5 }},
		{"after the exact revision", "C4", "exact 3", func(r *history.Run) { r.Reads[5].Revision = 4 }},
		{"older than it may be", "C5", "10ms before the call it was 5", func(r *history.Run) { r.Reads[3].Began = 61 * ms; r.Reads[3].Revision = 4 }},
		{"a change is missing", "C6", "in place of", func(r *history.Run) {
			u := &r.Subscribers[0].Updates[1]
			u.Changes = u.Changes[:3]
		}},
		{"a deletion is missing", "C6", "where there was", func(r *history.Run) {
			u := &r.Subscribers[0].Updates[1]
			u.Changes = slices.Delete(u.Changes, 1, 2)
		}},
		{"an old pair that was not", "C6", "a change from", func(r *history.Run) {
			u := &r.Subscribers[0].Updates[1]
			u.Changes[0].Old = u.Changes[1].Old
		}},
		{"the last state is missing", "C6", "is at revision 3", func(r *history.Run) {
			r.Subscribers[0].Updates = r.Subscribers[0].Updates[:1]
		}},
		{"everything again, without one", "C6", "in place of", func(r *history.Run) {
			u := &r.Subscribers[0].Updates[1]
			u.Again, u.Changes = true, u.Changes[3:]
		}},
		{"a subscription fails", "C6", "ended: why", func(r *history.Run) { r.Subscribers[0].Error = "why" }},
		{"twice the same revision", "C6", "after 6", func(r *history.Run) {
			u := r.Subscribers[0].Updates[1]
			u.Changes = nil
			r.Subscribers[0].Updates = append(r.Subscribers[0].Updates, u)
		}},
		{"late to catch up", "C7", "took 3s", func(r *history.Run) { r.Catches[0].Ended = 3001 * ms }},
		{"never caught up", "C7", "the store is at 6", func(r *history.Run) { r.Catches[0].Revision = 5 }},
		{"nobody has looked", "C7", "nobody has looked", func(r *history.Run) { r.Catches = nil }},
		{"late to fail", "C7", "after its deadline", func(r *history.Run) { r.Reads[8].Ended = 200 * ms }},
		{"too many bytes", "C8", "at most 10", func(r *history.Run) { r.Usage[0].After = 11 }},
		{"a watch is left", "C9", "at most 3", func(r *history.Run) { r.Usage[1].After = 4 }},
	} {
		t.Run(bad.name, func(t *testing.T) {
			r := goodCache()
			bad.spoil(r)
			f := verdicts(r)[bad.breaks]
			if !slices.ContainsFunc(f.Violations, func(v Violation) bool { return strings.Contains(v.Text, bad.says) }) {
				t.Errorf("none says %q: %+v", bad.says, f.Violations)
			}
		})
	}
}

// Time in which the machine did not run is no delay of a cache.
func TestCacheExcuse(t *testing.T) {
	r := goodCache()
	r.Catches[0].Ended, r.Reads[8].Ended = 3001*ms, 200*ms
	r.Pauses = []history.Pause{{From: ms, To: 1100 * ms}}
	for _, f := range verdicts(r) {
		if f.Count > 0 {
			t.Errorf("%s: %v", f.Invariant, f.Violations)
		}
	}
}
