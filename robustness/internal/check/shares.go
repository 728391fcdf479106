package check

import (
	"cmp"
	"slices"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// shares is L4.
func shares(r *history.Run, t *truth, f *Finding) {
	for _, of := range holdings(r, history.WriteLock, history.ReadLock, history.Semaphore) {
		together(r, of, f)
	}
	rounds(r, t, f)
	leavings(r, t, f)
}

// together checks the holdings of one name, in the order of their begin.
func together(r *history.Run, of []holding, f *Finding) {
	var now []holding
	for _, h := range of {
		f.Checked++
		now = slices.DeleteFunc(now, func(other holding) bool { return !overlap(other, h) })
		sum := h.Weight
		for _, other := range now {
			sum += other.Weight
			alone := h.Recipe == history.WriteLock || other.Recipe == history.WriteLock
			if alone && !excusable(r, h.Granted, other.to) {
				f.broken(h.Granted, "%q: a %v was granted to process %d (%s) while process %d (%s) had a %v",
					h.Name, h.Recipe, h.Process, h.Client, other.Process, other.Client, other.Recipe)
			}
		}
		if h.Recipe == history.Semaphore && sum > h.Limit && !excusable(r, h.Granted, h.Granted) {
			f.broken(h.Granted, "%q: the holders weigh %d, and the limit is %d", h.Name, sum, h.Limit)
		}
		now = append(now, h)
	}
}

// rounds checks double barriers: nobody passes before as many are there as a round has. The
// keys that have got the round's mark with its own say it exactly: also a participant that has
// given up counts, until its key is deleted. Where there is no mark the calls say it: one that
// has left is there until the others of its round have.
func rounds(r *history.Run, t *truth, f *Finding) {
	by := make(map[string][]*history.Lock)
	for i := range r.Locks {
		if l := &r.Locks[i]; l.Recipe == history.Round && l.Granted != 0 {
			by[l.Name] = append(by[l.Name], l)
		}
	}
	for _, of := range by {
		for _, l := range of {
			f.Checked++
			inside := marked(t, l)
			if inside == 0 {
				inside = callsInside(r, l, of)
			}
			if inside < l.Limit {
				f.broken(l.Granted, "%q: process %d passed when %d of %d were there", l.Name, l.Process, inside, l.Limit)
			}
		}
	}
}

// callsInside is how many calls may have been in the barrier when l passed it; of are those
// that passed.
func callsInside(r *history.Run, l *history.Lock, of []*history.Lock) int {
	n := waiting(r, l)
	for _, other := range of {
		there := other.Freed == 0 || other.Freed >= l.Granted || other.ReleaseError != "" && other.Released >= l.Asked
		if other.Asked <= l.Granted && there {
			n++
		}
	}
	return n
}

// marked is how many keys have got the mark of l's round with its own; 0 if the oracles saw no
// mark.
func marked(t *truth, l *history.Lock) (n int) {
	mark, revision := markOf(t, l)
	if mark == "" {
		return 0
	}
	for i := t.writes[revision]; i < len(t.events) && t.events[i].Revision == revision; i++ {
		if t.events[i].Value == mark {
			n++
		}
	}
	return n
}

// leavings checks that those of a round are as many as it has at most, and that nobody has left
// it before all others have begun to leave, or were lost. The round's mark is what was put to
// the keys of its participants.
func leavings(r *history.Run, t *truth, f *Finding) {
	by := make(map[string][]*history.Lock)
	for i := range r.Locks {
		l := &r.Locks[i]
		if l.Recipe != history.Round || l.Granted == 0 || l.Key == "" {
			continue
		}
		if mark, _ := markOf(t, l); mark != "" {
			by[l.Name+" "+mark] = append(by[l.Name+" "+mark], l)
		}
	}
	hands := handsByKey(r)
	for _, of := range by {
		for _, l := range of {
			f.Checked++
			if len(of) > l.Limit {
				f.broken(l.Granted, "%q: process %d is in a round of %d, which must have %d", l.Name, l.Process, len(of), l.Limit)
			}
			if l.Freed == 0 || l.ReleaseError != "" || l.Lost {
				continue
			}
			for _, other := range of {
				end := earliest(other.Gone, other.Released)
				deleted := slices.ContainsFunc(hands[other.Key], func(at int64) bool { return other.Asked <= at && at <= l.Freed })
				if other != l && (end == 0 || end > l.Freed) && !deleted && !excusable(r, l.Freed, end) {
					f.broken(l.Freed, "%q: process %d has left the round while process %d was in it", l.Name, l.Process, other.Process)
				}
			}
		}
	}
}

// markOf is the value that was put to a participant's key when its round began, and at which
// revision; "" if the oracles do not tell which of the key's lives was this participant's.
func markOf(t *truth, l *history.Lock) (mark string, revision int64) {
	created := int64(0)
	for _, i := range t.keys[l.Key] {
		switch e := &t.events[i]; {
		case e.Delete:
		case e.Version == 1 && e.At >= l.Asked && e.At <= l.Granted:
			created, mark = e.Created, ""
		case e.Version == 2 && e.Created == created:
			mark, revision = e.Value, e.Revision
		}
	}
	return mark, revision
}

// waiting counts the attempts to enter that had not been answered when l passed, or that
// gave up only later: their keys may have counted.
func waiting(r *history.Run, l *history.Lock) int {
	n := 0
	for i := range r.Locks {
		o := &r.Locks[i]
		if o.Recipe == history.Round && o.Name == l.Name && o.Granted == 0 && o.Asked <= l.Granted && o.Refused >= l.Asked {
			n++
		}
	}
	return n
}

// span is a time.
type span struct{ from, to int64 }

// liveness is L6.
func liveness(r *history.Run, _ *truth, f *Finding) {
	busy := make(map[string][]span)
	for i := range r.Locks {
		l := &r.Locks[i]
		if l.Granted != 0 {
			end := l.Freed
			if end == 0 {
				end = l.Gone
			}
			busy[l.Name] = append(busy[l.Name], span{l.Granted, end})
		}
	}
	for i := range r.Locks {
		l := &r.Locks[i]
		f.Checked++
		inTime(r, f, l, l.Asked, max(l.Granted, l.Refused), l.Deadline, "the attempt to get")
		if l.Released != 0 {
			inTime(r, f, l, l.Released, l.Freed, l.Until, "the release of")
		}
		if l.Recipe == history.Round {
			continue // may wait for participants
		}
		for _, free := range idle(r, span{l.Asked, max(l.Granted, l.Refused)}, busy[l.Name]) {
			most := promptly + r.LockTTL
			if long := time.Duration(free.to - free.from); long > most+excused(r, free.from, free.to) {
				f.brokenBy(l.Client, free.to, "process %d (%s) waited for the %v %q for %v while nobody held it", l.Process, l.Client, l.Recipe, l.Name, long)
			}
		}
	}
}

// inTime checks the deadline of a call; 0 if it had none. A process that is suspended cannot
// keep it.
func inTime(r *history.Run, f *Finding, l *history.Lock, began, ended, deadline int64, what string) {
	suspended := func(x history.Fault) bool { return x.Suspends && covers(x, deadline, ended) }
	if deadline == 0 || slices.ContainsFunc(r.Faults, suspended) {
		return
	}
	if late := time.Duration(ended - deadline); late > lateness && late > lateness+excused(r, deadline-int64(backlog), ended) {
		f.brokenBy(l.Client, ended, "%s %q, begun at %v, ended %v after its deadline", what, l.Name, time.Duration(began), late)
	}
}

// idle returns the parts of a wait in which nobody held the name and no fault kept anybody
// from getting it.
func idle(r *history.Run, wait span, busy []span) []span {
	var cuts []span
	cuts = append(cuts, busy...)
	for _, x := range r.Faults {
		if !x.Harmless {
			cuts = append(cuts, span{x.From, x.To})
		}
	}
	slices.SortFunc(cuts, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var free []span
	at := wait.from
	for _, c := range cuts {
		if c.from > at && at < wait.to {
			free = append(free, span{at, min(c.from, wait.to)})
		}
		if c.to == 0 {
			return free // without end
		}
		at = max(at, c.to)
	}
	if at < wait.to {
		free = append(free, span{at, wait.to})
	}
	return free
}
