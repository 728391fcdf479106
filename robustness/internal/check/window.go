package check

import (
	"cmp"
	"slices"

	"silly.store/etcd/robustness/internal/history"
)

// After returns the state that the next window takes over. The last event of the
// truth ends this window.
//
// A write of unknown outcome without a visible effect is taken over once: an effect
// after the next window counts as invented.
func After(r *history.Run) *history.Before {
	t, _ := newTruth(r)
	b := &history.Before{Revision: t.last, Faults: r.Faults}
	there := make(map[string]bool)
	for key, of := range t.keys {
		if e := t.events[of[len(of)-1]]; !e.Delete {
			b.Keys = append(b.Keys, e)
			there[key] = true
		}
	}
	slices.SortFunc(b.Keys, func(x, y history.Event) int {
		return cmp.Or(cmp.Compare(x.Revision, y.Revision), cmp.Compare(x.Key, y.Key))
	})
	for i := range r.Calls {
		c := &r.Calls[i]
		if c.Fate == history.Unknown && c.Kind != history.Get && len(t.values[c.Value]) == 0 {
			b.Calls = append(b.Calls, *c)
		}
	}
	for _, l := range r.Leases {
		if l.Lost != 0 || l.Revoked != 0 {
			b.Leases = append(b.Leases, l)
		}
	}
	if r.Before != nil {
		for _, l := range r.Before.Leases {
			if there[l.Key] {
				b.Leases = append(b.Leases, l)
			}
		}
	}
	return b
}

// Split cuts a watch's deliveries after a revision: later ones belong to the next
// window.
func Split(responses []history.Response, revision int64) (before, after []history.Response) {
	for i, resp := range responses {
		if resp.Progress && resp.Revision > revision {
			return responses[:i:i], responses[i:]
		}
		n := slices.IndexFunc(resp.Events, func(e history.Event) bool { return e.Revision > revision })
		if n < 0 {
			continue
		}
		before = responses[:i:i]
		if n > 0 {
			head := resp
			head.Events = resp.Events[:n:n]
			before = append(before, head)
		}
		resp.Events = resp.Events[n:]
		return before, slices.Concat([]history.Response{resp}, responses[i+1:])
	}
	return responses, nil
}

// Add adds the findings of a window to those of the windows before it.
func Add(sum, more []Finding) []Finding {
	for _, f := range more {
		i := slices.IndexFunc(sum, func(s Finding) bool { return s.Invariant == f.Invariant })
		if i < 0 {
			sum = append(sum, Finding{Invariant: f.Invariant})
			i = len(sum) - 1
		}
		s := &sum[i]
		s.Checked += f.Checked
		s.Count += f.Count
		s.Violations = append(s.Violations, f.Violations[:min(len(f.Violations), kept-len(s.Violations))]...)
	}
	return sum
}
