package check

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// sameAs reports whether a pair is the one that an event of the truth has put.
func sameAs(pair, e *history.Event) bool {
	return pair.Revision == e.Revision && pair.Key == e.Key && pair.Value == e.Value &&
		pair.Created == e.Created && pair.Version == e.Version && pair.Lease == e.Lease
}

// cacheAnswers is C1.
func cacheAnswers(r *history.Run, t *truth, f *Finding) {
	var whole []*history.CacheRead
	for i := range r.Reads {
		c := &r.Reads[i]
		switch {
		case c.Error != "":
			continue
		case c.Revision > t.last:
			f.broken(c.Ended, "cache %d answered %v of revision %d, and the last is %d", c.Cache, c.Freshness, c.Revision, t.last)
		case c.Prefix:
			whole = append(whole, c)
		default:
			f.Checked++
			answerOfKey(c, t, f)
		}
	}
	answersOfRanges(whole, t, f)
}

// answerOfKey checks an answer for one key. A Peek's may be of any revision from Before on.
func answerOfKey(c *history.CacheRead, t *truth, f *Finding) {
	first := c.Revision
	if c.Freshness == history.Peek {
		first = c.Before
	}
	e := t.at(c.Key, first)
	if isAnswer(c, e) {
		return
	}
	of := t.keys[c.Key]
	for i := range of {
		if e := &t.events[of[i]]; e.Revision > first && e.Revision <= c.Revision && isAnswer(c, e) {
			return
		}
	}
	f.broken(c.Ended, "cache %d answered %v of %q at revision %d with %s, want %s", c.Cache, c.Freshness, c.Key, c.Revision, pairText(c.Pairs), eventText(e))
}

// isAnswer reports whether an answer is what the last event of its key has left; nil: there
// is none.
func isAnswer(c *history.CacheRead, e *history.Event) bool {
	if e == nil || e.Delete {
		return len(c.Pairs) == 0
	}
	return len(c.Pairs) == 1 && sameAs(&c.Pairs[0], e)
}

func pairText(pairs []history.Event) string {
	if len(pairs) == 0 {
		return "nothing"
	}
	return eventText(&pairs[0])
}

// answersOfRanges replays the truth beside the answers, in the order of their revisions.
func answersOfRanges(reads []*history.CacheRead, t *truth, f *Finding) {
	slices.SortFunc(reads, func(a, b *history.CacheRead) int { return cmp.Compare(a.Revision, b.Revision) })
	now := newReplay(t)
	for _, c := range reads {
		f.Checked++
		now.to(c.Revision)
		if text := now.differs(c.Key, c.Pairs); text != "" {
			f.broken(c.Ended, "cache %d answered %v of %q at revision %d, and %s", c.Cache, c.Freshness, c.Key, c.Revision, text)
		}
	}
}

// replay is the state of all keys at a revision that rises.
type replay struct {
	t    *truth
	next int // the first event that is not replayed
	is   map[string]*history.Event
}

func newReplay(t *truth) *replay { return &replay{t: t, is: make(map[string]*history.Event)} }

// to replays up to a revision, and returns the events.
func (r *replay) to(revision int64) []history.Event {
	from := r.next
	for ; r.next < len(r.t.events) && r.t.events[r.next].Revision <= revision; r.next++ {
		if e := &r.t.events[r.next]; e.Delete {
			delete(r.is, e.Key)
		} else {
			r.is[e.Key] = e
		}
	}
	return r.t.events[from:r.next]
}

// differs says how pairs differ from those that begin with a prefix.
func (r *replay) differs(prefix string, pairs []history.Event) string {
	for i := range pairs {
		p := &pairs[i]
		if i > 0 && p.Key <= pairs[i-1].Key {
			return "the keys are not in order"
		}
		if e := r.is[p.Key]; e == nil || !sameAs(p, e) {
			return "it has " + eventText(p) + " in place of " + eventText(e)
		}
	}
	there := 0
	for key := range r.is {
		if strings.HasPrefix(key, prefix) {
			there++
		}
	}
	if there != len(pairs) {
		return "it has not as many keys as there were"
	}
	return ""
}

// mark is a revision that was known at a time.
type mark struct{ at, revision int64 }

// risen looks up the highest revision that was known before a time.
type risen []mark

// newRisen sorts the marks, and has each say the highest revision so far.
func newRisen(marks []mark) risen {
	slices.SortFunc(marks, func(a, b mark) int { return cmp.Compare(a.at, b.at) })
	for i := range marks[1:] {
		marks[i+1].revision = max(marks[i+1].revision, marks[i].revision)
	}
	return marks
}

func (m risen) before(at int64) int64 {
	i, _ := slices.BinarySearchFunc(m, at, func(a mark, at int64) int { return cmp.Compare(a.at, at) })
	if i == 0 {
		return 0
	}
	return m[i-1].revision
}

