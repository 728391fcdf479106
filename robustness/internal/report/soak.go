package report

import (
	"fmt"
	"io"
	"slices"
	"time"

	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
)

// Soak is the result of a soak.
type Soak struct {
	Client      string
	Seed        uint64
	Asked, Took time.Duration // under faults; in all
	Interrupted bool

	Rounds int
	Faults map[string]int // by name
	Events int
	Scans  int
	// Watches and Leases are counted in each round in which they lived.
	Watches, Leases, Lost int
	// Attempts counts those to get a lock or a leadership, Grants those that got it.
	Attempts, Grants int
	// Calls counts all calls, Patient those with a context of 5 s, Answered the
	// answered ones of these; Reads and ReadsAnswered the same for linearizable reads.
	Calls, Patient, Answered, Reads, ReadsAnswered int
	NotSent, Rejected, Unknown                     int
	// Availability counts the reads while a single member was at fault.
	Availability Availability
	// Notice is the least time from the report of a lease's loss to its deletion by
	// the server, over the Noticed leases with both.
	Notice  time.Duration
	Noticed int

	Findings []check.Finding
	Usage    []history.Usage
	Failures []string `json:",omitempty"` // of the harness

	// Series is the course of the soak, thinned out as it grows.
	Series []SoakPoint
	every  int // rounds per point
}

// SoakPoint holds the figures of a round.
type SoakPoint struct {
	Round    int
	Faults   int
	Rate     float64 // answered calls per second
	P50, P99 time.Duration
	Failed   int
	Heap     float64 // bytes after a collection, once its history was dropped
}

// mostPoints bounds the series.
const mostPoints = 64

// Add adds a judged round. It returns whether the round has violations.
func (s *Soak) Add(r *history.Run, findings []check.Finding) bool {
	s.Rounds++
	s.Scans += len(r.Scans)
	s.Watches += len(r.Watches)
	s.Leases += len(r.Leases)
	for _, x := range r.Faults {
		s.Faults[x.Name]++
	}
	for _, w := range r.Watches {
		for i := range w.Responses {
			s.Events += len(w.Responses[i].Events)
		}
	}
	for i := range r.Leases {
		if r.Leases[i].Lost != 0 {
			s.Lost++
		}
	}
	s.Attempts += len(r.Locks)
	for i := range r.Locks {
		if r.Locks[i].Granted != 0 {
			s.Grants++
		}
	}
	for _, m := range check.Margins(r) {
		if s.Noticed++; s.Noticed == 1 || m < s.Notice {
			s.Notice = m
		}
	}
	s.addCalls(r)
	s.Availability = s.Availability.plus(availability(r))
	s.Findings = check.Add(s.Findings, findings)
	if room := 20 - len(s.Failures); room > 0 {
		s.Failures = append(s.Failures, r.Failures[:min(len(r.Failures), room)]...)
	}
	return len(r.Failures) > 0 || slices.ContainsFunc(findings, func(f check.Finding) bool { return f.Count > 0 })
}

func (s *Soak) addCalls(r *history.Run) {
	s.Calls += len(r.Calls)
	for i := range r.Calls {
		c := &r.Calls[i]
		if !c.Patient {
			continue
		}
		read, done := c.Kind == history.Get && !c.Stale, c.Fate == history.Done
		s.Patient++
		if done {
			s.Answered++
		}
		if read {
			s.Reads++
		}
		if read && done {
			s.ReadsAnswered++
		}
	}
}

// Point adds a round that began at the given time to the series. It returns nil if
// the series has enough of them.
func (s *Soak) Point(r *history.Run, began int64) *SoakPoint {
	s.every = max(s.every, 1)
	if s.Rounds%s.every != 0 {
		return nil
	}
	var took []time.Duration
	for i := range r.Calls {
		if c := &r.Calls[i]; c.Fate == history.Done {
			took = append(took, time.Duration(c.Ended-c.Began))
		}
	}
	x := spread(took)
	s.Series = append(s.Series, SoakPoint{
		Round: s.Rounds, Faults: len(r.Faults), P50: x.P50, P99: x.P99, Failed: len(r.Calls) - len(took),
		Rate: float64(len(took)) / (r.Took - time.Duration(began)).Seconds(),
	})
	if len(s.Series) > mostPoints {
		s.every *= 2
		s.Series = slices.DeleteFunc(s.Series, func(p SoakPoint) bool { return p.Round%s.every != 0 })
	}
	return &s.Series[len(s.Series)-1]
}

// Broken returns the number of violations.
func (s *Soak) Broken() int {
	n := 0
	for _, f := range s.Findings {
		n += f.Count
	}
	return n
}

// Injected returns the number of faults.
func (s *Soak) Injected() int {
	n := 0
	for _, k := range s.Faults {
		n += k
	}
	return n
}

