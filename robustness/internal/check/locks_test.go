package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// goodLocks returns a history with something to check for every invariant of locks; all
// hold.
func goodLocks() *history.Run {
	lock := func(recipe history.Recipe, name string, process int, asked, granted, released int64, key string, token int64) history.Lock {
		l := history.Lock{
			Want: history.Want{Recipe: recipe, Name: "lock/" + name}, Client: "ours", Process: process,
			Asked: asked * ms, Deadline: (asked + 9000) * ms, Granted: granted * ms, Gone: released * ms,
			Released: released * ms, Freed: (released + 2) * ms, Until: (released + 5000) * ms, Token: token,
		}
		if key != "" {
			l.Key = "lock/" + name + "/" + key
		}
		return l
	}
	weigh := func(l history.Lock, weight, limit int) history.Lock {
		l.Weight, l.Limit = weight, limit
		return l
	}
	refused := history.Lock{
		Want: history.Want{Recipe: history.Mutex, Name: "lock/m"}, Client: "ours", Process: 3,
		Asked: 20 * ms, Deadline: 40 * ms, Refused: 41 * ms, Error: "context deadline exceeded",
	}
	lost := lock(history.LeaderRun, "r", 1, 10, 10, 60, "a", 11)
	lost.Gone, lost.Lost, lost.Freed = 40*ms, true, 60*ms
	after := lock(history.LeaderRun, "r", 2, 50, 50, 70, "b", 12)
	after.Freed = after.Released

	put := func(revision, at int64, key, value string, created, version int64) history.Event {
		return history.Event{Revision: revision, Key: key, Value: value, Created: created, Version: version, At: at * ms}
	}
	gone := func(revision, at int64, key string) history.Event {
		return history.Event{Revision: revision, Key: key, Delete: true, At: at * ms}
	}
	fenced := func(token int64, value string, revision int64) history.Fenced {
		return history.Fenced{Name: "lock/m", Client: "ours", Token: token, Value: value, Revision: revision}
	}
	dead := fenced(2, "f3", 0)
	dead.Fate, dead.Error = history.NotApplied, "the lock was lost"
	leader := func(at, revision int64, key, value string, term int64) history.Leader {
		return history.Leader{At: at * ms, Present: key != "", Key: key, Value: value, Term: term, Since: revision, Revision: revision}
	}
	return &history.Run{
		Judged: []string{"L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8"},
		Took:   9 * time.Second, LockTTL: time.Second,
		Locks: []history.Lock{
			lock(history.Mutex, "m", 1, 1, 3, 30, "a", 2), lock(history.Mutex, "m", 2, 2, 31, 50, "b", 3), refused,
			lock(history.WriteLock, "rw", 1, 100, 101, 110, "write/a", 4),
			lock(history.ReadLock, "rw", 2, 102, 111, 120, "read/a", 5), lock(history.ReadLock, "rw", 3, 103, 112, 130, "read/b", 6),
			weigh(lock(history.Semaphore, "s", 1, 1, 2, 50, "", 0), 3, 4), weigh(lock(history.Semaphore, "s", 2, 1, 2, 50, "", 0), 1, 4),
			weigh(lock(history.Semaphore, "s", 3, 1, 51, 90, "", 0), 4, 4),
			lock(history.Leadership, "e", 1, 1, 2, 30, "a", 8), lost, after,
			weigh(lock(history.Round, "d", 1, 1, 5, 20, "", 0), 0, 2), weigh(lock(history.Round, "d", 2, 4, 6, 21, "", 0), 0, 2),
		},
		Fenced: []history.Fenced{fenced(2, "f1", 4), fenced(3, "f2", 6), dead},
		Truth: []history.Event{
			put(2, 2, "lock/m/a", "", 2, 1), put(3, 4, "lock/m/b", "", 3, 1), put(4, 10, "fence/lock/m", "f1", 4, 1),
			gone(5, 31, "lock/m/a"), put(6, 35, "fence/lock/m", "f2", 4, 2), gone(7, 52, "lock/m/b"),
			put(8, 60, "lock/e/a", "one", 8, 1), put(9, 61, "lock/e/b", "two", 9, 1), put(10, 62, "lock/e/a", "more", 8, 2),
			gone(11, 63, "lock/e/a"), gone(12, 64, "lock/e/b"),
		},
		Leaders: []history.Observed{{
			Name: "lock/e", Client: "ours", Final: true,
			States: []history.Leader{
				leader(59, 7, "", "", 0), leader(60, 8, "lock/e/a", "one", 8), leader(62, 10, "lock/e/a", "more", 8),
				leader(63, 11, "lock/e/b", "two", 9), leader(64, 12, "", "", 0),
			},
		}},
		Hands: []history.Hand{{At: 40 * ms, Key: "lock/m/b"}},
		Rests: []history.Rest{{After: "the releases", Began: 200 * ms, Bound: 2000 * ms}},
	}
}

