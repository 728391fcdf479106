// Package check judges histories: each invariant is a pure function of a
// [history.Run]. I6 is of locks, which there are none of yet.
package check

import (
	"fmt"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

// Finding is the verdict on one invariant.
type Finding struct {
	Invariant string
	// Checked is how many facts were looked at: calls, events, leases and so on.
	Checked int
	// Count is how many of them broke the invariant. Violations are the first.
	Count      int
	Violations []Violation `json:",omitempty"`
}

// Violation is one broken invariant.
type Violation struct {
	At   time.Duration // on the run's clock
	Text string
}

// kept is how many violations of an invariant are told in words.
const kept = 20

func (f *Finding) broken(at int64, format string, args ...any) {
	f.Count++
	if len(f.Violations) < kept {
		f.Violations = append(f.Violations, Violation{time.Duration(at), fmt.Sprintf(format, args...)})
	}
}

// Truth is the pseudo invariant that the oracles are to be believed: they agree
// and have missed nothing. Without it the others prove nothing.
const Truth = "truth"

// invariants are what Judge knows, by name.
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
}

// Meaning is each invariant in one line.
var Meaning = map[string]string{
	Truth: "the oracles agree on every revision",
	"I1":  "calls are linearizable, unknown ones included; members hold the same",
	"I2":  "a write is applied once if OK, never if not applied, at most once if unknown",
	"I3":  "watches: filtered, in order, once, whole revisions, nothing missing, fields right",
	"I4":  "a watch begins exactly where it says; a gap ends it with a compaction error",
	"I5":  "a lost lease is reported before its keys go; none is lost without a fault",
	"I7":  "revisions never run backwards within a process",
	"I8":  "calls end within 50 ms of their deadline",
	"I9":  "memory stays bounded",
	"I10": "after Close nothing is left",
	"I11": "a foreign cluster or a wrong certificate is refused",
	"I12": "who shares a request is answered as if alone: refused for its own reasons only",
}

// Judge checks what the run is to be judged by, the truth first.
func Judge(r *history.Run) []Finding {
	t, finding := newTruth(r)
	findings := []Finding{finding}
	for _, name := range r.Judged {
		f := Finding{Invariant: name}
		if judge, ok := invariants[name]; ok {
			judge(r, t, &f)
		} else {
			f.broken(0, "there is no invariant %s", name)
		}
		findings = append(findings, f)
	}
	return findings
}

// Short returns why the run does not count: what there was too little of.
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
		{history.Authentications, int(r.Counts[history.Authentications]), r.Least.Authentications},
		{history.Batches, int(r.Counts[history.Batches]), r.Least.Batches},
	} {
		if c.has < c.min {
			short = append(short, fmt.Sprintf("%d %s, at least %d are needed", c.has, c.what, c.min))
		}
	}
	return append(short, r.Failures...)
}

// excused is how long the machine kept this process from running at some time
// from from to to.
func excused(r *history.Run, from, to int64) time.Duration {
	sum := int64(0)
	for _, p := range r.Pauses {
		if p.From < to && p.To > from {
			sum += p.To - p.From
		}
	}
	return time.Duration(sum)
}
