package check

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

const (
	// told is how long after somebody else's deletion of its key a holder may learn of it.
	told = 2500 * time.Millisecond
	// promptly is how long a lock that nobody holds may take to be granted, besides the
	// leases' TTL: a former holder may be dead.
	promptly = 2 * time.Second
)

// grants counts the attempts that succeeded.
func grants(r *history.Run) int {
	n := 0
	for i := range r.Locks {
		if r.Locks[i].Granted != 0 {
			n++
		}
	}
	return n
}

// holding is the time in which a contender believed that it held. to is 0 if it has no end.
type holding struct {
	*history.Lock
	to int64
}

// holdings returns each name's holdings in the order of their begin. Those end with the
// holder's context, with the call that releases, or with the hand that deletes the key: what
// becomes of that is asked separately.
func holdings(r *history.Run, recipes ...history.Recipe) map[string][]holding {
	hands := handsByKey(r)
	by := make(map[string][]holding)
	for i := range r.Locks {
		l := &r.Locks[i]
		if l.Granted == 0 || !slices.Contains(recipes, l.Recipe) {
			continue
		}
		h := holding{l, earliest(l.Gone, l.Released)}
		for _, at := range hands[l.Key] {
			if at >= l.Asked {
				h.to = earliest(h.to, at)
			}
		}
		if h.to == 0 || h.to > l.Granted {
			by[l.Name] = append(by[l.Name], h)
		}
	}
	for _, of := range by {
		slices.SortFunc(of, func(a, b holding) int { return cmp.Compare(a.Granted, b.Granted) })
	}
	return by
}

// handsByKey returns when somebody deleted each key.
func handsByKey(r *history.Run) map[string][]int64 {
	by := make(map[string][]int64)
	for _, h := range r.Hands {
		by[h.Key] = append(by[h.Key], h.At)
	}
	return by
}

// earliest returns the lower of two times; 0 is none.
func earliest(a, b int64) int64 {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	}
	return min(a, b)
}

// bothOf is whom a violation is counted for that two contenders had part in: the client of
// both, or that whose run it is.
func bothOf(f *Finding, a, b string) string {
	if a == b {
		return a
	}
	return f.client
}

// overlap reports whether two holdings do, the second having begun later.
func overlap(a, b holding) bool { return a.to == 0 || b.Granted < a.to }

// excusable reports whether a holder could not know in time that it had lost its lock: when the
// other one was granted, its process was suspended or a former leader had revoked its lease, and
// it learned of that soon after the fault. to is the end of its holding.
func excusable(r *history.Run, granted, to int64) bool {
	for _, x := range r.Faults {
		if x.Overlaps && covers(x, granted, to) {
			return true
		}
	}
	return false
}

// covers reports whether both moments are during a fault or soon after it.
func covers(x history.Fault, from, to int64) bool {
	over := x.To + int64(told)
	return x.From <= from && from <= over && to != 0 && to <= over
}

// exclusion is L2.
func exclusion(r *history.Run, t *truth, f *Finding) {
	for _, of := range holdings(r, history.Mutex, history.Leadership, history.LeaderRun) {
		var last holding // of those seen, the one that ends last
		for _, h := range of {
			f.Checked++
			if last.Lock != nil && overlap(last, h) && !excusable(r, h.Granted, last.to) {
				f.brokenBy(bothOf(f, last.Client, h.Client), h.Granted, "%q was granted to process %d (%s, token %d) while process %d (%s, token %d) held it from %v to %v",
					h.Name, h.Process, h.Client, h.Token, last.Process, last.Client, last.Token, time.Duration(last.Granted), time.Duration(last.to))
			}
			if last.Lock == nil || last.to != 0 && (h.to == 0 || h.to > last.to) {
				last = h
			}
		}
	}
	notices(r, f)
	for i := range r.Locks {
		l := &r.Locks[i]
		if l.Recipe != history.LeaderRun && unaware(l, t) {
			f.brokenBy(l.Client, l.Freed, "%q (%s, token %d) was released without an error, but its key had been deleted before", l.Name, l.Client, l.Token)
		}
		plain := l.Recipe == history.Mutex || l.Recipe == history.Leadership || l.Recipe == history.LeaderRun
		if plain && hollow(l, t) {
			f.brokenBy(l.Client, l.Granted, "%q (%s, token %d) was granted, but its key had been deleted while others were before it", l.Name, l.Client, l.Token)
		}
	}
}

// notices checks that holders whose keys were deleted by somebody learn of it.
func notices(r *history.Run, f *Finding) {
	for _, hand := range r.Hands {
		for i := range r.Locks {
			l := &r.Locks[i]
			if l.Key != hand.Key || l.Granted == 0 || l.Granted > hand.At || l.Freed != 0 && l.Released <= hand.At {
				continue
			}
			f.Checked++
			end := earliest(l.Gone, l.Released)
			if late := time.Duration(end - hand.At); end == 0 || late > told+excused(r, hand.At, end) {
				f.brokenBy(l.Client, hand.At, "the key of %q (%s, token %d) was deleted, and its holder was not told within %v", l.Name, l.Client, l.Token, late)
			}
		}
	}
}

