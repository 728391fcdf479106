package check

import (
	"slices"
	"strings"

	"silly.store/etcd/robustness/internal/history"
)

// effects is X1. The oracle's events tell how often a value was put.
func effects(r *history.Run, t *truth, f *Finding) {
	for i := range r.Effects {
		e := &r.Effects[i]
		if e.ID == "" || e.Key == "" {
			continue
		}
		f.Checked++
		of := t.values[e.ID]
		switch {
		case len(of) > 1:
			f.broken(e.Began, "%q was put %d times to %q; it was reported as %v", e.ID, len(of), e.Key, e.Fate)
		case e.Fate == history.Done && len(of) == 0:
			f.broken(e.Began, "%q was reported as put to %q, and is nowhere", e.ID, e.Key)
		case e.Fate == history.NotApplied && len(of) > 0:
			f.broken(e.Began, "%q was reported as not applied, and revision %d puts it to %q (%s)", e.ID, t.events[of[0]].Revision, e.Key, e.Error)
		case e.Fate == history.Done && t.events[of[0]].Revision != e.Revision:
			f.broken(e.Began, "%q was put at %d, and reported at %d", e.ID, t.events[of[0]].Revision, e.Revision)
		}
	}
}

// numbers is S2.
func numbers(r *history.Run, _ *truth, f *Finding) {
	type number struct {
		of string
		n  int64
	}
	seen := make(map[number]*history.Effect)
	for i := range r.Effects {
		e := &r.Effects[i]
		if e.Sequence == "" || e.Fate != history.Done {
			continue
		}
		f.Checked++
		n := number{e.Sequence, e.Number}
		if other := seen[n]; other != nil {
			f.broken(e.Began, "%d was given to processes %d and %d", e.Number, other.Process, e.Process)
		}
		seen[n] = e
	}
}

// serializable is S1, over lists that transactions append to. The last value of each list
// orders the transactions that have appended to it; what a transaction has read of another
// list puts it between two of that. All these orders together must have no circle, and none
// of them may turn real time around.
func serializable(r *history.Run, t *truth, f *Finding) {
	s := &serial{f: f, by: make(map[string]*history.Effect), lists: make(map[string][]string), after: make(map[string][]string)}
	for i := range r.Effects {
		if e := &r.Effects[i]; e.ID != "" && e.Key == "" {
			s.by[e.ID] = e
			f.Checked++
		}
	}
	for key, of := range t.keys {
		if strings.HasPrefix(key, history.Exact+"list/") {
			s.lists[key] = strings.Fields(t.events[of[len(of)-1]].Value)
		}
	}
	s.count()
	for key, ids := range s.lists {
		for i := 1; i < len(ids); i++ {
			s.edge(key, ids[i-1], ids[i])
		}
	}
	for _, e := range s.by {
		if e.Fate != history.NotApplied && s.appended(e) {
			s.read(e)
		}
	}
	s.circles()
}

type serial struct {
	f     *Finding
	by    map[string]*history.Effect
	lists map[string][]string // their last values
	after map[string][]string // the transactions that come after one
}

// count holds what was reported of each transaction against the lists.
func (s *serial) count() {
	for _, e := range s.by {
		for _, key := range e.Appended {
			n := 0
			for _, id := range s.lists[key] {
				if id == e.ID {
					n++
				}
			}
			switch {
			case n > 1, n == 1 && e.Fate == history.NotApplied, n == 0 && e.Fate == history.Done:
				s.f.broken(e.Began, "%q is %d times in %q; it was reported as %v", e.ID, n, key, e.Fate)
			case n == 0 != !s.appended(e):
				s.f.broken(e.Began, "%q was appended to a part of %q", e.ID, e.Appended)
			}
		}
	}
}

func (s *serial) appended(e *history.Effect) bool {
	return len(e.Appended) > 0 && slices.Contains(s.lists[e.Appended[0]], e.ID)
}

// read holds what a transaction has read against the lists, and orders it by that.
func (s *serial) read(e *history.Effect) {
	for _, l := range e.Reads {
		ids := s.lists[l.Key]
		n := len(l.IDs)
		if n > len(ids) || !slices.Equal(ids[:n], l.IDs) {
			s.f.broken(e.Began, "%q has read %d entries of %q that never were its beginning", e.ID, n, l.Key)
			continue
		}
		if n > 0 {
			s.edge(l.Key, ids[n-1], e.ID)
		}
		if n < len(ids) && ids[n] != e.ID {
			s.edge(l.Key, e.ID, ids[n])
		}
	}
}

// edge notes that a comes before b.
func (s *serial) edge(key, a, b string) {
	s.after[a] = append(s.after[a], b)
	if x, y := s.by[a], s.by[b]; x != nil && y != nil && y.Fate == history.Done && y.Ended < x.Began {
		s.f.broken(x.Began, "in %q, %q comes before %q, which had ended before it began", key, a, b)
	}
}

// circles looks for transactions that come before themselves.
func (s *serial) circles() {
	const open, closed = 1, 2
	state := make(map[string]int)
	var visit func(id string) bool
	visit = func(id string) bool {
		state[id] = open
		for _, next := range s.after[id] {
			if state[next] == open || state[next] == 0 && visit(next) {
				return true
			}
		}
		state[id] = closed
		return false
	}
	for id := range s.after {
		if state[id] == 0 && visit(id) {
			s.f.broken(0, "%q is on a circle, or leads to one", id)
		}
	}
}