// Failed returns why the soak has failed; nothing if it has passed.
func (s *Soak) Failed() []string {
	var why []string
	for _, f := range s.Findings {
		if f.Count > 0 {
			why = append(why, fmt.Sprintf("%s broken %d times: %s", f.Invariant, f.Count, check.Meaning[f.Invariant]))
		}
	}
	for _, u := range s.Usage {
		if u.After > u.Most {
			why = append(why, fmt.Sprintf("%s grew by %s", u.What, grown(u)))
		}
	}
	if a := s.Availability; s.Client == ours && !a.Enough() {
		why = append(why, fmt.Sprintf("reads while one member was at fault: %d of %d answered, want at least %.1f %%", a.Answered, a.Asked, 100*availableShare))
	}
	for _, text := range s.Failures {
		why = append(why, "the harness: "+text)
	}
	switch {
	case s.Injected() == 0:
		why = append(why, "no fault was injected")
	case s.Answered == 0 || s.Events == 0 || s.Leases == 0:
		why = append(why, fmt.Sprintf("%d calls, %d events and %d leases are too few to prove anything", s.Answered, s.Events, s.Leases))
	case len(s.Usage) == 0:
		why = append(why, "memory was not measured")
	}
	return why
}

// grown returns by how much usage has grown.
func grown(u history.Usage) string {
	if u.Before == 0 {
		return "–"
	}
	return fmt.Sprintf("%+.1f %%", 100*(u.After/u.Before-1))
}

// Markdown writes the report of a soak.
func (s *Soak) Markdown(out io.Writer) error {
	w := &writer{out: out}
	w.line("# Soak report")
	w.line("")
	s.verdict(w)
	w.line("")
	w.line("%s, seed %d, %v under faults requested, %v in all, %d rounds.", s.Client, s.Seed, s.Asked, s.Took.Round(time.Second), s.Rounds)
	if s.Interrupted {
		w.line("It was interrupted; the figures cover what had run by then.")
	}
	w.line("")
	s.amounts(w)
	s.findings(w)
	s.series(w)
	return w.err
}

func (s *Soak) verdict(w *writer) {
	why := s.Failed()
	if len(why) == 0 {
		w.line("PASS")
		return
	}
	w.line("FAIL")
	w.line("")
	for _, text := range why {
		w.line("- %s", text)
	}
}

// amounts writes the table of totals.
func (s *Soak) amounts(w *writer) {
	w.line("| what | how much |")
	w.line("|---|--:|")
	w.line("| faults | %d |", s.Injected())
	w.line("| calls | %d |", s.Calls)
	w.line("| of those with 5 s answered | %s of %d |", share(s.Answered, s.Patient), s.Patient)
	w.line("| of the reads among them | %s of %d |", share(s.ReadsAnswered, s.Reads), s.Reads)
	if a := s.Availability; a.Faults > 0 {
		w.line("| of the reads during %d faults of one member | %s of %d |", a.Faults, share(a.Answered, a.Asked), a.Asked)
	}
	w.line("| failed: not sent, rejected, unknown | %d, %d, %d |", s.NotSent, s.Rejected, s.Unknown)
	w.line("| ranges | %d |", s.Scans)
	w.line("| watch events | %d |", s.Events)
	w.line("| leases lost | %d |", s.Lost)
	w.line("| locks and leaderships granted | %d of %d attempts |", s.Grants, s.Attempts)
	if s.Noticed > 0 {
		w.line("| loss reported before the deletion by at least | %v |", short(s.Notice))
	}
	for _, u := range s.Usage {
		w.line("| idle: %s before, after | %.0f, %.0f (%s) |", u.What, u.Before, u.After, grown(u))
	}
	w.line("")
	w.line("| fault | times |")
	w.line("|---|--:|")
	var names []string
	for name := range s.Faults {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.line("| %s | %d |", name, s.Faults[name])
	}
	w.line("")
}

func (s *Soak) findings(w *writer) {
	w.line("| invariant | violations | meaning |")
	w.line("|---|--:|---|")
	for _, f := range s.Findings {
		w.line("| %s | %d of %d | %s |", f.Invariant, f.Count, f.Checked, check.Meaning[f.Invariant])
	}
	w.line("")
	for _, f := range s.Findings {
		for _, v := range f.Violations {
			w.line("- %s at %v: %s", f.Invariant, short(v.At), v.Text)
		}
	}
	if s.Broken() > 0 {
		w.line("")
	}
}

// series writes one line per round, for as many rounds as fit on a page.
func (s *Soak) series(w *writer) {
	w.line("| round | faults | calls/s | p50 | p99 | failed | heap, MiB |")
	w.line("|--:|--:|--:|--:|--:|--:|--:|")
	const page = 32
	step := len(s.Series)/page + 1
	for i := 0; i < len(s.Series); i += step {
		p := &s.Series[i]
		w.line("| %d | %d | %.0f | %v | %v | %d | %.1f |", p.Round, p.Faults, p.Rate, short(p.P50), short(p.P99), p.Failed, p.Heap/(1<<20))
	}
}
