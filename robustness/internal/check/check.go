// Package check judges histories: each invariant is a pure function of a [history.Run]. Locks
// have L1 to L8, exact writes X1, S1 and S2, queues Q1, groups G1, and caches C1 to C9. There
// is no I6.
package check

import (
	"fmt"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// Finding is the verdict on one invariant.
type Finding struct {
	Invariant string
	// Checked is the number of facts examined: calls, events, leases and so on.
	Checked int
	// Count is how many of them broke the invariant. Violations holds the first few.
	Count      int
	Violations []Violation `json:",omitempty"`
	// Others is how many were broken by the other client, where both contend for the same
	// locks. These are not in Count. OtherViolations holds the first few.
	Others          int         `json:",omitempty"`
	OtherViolations []Violation `json:",omitempty"`

	client string // whose run it is
}

// Violation is one broken invariant.
type Violation struct {
	At   time.Duration // on the run's clock
	Text string
}

// kept is how many violations of an invariant are kept as text.
const kept = 20

func (f *Finding) broken(at int64, format string, args ...any) {
	f.Count++
	if len(f.Violations) < kept {
		f.Violations = append(f.Violations, Violation{time.Duration(at), fmt.Sprintf(format, args...)})
	}
}

// brokenBy is broken for what one client has done or received. It is the other one's fault
// if the run is not that client's.
func (f *Finding) brokenBy(client string, at int64, format string, args ...any) {
	if f.client == "" || client == f.client {
		f.broken(at, format, args...)
		return
	}
	f.Others++
	if len(f.OtherViolations) < kept {
		f.OtherViolations = append(f.OtherViolations, Violation{time.Duration(at), fmt.Sprintf(format, args...)})
	}
}

// Truth is the pseudo-invariant that the oracles are reliable: they agree and have
// missed nothing. Without it the others prove nothing.
const Truth = "truth"

// invariants maps the invariants' names to their checks.
var invariants = map[string]func(*history.Run, *truth, *Finding){
	"I1":  linearizable,
	"I2":  writes,
	"I3":  watches,
	"I4":  starts,
	"I5":  leases,
	"I7":  forwards,
	"I8":  deadlines,
	"I9":  usage,
	"I10": usage,
	"I11": refused,
	"I12": refusals,
	"L1":  fences,
	"L2":  exclusion,
	"L3":  order,
	"L4":  shares,
	"L5":  leftovers,
	"L6":  liveness,
	"L7":  observers,
	"L8":  runs,
	"X1":  effects,
	"S1":  serializable,
	"S2":  numbers,
	"Q1":  items,
	"G1":  partitions,
	"C1":  cacheAnswers,
	"C2":  cacheForwards,
	"C3":  cacheLinearizable,
	"C4":  cacheAtLeast,
	"C5":  cacheWithin,
	"C6":  subscribers,
	"C7":  catches,
	"C8":  usage,
	"C9":  usage,
}

// Meaning describes each invariant in one line.
var Meaning = map[string]string{
	Truth: "the oracles agree on every revision",
	"I1":  "calls are linearizable, unknown ones included; members hold the same",
	"I2":  "a write is applied once if OK, never if not applied, at most once if unknown",
	"I3":  "watches: filtered, in order, once, whole revisions, nothing missing, fields right",
	"I4":  "a watch begins exactly where it reports; a gap ends it with a compaction error",
	"I5":  "a lost lease is reported before its keys go; none is lost without a fault",
	"I7":  "revisions never run backwards within a process",
	"I8":  "calls end within 50 ms of their deadline",
	"I9":  "memory stays bounded",
	"I10": "Close leaves nothing behind",
	"I11": "a foreign cluster or a wrong certificate is refused",
	"I12": "a call that shares a request is answered as if alone, refused only for its own reasons",
	"L1":  "fenced writes are made by the holder of the lock at their revision, and tokens never go back",
	"L2":  "a mutex or an election has one holder at a time; a holding ends for its holder before another begins",
	"L3":  "locks are granted in the order of their keys' creation",
	"L4":  "a writer is alone; a semaphore's holders weigh no more than its limit; a round begins when all are there",
	"L5":  "no key is left over once everybody has released or closed",
	"L6":  "who waits for a lock that nobody holds gets it; deadlines are kept",
	"L7":  "one leader per term; observers receive true states, in order, and the last one",
	"L8":  "Run calls a function only after that of the last term has returned or was lost",
	"X1":  "an exact write has one effect if reported as applied, none if not, at most one if unknown",
	"S1":  "transactions by function are strictly serializable",
	"S2":  "a sequence gives no number twice",
	"Q1":  "an item that was added is acknowledged once or still there; one claim of it at a time, and only that acknowledges it",
	"G1":  "a partition has one owner at a time; when quiet, all are owned and the shares are even",
	"C1":  "an answer of a cache is the store's state at the revision that it states, whole ranges included",
	"C2":  "the revisions of a cache never run backwards, from whatever goroutine and however it is read",
	"C3":  "a linearizable answer of a cache has every write acknowledged, and every answer given, before the call",
	"C4":  "an answer that shall be of a revision or later is",
	"C5":  "an answer that shall be at most so old is",
	"C6":  "a subscription's changes lead from state to state of the store, and to the last one",
	"C7":  "a cache catches up within 2 s after a fault; its calls end within 50 ms of their deadline",
	"C8":  "a cache holds no more than it may, and keeps no more for a subscriber that has stopped",
	"C9":  "a cache that was closed leaves nothing behind",
}

// Names lists the invariants in the order of reports, the truth first.
var Names = []string{
	Truth, "I1", "I2", "I3", "I4", "I5", "I7", "I8", "I9", "I10", "I11", "I12",
	"L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8", "X1", "S1", "S2", "Q1", "G1",
	"C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9",
}

// Judge checks the run's invariants, the truth first.
func Judge(r *history.Run) []Finding {
	t, finding := newTruth(r)
	findings := []Finding{finding}
	for _, name := range r.Judged {
		f := Finding{Invariant: name, client: r.Client}
		if judge, ok := invariants[name]; ok {
			judge(r, t, &f)
		} else {
			f.broken(0, "there is no invariant %s", name)
		}
		findings = append(findings, f)
	}
	return findings
}

// Short returns why the run does not count: what it has too little of.
func Short(r *history.Run) []string {
	var short []string
	events := 0
	for _, w := range r.Watches {
		for _, resp := range w.Responses {
			events += len(resp.Events)
		}
	}
	for _, c := range []struct {
		what     string
		has, min int
	}{
		{"faults", len(r.Faults), r.Least.Faults},
		{"calls", len(r.Calls), r.Least.Calls},
		{"events", events, r.Least.Events},
		{"leases", len(r.Leases), r.Least.Leases},
		{history.Grants, grants(r), r.Least.Grants},
		{"items", len(r.Claimed), r.Least.Items},
		{"calls for partitions", len(r.Owned), r.Least.Owned},
		{"answers of caches", len(r.Reads), r.Least.Reads},
		{history.Authentications, int(r.Counts[history.Authentications]), r.Least.Authentications},
		{history.Batches, int(r.Counts[history.Batches]), r.Least.Batches},
	} {
		if c.has < c.min {
			short = append(short, fmt.Sprintf("%d %s, at least %d are needed", c.has, c.what, c.min))
		}
	}
	return append(short, r.Failures...)
}

// excused returns how long the machine kept this process from running between from
// and to.
func excused(r *history.Run, from, to int64) time.Duration {
	sum := int64(0)
	for _, p := range r.Pauses {
		if p.From < to && p.To > from {
			sum += p.To - p.From
		}
	}
	return time.Duration(sum)
}
