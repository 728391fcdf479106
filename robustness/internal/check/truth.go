package check

import (
	"slices"
	"sort"
	"strings"

	"silly.store/etcd/robustness/internal/history"
)

// truth is the history of all keys as the oracles saw it.
type truth struct {
	events []history.Event  // events taken over, then those of the run
	taken  int              // how many were taken over
	began  int64            // the last revision before the run
	prev   []string         // per event: the previous value, "" if there was no key
	keys   map[string][]int // the events of each key, by index
	values map[string][]int // the run's events that put a value, by index
	writes map[int64]int    // revision → its first event
	last   int64            // revision
}

// newTruth replays the events and checks each against those before it.
func newTruth(r *history.Run) (*truth, Finding) {
	f := Finding{Invariant: Truth, Checked: len(r.Truth)}
	for _, text := range r.OracleFaults {
		f.broken(0, "%s", text)
	}
	t := &truth{
		events: r.Truth, began: 1,
		keys: make(map[string][]int), values: make(map[string][]int), writes: make(map[int64]int),
	}
	if b := r.Before; b != nil {
		t.events, t.taken, t.began = slices.Concat(b.Keys, r.Truth), len(b.Keys), b.Revision
	}
	t.prev, t.last = make([]string, len(t.events)), t.began
	for i := range t.events[:t.taken] {
		t.keys[t.events[i].Key] = []int{i}
	}
	for i := t.taken; i < len(t.events); i++ {
		e := &t.events[i]
		switch {
		case e.Revision == t.last+1:
			t.writes[e.Revision] = i
		case e.Revision != t.last:
			f.broken(e.At, "revision %d follows on %d", e.Revision, t.last)
			t.writes[e.Revision] = i
		}
		t.last = e.Revision
		t.follow(i, &f)
		t.keys[e.Key] = append(t.keys[e.Key], i)
		if !e.Delete {
			t.values[e.Value] = append(t.values[e.Value], i)
		}
	}
	return t, f
}

// follow checks event i against its key's previous one.
func (t *truth) follow(i int, f *Finding) {
	e := &t.events[i]
	var before history.Event
	if of := t.keys[e.Key]; len(of) > 0 {
		before = t.events[of[len(of)-1]]
	}
	exists := before.Revision > 0 && !before.Delete
	switch {
	case e.Delete && !exists:
		f.broken(e.At, "revision %d deletes %q, which did not exist", e.Revision, e.Key)
	case e.Delete:
		t.prev[i] = before.Value
	case exists:
		t.prev[i] = before.Value
		if e.Created != before.Created || e.Version != before.Version+1 {
			f.broken(e.At, "revision %d puts %q with version %d after %d", e.Revision, e.Key, e.Version, before.Version)
		}
	case e.Created != e.Revision || e.Version != 1:
		f.broken(e.At, "revision %d creates %q with create revision %d and version %d", e.Revision, e.Key, e.Created, e.Version)
	}
}

// initial returns a key's value before the run, "" if there was no key.
func (t *truth) initial(key string) string {
	if e := t.at(key, t.began); e != nil {
		return e.Value
	}
	return ""
}

// at returns the last event of a key up to a revision; nil if there is none.
func (t *truth) at(key string, revision int64) *history.Event {
	of := t.keys[key]
	i := sort.Search(len(of), func(i int) bool { return t.events[of[i]].Revision > revision })
	if i == 0 {
		return nil
	}
	return &t.events[of[i-1]]
}

// from returns the index of the first event of a revision or a later one.
func (t *truth) from(revision int64) int {
	return sort.Search(len(t.events), func(i int) bool { return t.events[i].Revision >= revision })
}

// under returns the last event of each key with a prefix that exists at a revision,
// in the order of the keys.
func (t *truth) under(prefix string, revision int64) []*history.Event {
	var there []*history.Event
	for key := range t.keys {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if e := t.at(key, revision); e != nil && !e.Delete {
			there = append(there, e)
		}
	}
	sort.Slice(there, func(i, j int) bool { return there[i].Key < there[j].Key })
	return there
}