// cacheForwards is C2. Peek and Local may be behind what the server has answered, and an
// exact revision may be any.
func cacheForwards(r *history.Run, _ *truth, f *Finding) {
	all, own := make(map[int][]mark), make(map[int][]mark)
	for i := range r.Reads {
		c := &r.Reads[i]
		if c.Error != "" || c.Freshness == history.AtRevision {
			continue
		}
		all[c.Cache] = append(all[c.Cache], mark{c.Ended, c.Revision})
		if !c.FromServer {
			own[c.Cache] = append(own[c.Cache], mark{c.Ended, c.Revision})
		}
	}
	allRisen, ownRisen := make(map[int]risen), make(map[int]risen)
	for cache := range all {
		allRisen[cache], ownRisen[cache] = newRisen(append(all[cache], mark{})), newRisen(append(own[cache], mark{}))
	}
	for i := range r.Reads {
		c := &r.Reads[i]
		if c.Error != "" || c.Freshness == history.AtRevision {
			continue
		}
		f.Checked++
		least := allRisen[c.Cache].before(c.Began)
		if c.Freshness == history.Peek || c.Freshness == history.Local {
			least = ownRisen[c.Cache].before(c.Began)
		}
		if c.Revision < least {
			f.broken(c.Ended, "cache %d answered %v of %q at revision %d, and before it one at %d", c.Cache, c.Freshness, c.Key, c.Revision, least)
		}
	}
}

// cacheLinearizable is C3.
func cacheLinearizable(r *history.Run, _ *truth, f *Finding) {
	known := []mark{{}}
	for i := range r.Calls {
		if c := &r.Calls[i]; c.Fate == history.Done && !c.Stale && c.Refusal == "" {
			known = append(known, mark{c.Ended, c.Revision})
		}
	}
	for i := range r.Reads {
		if c := &r.Reads[i]; c.Error == "" {
			known = append(known, mark{c.Ended, c.Revision})
		}
	}
	byThen := newRisen(known)
	for i := range r.Reads {
		c := &r.Reads[i]
		if c.Error != "" || c.Freshness != history.Linearizable {
			continue
		}
		f.Checked++
		if least := byThen.before(c.Began); c.Revision < least {
			f.broken(c.Ended, "cache %d answered a linearizable read of %q at revision %d, which began when %d was known", c.Cache, c.Key, c.Revision, least)
		}
	}
}

// cacheAtLeast is C4.
func cacheAtLeast(r *history.Run, _ *truth, f *Finding) {
	for i := range r.Reads {
		c := &r.Reads[i]
		if c.Error != "" || c.Freshness != history.AtLeast && c.Freshness != history.AtRevision {
			continue
		}
		f.Checked++
		if c.Revision < c.Least || c.Freshness == history.AtRevision && c.Revision > c.Least {
			f.broken(c.Ended, "cache %d answered %v %d of %q at revision %d", c.Cache, c.Freshness, c.Least, c.Key, c.Revision)
		}
	}
}

// cacheWithin is C5: the oracles see a revision after it was there.
func cacheWithin(r *history.Run, t *truth, f *Finding) {
	seen := []mark{{}}
	for i := t.taken; i < len(t.events); i++ {
		seen = append(seen, mark{t.events[i].At, t.events[i].Revision})
	}
	byThen := newRisen(seen)
	for i := range r.Reads {
		c := &r.Reads[i]
		if c.Error != "" || c.Freshness != history.Within {
			continue
		}
		f.Checked++
		if least := byThen.before(c.Began - int64(c.Age)); c.Revision < least {
			f.broken(c.Ended, "cache %d answered %q at revision %d, and %v before the call it was %d", c.Cache, c.Key, c.Revision, time.Duration(c.Age), least)
		}
	}
}

// catches is C7.
func catches(r *history.Run, _ *truth, f *Finding) {
	const bound = 2 * time.Second
	for _, c := range r.Catches {
		f.Checked++
		took := time.Duration(c.Ended - c.Began)
		switch {
		case c.Revision < c.Wanted:
			f.broken(c.Ended, "cache %d is at revision %d, %v after %s, and the store is at %d", c.Cache, c.Revision, took, c.After, c.Wanted)
		case took > bound+excused(r, c.Began, c.Ended):
			f.broken(c.Ended, "cache %d took %v to catch up after %s", c.Cache, took, c.After)
		}
	}
	if len(r.Catches) == 0 {
		f.broken(0, "nobody has looked whether the caches catch up")
	}
	for i := range r.Reads {
		c := &r.Reads[i]
		late := time.Duration(c.Ended - c.Deadline)
		if c.Deadline == 0 || late <= lateness {
			continue
		}
		if late > lateness+excused(r, c.Deadline-int64(backlog), c.Ended) {
			f.broken(c.Ended, "%v of cache %d ended %v after its deadline: %s", c.Freshness, c.Cache, late, c.Error)
		}
	}
}