// unaware reports whether a release succeeded although the lock had been lost before, and
// nobody has told the holder.
func unaware(l *history.Lock, t *truth) bool {
	if l.Granted == 0 || l.Key == "" || l.Token == 0 || l.Released == 0 || l.ReleaseError != "" || l.Lost || l.Gone != 0 && l.Gone < l.Released {
		return false
	}
	for _, i := range t.keys[l.Key] {
		if e := &t.events[i]; e.Delete && e.Revision > l.Token {
			return e.At < l.Released // the first deletion after the creation
		}
	}
	return false
}

// hollow reports whether a contender was granted what it could not get: its key was gone
// while others were still before it.
func hollow(l *history.Lock, t *truth) bool {
	if l.Granted == 0 || l.Token == 0 {
		return false
	}
	for _, i := range t.keys[l.Key] {
		e := &t.events[i]
		if !e.Delete || e.Revision <= l.Token {
			continue
		}
		if e.At >= l.Granted {
			return false
		}
		return slices.ContainsFunc(t.under(l.Name+"/", e.Revision), func(other *history.Event) bool {
			return other.Created < l.Token && strings.Count(other.Key, "/") == strings.Count(l.Key, "/")
		})
	}
	return false
}

// order is L3.
func order(r *history.Run, _ *truth, f *Finding) {
	for _, of := range holdings(r, history.Mutex, history.WriteLock, history.Leadership, history.LeaderRun) {
		var last holding
		for _, h := range of {
			if h.Token == 0 {
				continue
			}
			f.Checked++
			if last.Lock != nil && h.Token <= last.Token && !excusable(r, h.Granted, h.Granted) {
				f.brokenBy(bothOf(f, last.Client, h.Client), h.Granted, "%q was granted to process %d (%s) with the token %d after process %d (%s) with the token %d",
					h.Name, h.Process, h.Client, h.Token, last.Process, last.Client, last.Token)
			}
			last = h
		}
	}
}

// fences is L1.
func fences(r *history.Run, t *truth, f *Finding) {
	keys := make(map[string]string) // by name and token
	id := func(name string, token int64) string { return name + " " + strconv.FormatInt(token, 10) }
	for i := range r.Locks {
		if l := &r.Locks[i]; l.Token != 0 {
			keys[id(l.Name, l.Token)] = l.Key
		}
	}
	written := make(map[string]*history.Fenced)
	for i := range r.Fenced {
		w := &r.Fenced[i]
		written[w.Value] = w
		f.Checked++
		n := len(t.values[w.Value])
		switch {
		case w.Fate == history.Done && n != 1:
			f.brokenBy(w.Client, w.Ended, "a write under %q with the token %d succeeded and was applied %d times", w.Name, w.Token, n)
		case w.Fate == history.NotApplied && n > 0:
			f.brokenBy(w.Client, w.Ended, "a write under %q with the token %d was refused (%s) and applied", w.Name, w.Token, w.Error)
		case n > 1:
			f.brokenBy(w.Client, w.Ended, "a write under %q with the token %d was applied %d times", w.Name, w.Token, n)
		}
	}
	highest := make(map[string]int64)
	for i := t.taken; i < len(t.events); i++ {
		e := &t.events[i]
		w := written[e.Value]
		if w == nil || !strings.HasPrefix(e.Key, history.Fences) {
			continue
		}
		f.Checked++
		key := keys[id(w.Name, w.Token)]
		switch held := t.at(key, e.Revision); {
		case w.Token < highest[w.Name]:
			f.brokenBy(w.Client, e.At, "%q: the token %d wrote at revision %d after the token %d had written", w.Name, w.Token, e.Revision, highest[w.Name])
		case held == nil || held.Delete || held.Created != w.Token:
			f.brokenBy(w.Client, e.At, "%q: the token %d wrote at revision %d, where its key %q is not there", w.Name, w.Token, e.Revision, key)
		}
		highest[w.Name] = max(highest[w.Name], w.Token)
	}
}

// leftovers is L5.
func leftovers(r *history.Run, _ *truth, f *Finding) {
	for _, rest := range r.Rests {
		f.Checked++
		for _, key := range rest.Keys {
			f.broken(rest.Began, "%q is left over %v after %s", key, time.Duration(rest.Bound), rest.After)
		}
	}
	if f.Checked == 0 {
		f.broken(0, "nobody has looked for what was left over")
	}
}

// runs is L8.
func runs(r *history.Run, _ *truth, f *Finding) {
	by := make(map[string][]*history.Lock)
	for i := range r.Locks {
		if l := &r.Locks[i]; l.Recipe == history.LeaderRun && l.Granted != 0 {
			by[l.Name] = append(by[l.Name], l)
		}
	}
	deleted := handsByKey(r)
	for _, of := range by {
		slices.SortFunc(of, func(a, b *history.Lock) int { return cmp.Compare(a.Granted, b.Granted) })
		for i, l := range of {
			f.Checked++
			for _, before := range of[:i] {
				running := before.Released == 0 || l.Granted < before.Released
				lost := before.Lost && before.Gone <= l.Granted || slices.ContainsFunc(deleted[before.Key], func(at int64) bool {
					return before.Granted <= at && at <= l.Granted
				})
				if running && !lost && !excusable(r, l.Granted, before.Released) {
					f.brokenBy(bothOf(f, before.Client, l.Client), l.Granted, "%q: the function of term %d began while that of term %d ran, whose leadership was not lost", l.Name, l.Token, before.Token)
				}
			}
		}
	}
}
