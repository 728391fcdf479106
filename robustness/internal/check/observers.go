package check

import (
	"strings"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// observers is L7.
func observers(r *history.Run, t *truth, f *Finding) {
	terms := make(map[string]*history.Lock)
	for i := range r.Locks {
		l := &r.Locks[i]
		if l.Granted == 0 || l.Token == 0 || l.Recipe != history.Leadership && l.Recipe != history.LeaderRun {
			continue
		}
		f.Checked++
		id := l.Key + " " + time.Duration(l.Token).String()
		if other := terms[id]; other != nil {
			f.brokenBy(bothOf(f, other.Client, l.Client), l.Granted, "%q: processes %d and %d lead in the term %d", l.Name, other.Process, l.Process, l.Token)
		}
		terms[id] = l
	}
	proclaimed(r, t, f)
	sequences := make(map[string]leaders)
	for i := range r.Leaders {
		o := &r.Leaders[i]
		seq, ok := sequences[o.Name]
		if !ok {
			seq = leadersOf(t, o.Name)
			sequences[o.Name] = seq
		}
		observed(o, seq, f)
	}
}

// proclaimed checks that no value was proclaimed twice: a late copy of an earlier request
// would undo a later one.
func proclaimed(r *history.Run, t *truth, f *Finding) {
	names := make(map[string]bool)
	for i := range r.Locks {
		if l := &r.Locks[i]; l.Recipe == history.Leadership {
			names[l.Name] = true
		}
	}
	for value, of := range t.values {
		last := &t.events[of[len(of)-1]]
		if slash := strings.LastIndexByte(last.Key, '/'); slash < 0 || !names[last.Key[:slash]] || value == "" {
			continue
		}
		f.Checked++
		if len(of) > 1 && last.Version > 1 {
			f.broken(last.At, "the value %q was put to %q %d times, at last at revision %d", value, last.Key, len(of), last.Revision)
		}
	}
}

// leaders are an election's, one state per change.
type leaders []history.Leader

// leadersOf returns the sequence of an election's leaders: after each revision, the
// contender with the lowest create revision leads.
func leadersOf(t *truth, name string) leaders {
	seq := leaders{{}}
	there := make(map[string]*history.Event)
	for i := 0; i < len(t.events); {
		revision, touched := t.events[i].Revision, i < t.taken
		for ; i < len(t.events) && t.events[i].Revision == revision; i++ {
			e := &t.events[i]
			rest, ok := strings.CutPrefix(e.Key, name+"/")
			if !ok || strings.Contains(rest, "/") {
				continue
			}
			touched = true
			if e.Delete {
				delete(there, e.Key)
			} else {
				there[e.Key] = e
			}
		}
		if touched {
			seq = seq.then(revision, there)
		}
	}
	return seq
}

// then appends the state after a revision, if it is another one.
func (seq leaders) then(revision int64, there map[string]*history.Event) leaders {
	var first *history.Event
	for _, e := range there {
		if first == nil || e.Created < first.Created || e.Created == first.Created && e.Key < first.Key {
			first = e
		}
	}
	now := history.Leader{Revision: revision}
	if first != nil {
		now = history.Leader{Revision: revision, Present: true, Key: first.Key, Value: first.Value, Term: first.Created}
	}
	if last := seq[len(seq)-1]; last.Same(&now) {
		return seq
	}
	return append(seq, now)
}

// between returns the states that held somewhere from one revision to another.
func (seq leaders) between(from, to int64) leaders {
	first := 0
	for i := range seq {
		if seq[i].Revision <= from {
			first = i
		}
	}
	last := first
	for last+1 < len(seq) && seq[last+1].Revision <= to {
		last++
	}
	return seq[first : last+1]
}

// observed checks what one observer received.
func observed(o *history.Observed, seq leaders, f *Finding) {
	for i := range o.States {
		s := &o.States[i]
		f.Checked++
		right := false
		for _, x := range seq.between(s.Since, s.Revision) {
			right = right || x.Same(s)
		}
		if !right {
			f.brokenBy(o.Client, s.At, "an observer of %q (%s) received that at revision %d the leader is %q with the term %d and the value %q, which is wrong",
				o.Name, o.Client, s.Revision, s.Key, s.Term, s.Value)
		}
		if i == 0 {
			continue
		}
		switch last := &o.States[i-1]; {
		case s.Revision < last.Revision:
			f.brokenBy(o.Client, s.At, "an observer of %q (%s) received revision %d after %d", o.Name, o.Client, s.Revision, last.Revision)
		case s.Same(last):
			f.brokenBy(o.Client, s.At, "an observer of %q (%s) received twice that the leader has the term %d and the value %q", o.Name, o.Client, s.Term, s.Value)
		}
	}
	f.Checked++
	if o.Error != "" {
		f.brokenBy(o.Client, 0, "an observer of %q (%s) ended: %s", o.Name, o.Client, o.Error)
		return
	}
	if !o.Final {
		return
	}
	truth := seq[len(seq)-1]
	var last history.Leader
	if n := len(o.States); n > 0 {
		last = o.States[n-1]
	}
	if !truth.Same(&last) {
		f.brokenBy(o.Client, last.At, "the last state that an observer of %q (%s) received is the term %d (leader: %v); it is %d (leader: %v)",
			o.Name, o.Client, last.Term, last.Present, truth.Term, truth.Present)
	}
}