func TestGoodLocks(t *testing.T) {
	r := goodLocks()
	r.Locks[1].Gone = 45 * ms // as the hand demands
	for name, f := range verdicts(r) {
		if f.Count != 0 {
			t.Errorf("%s is broken: %+v", name, f.Violations)
		}
		if f.Checked == 0 {
			t.Errorf("%s has checked nothing", name)
		}
	}
}

// Every invariant of locks fails in each of its ways.
func TestBadLocks(t *testing.T) {
	for _, bad := range []struct {
		name   string
		breaks string
		says   string
		spoil  func(r *history.Run)
	}{
		{"an old token writes later", "L1", "after the token 3 had written", func(r *history.Run) {
			r.Fenced[0].Value, r.Fenced[1].Value = "f2", "f1"
		}},
		{"a write after the lock is gone", "L1", "is not there", func(r *history.Run) { r.Truth[4].Value, r.Truth[2].Value = "f1", "other" }},
		{"a write of a holder that never was", "L1", "is not there", func(r *history.Run) { r.Locks[0].Token = 7 }},
		{"a refused write is applied", "L1", "refused", func(r *history.Run) { r.Fenced[2].Value = "f2" }},
		{"a write that succeeded is not there", "L1", "applied 0 times", func(r *history.Run) { r.Fenced[0].Value = "f0" }},
		{"a write is applied twice", "L1", "applied 2 times", func(r *history.Run) {
			r.Fenced[1].Fate = history.Unknown
			r.Truth = append(r.Truth, history.Event{Revision: 13, Key: "fence/lock/m", Value: "f2", Created: 4, Version: 3})
		}},

		{"two holders", "L2", "while process 1", func(r *history.Run) { r.Locks[1].Granted = 29 * ms }},
		{"two leaders", "L2", "while process 1", func(r *history.Run) {
			other := r.Locks[9]
			other.Process, other.Token, other.Granted = 7, 9, 29*ms
			r.Locks = append(r.Locks, other)
		}},
		{"a holder without an end", "L2", "while process 1", func(r *history.Run) { r.Locks[0].Gone, r.Locks[0].Released = 0, 0 }},
		{"a paused holder is not told when it wakes up", "L2", "while process 1", func(r *history.Run) {
			r.Faults = []history.Fault{{Name: "paused", Overlaps: true, From: 10 * ms, To: 15 * ms}}
			r.Locks[0].Gone, r.Locks[0].Released, r.Locks[1].Granted = 4000*ms, 4000*ms, 12*ms
		}},
		{"a deleted key is not noticed", "L2", "was deleted", func(r *history.Run) {
			r.Locks[1].Gone, r.Locks[1].Released, r.Locks[1].Freed = 0, 2600*ms, 2601*ms
		}},

		{"granted without a key", "L2", "while others were before it", func(r *history.Run) {
			r.Truth[5].Revision, r.Truth[3].Revision = 5, 7
			r.Truth[3], r.Truth[5] = r.Truth[5], r.Truth[3]
			r.Truth[3].At = 20 * ms
		}},
		{"a release tells nothing of a loss", "L2", "had been deleted before", func(r *history.Run) { r.Truth[3].At = 29 * ms }},

		{"one overtakes", "L3", "after process 1", func(r *history.Run) { r.Locks[1].Token = 1 }},
		{"a token comes twice", "L3", "after process 1", func(r *history.Run) { r.Locks[1].Token = 2 }},

		{"a reader beside a writer", "L4", "a read lock was granted", func(r *history.Run) { r.Locks[4].Granted = 109 * ms }},
		{"a writer beside a reader", "L4", "a write lock was granted", func(r *history.Run) {
			r.Locks[3].Granted, r.Locks[3].Released, r.Locks[3].Gone = 125*ms, 126*ms, 126*ms
		}},
		{"too heavy", "L4", "weigh 8", func(r *history.Run) { r.Locks[8].Granted = 49 * ms }},
		{"passed alone", "L4", "1 of 2 were there", func(r *history.Run) { r.Locks[13].Asked = 9 * ms }},

		{"a key is left over", "L5", `"lock/m/c" is left over`, func(r *history.Run) { r.Rests[0].Keys = []string{"lock/m/c"} }},
		{"nobody has looked", "L5", "nobody has looked", func(r *history.Run) { r.Rests = nil }},

		{"nobody gets it", "L6", "while nobody held it", func(r *history.Run) {
			r.Locks[1].Asked, r.Locks[1].Granted = 2*ms, 3100*ms
		}},
		{"an attempt is late", "L6", "the attempt to get", func(r *history.Run) { r.Locks[2].Refused = 91 * ms }},
		{"a release is late", "L6", "the release of", func(r *history.Run) { r.Locks[0].Freed = 5081 * ms }},

		{"two leaders of a term", "L7", "lead in the term 8", func(r *history.Run) {
			other := r.Locks[9]
			other.Process = 7
			r.Locks = append(r.Locks, other)
		}},
		{"the wrong leader is observed", "L7", "which is wrong", func(r *history.Run) { r.Leaders[0].States[1].Key = "lock/e/b" }},
		{"the wrong value is observed", "L7", "which is wrong", func(r *history.Run) { r.Leaders[0].States[2].Value = "one" }},
		{"observed backwards", "L7", "after 10", func(r *history.Run) {
			s := r.Leaders[0].States
			s[1], s[2] = s[2], s[1]
		}},
		{"observed twice", "L7", "twice", func(r *history.Run) {
			s := &r.Leaders[0].States
			*s = slices.Insert(*s, 2, (*s)[1])
		}},
		{"the last state is not observed", "L7", "the last state that", func(r *history.Run) { r.Leaders[0].States = r.Leaders[0].States[:4] }},
		{"a proclamation comes back", "L7", "was put to", func(r *history.Run) {
			r.Truth[9] = history.Event{Revision: 11, Key: "lock/e/a", Value: "one", Created: 8, Version: 3}
		}},
		{"an observer gives up", "L7", "ended: compacted", func(r *history.Run) { r.Leaders[0].Error = "compacted" }},

		{"run twice at once", "L8", "whose leadership was not lost", func(r *history.Run) { r.Locks[10].Lost = false }},
		{"run before the loss", "L8", "whose leadership was not lost", func(r *history.Run) { r.Locks[10].Gone = 55 * ms }},
	} {
		t.Run(bad.name, func(t *testing.T) {
			r := goodLocks()
			r.Locks[1].Gone = 45 * ms
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

// What a holder cannot know is excused: its process was paused, or somebody has deleted its
// key a moment ago.
func TestLocksExcused(t *testing.T) {
	r := goodLocks()
	r.Locks[0].Gone, r.Locks[0].Released, r.Locks[1].Granted, r.Locks[1].Gone = 60*ms, 60*ms, 20*ms, 25*ms
	r.Hands, r.Truth[3].At = nil, 62*ms
	if verdicts(r)["L2"].Count == 0 {
		t.Error("two holders without a cause are nothing")
	}
	r.Faults = []history.Fault{{Name: "paused", Overlaps: true, From: 10 * ms, To: 40 * ms}}
	if f := verdicts(r)["L2"]; f.Count != 0 {
		t.Errorf("a paused holder: %+v", f.Violations)
	}
	r.Faults, r.Hands = nil, []history.Hand{{At: 15 * ms, Key: "lock/m/a"}}
	if f := verdicts(r)["L2"]; f.Count != 0 {
		t.Errorf("a holder whose key was deleted: %+v", f.Violations)
	}
}

// Where both clients contend, what the other one breaks is reported, and does not count
// against the client whose run it is. What both have part in does.
func TestBrokenByTheOther(t *testing.T) {
	spoiled := func(client string) map[string]Finding {
		r := goodLocks()
		r.Client = client
		r.Leaders[0].States[0].Value = "wrong"
		r.Locks[1].Client, r.Locks[1].Granted = "client/v3", 5*ms
		r.Locks[2].Refused = 2000 * ms
		return verdicts(r)
	}
	for client, want := range map[string][3]int{"ours": {1, 1, 1}, "client/v3": {1, 0, 0}} {
		found := spoiled(client)
		for i, name := range []string{"L2", "L7", "L6"} {
			f := found[name]
			if f.Count != want[i] || f.Count+f.Others != 1 || len(f.Violations)+len(f.OtherViolations) != 1 {
				t.Errorf("%s in a run of %s: %+v", name, client, f)
			}
		}
	}
}

// A suspended process keeps no deadline, and ends late calls when it goes on.
func TestLateWhileSuspended(t *testing.T) {
	r := goodLocks()
	r.Locks[2].Refused = 400 * ms
	r.Faults = []history.Fault{{Name: "suspended", Suspends: true, From: 30 * ms, To: 390 * ms}}
	if f := verdicts(r)["L6"]; f.Count != 0 {
		t.Errorf("a suspended process: %+v", f.Violations)
	}
	r.Locks[2].Refused = 4000 * ms
	if verdicts(r)["L6"].Count == 0 {
		t.Error("long after it went on: nothing")
	}
	r.Locks[2].Refused, r.Faults[0].Suspends, r.Faults[0].Overlaps = 400*ms, false, true
	if verdicts(r)["L6"].Count == 0 {
		t.Error("a member was suspended, and the client was late: nothing")
	}
}

// Nobody needs to get a lock while a fault lasts, unless that is harmless.
func TestLivenessUnderFaults(t *testing.T) {
	r := goodLocks()
	r.Locks[1].Asked, r.Locks[1].Granted, r.Locks[1].Gone, r.Locks[1].Released, r.Locks[1].Freed = 2*ms, 3500*ms, 3501*ms, 3501*ms, 3502*ms
	r.Faults = []history.Fault{{Name: "stalled", From: 100 * ms, To: 1500 * ms}}
	if f := verdicts(r)["L6"]; f.Count != 0 {
		t.Errorf("during a fault: %+v", f.Violations)
	}
	r.Faults[0].Harmless = true
	if verdicts(r)["L6"].Count == 0 {
		t.Error("during a harmless fault: nothing")
	}
}

// Those of one round of a double barrier leave it together, and are no more than it has.
func TestLeavings(t *testing.T) {
	spoiled := func(spoil func(r *history.Run, a, b *history.Lock)) Finding {
		r := goodLocks()
		put := func(revision, at int64, key, value string, created, version int64) {
			r.Truth = append(r.Truth, history.Event{Revision: revision, Key: key, Value: value, Created: created, Version: version, At: at * ms})
		}
		for i, key := range []string{"a", "b", "c", "d"} {
			put(13+int64(i), 5, "lock/d/"+key, "", 13+int64(i), 1)
		}
		put(17, 5, "lock/d/a", "14", 13, 2)
		put(17, 5, "lock/d/b", "14", 14, 2)
		a, b := &r.Locks[12], &r.Locks[13]
		a.Key, b.Key = "lock/d/a", "lock/d/b"
		a.Freed, b.Freed = 23*ms, 23*ms
		spoil(r, a, b)
		return verdicts(r)["L4"]
	}
	for name, test := range map[string]struct {
		says  string // "": nothing
		spoil func(r *history.Run, a, b *history.Lock)
	}{
		"a good round":     {"", func(*history.Run, *history.Lock, *history.Lock) {}},
		"one leaves alone": {"has left the round", func(_ *history.Run, a, b *history.Lock) { b.Gone, b.Released, b.Freed = 40*ms, 40*ms, 41*ms }},
		"the other was lost": {"", func(_ *history.Run, a, b *history.Lock) {
			b.Gone, b.Lost, b.Released, b.Freed = 22*ms, true, 40*ms, 41*ms
		}},
		"its context ended": {"", func(_ *history.Run, a, b *history.Lock) { a.ReleaseError, b.Gone, b.Released = "ended", 40*ms, 40*ms }},
		"somebody deleted its key": {"", func(r *history.Run, a, b *history.Lock) {
			b.Gone, b.Released, r.Hands = 40*ms, 40*ms, []history.Hand{{At: 22 * ms, Key: b.Key}}
		}},
		"another round": {"", func(r *history.Run, a, b *history.Lock) {
			b.Gone, b.Released = 40*ms, 40*ms
			last := r.Truth[len(r.Truth)-1]
			mark := func(revision int64, key, value string, created int64) {
				last.Revision, last.Key, last.Value, last.Created = revision, key, value, created
				r.Truth = append(r.Truth, last)
			}
			r.Truth = r.Truth[:len(r.Truth)-1]
			mark(17, "lock/d/c", "14", 15)
			mark(18, "lock/d/b", "15", 14)
			mark(18, "lock/d/d", "15", 16)
		}},
		"one alone in its round": {"passed when 1 of 2 were there", func(r *history.Run, a, b *history.Lock) {
			r.Truth = r.Truth[:len(r.Truth)-1]
		}},
		"with one that gave up before and left its key": {"", func(r *history.Run, a, b *history.Lock) {
			a.Asked = 4 * ms
			b.Key, b.Asked, b.Refused = "", 2*ms, 3*ms
			b.Granted, b.Gone, b.Released, b.Freed = 0, 0, 0, 0
		}},
		"more than the round allows": {"must have 1", func(_ *history.Run, a, b *history.Lock) { a.Limit, b.Limit = 1, 1 }},
	} {
		f := spoiled(test.spoil)
		if test.says == "" && f.Count > 0 || test.says != "" && (f.Count == 0 || !strings.Contains(f.Violations[0].Text, test.says)) {
			t.Errorf("%s: %+v", name, f.Violations)
		}
	}
}
