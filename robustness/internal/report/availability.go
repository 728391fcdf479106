package report

import (
	"silly.store/etcd/robustness/internal/history"
)

// availableShare is the share of reads that this client must answer while single
// members are at fault.
const availableShare = 0.999

// Availability counts the linearizable reads with a context of 5 s that overlap a
// fault of a single member.
type Availability struct {
	Faults, Asked, Answered int
	// Worst is the lowest share answered during one fault.
	Worst float64
}

// Enough reports whether enough reads were answered, and any asked.
func (a Availability) Enough() bool {
	return a.Faults == 0 || a.Asked > 0 && float64(a.Answered) >= availableShare*float64(a.Asked)
}

// availability examines each fault of a single member. A read that overlaps two of
// them counts twice.
func availability(r *history.Run) Availability {
	a := Availability{Worst: 1}
	for _, x := range r.Faults {
		if !x.OneMember {
			continue
		}
		asked, answered := 0, 0
		for i := range r.Calls {
			c := &r.Calls[i]
			if c.Kind != history.Get || c.Stale || !c.Patient || c.Began > x.To || c.Ended < x.From {
				continue
			}
			asked++
			if c.Fate == history.Done {
				answered++
			}
		}
		if asked == 0 {
			continue
		}
		a.Faults, a.Asked, a.Answered = a.Faults+1, a.Asked+asked, a.Answered+answered
		a.Worst = min(a.Worst, float64(answered)/float64(asked))
	}
	return a
}

// plus adds up two of them.
func (a Availability) plus(b Availability) Availability {
	switch {
	case a.Faults == 0:
		return b
	case b.Faults == 0:
		return a
	}
	return Availability{a.Faults + b.Faults, a.Asked + b.Asked, a.Answered + b.Answered, min(a.Worst, b.Worst)}
}

// availabilities is the table of them.
func availabilities(w *writer, rows []Row) {
	w.line("## Reads while one member is at fault")
	w.line("")
	w.line("Linearizable reads with a context of 5 s that overlap a fault of a single member.")
	w.line("This client must answer at least %.1f %% of its reads.", 100*availableShare)
	w.line("")
	w.line("| # | scenario | client | faults | answered / asked | share | worst fault | verdict |")
	w.line("|--:|---|---|--:|--:|--:|--:|---|")
	for i := range rows {
		r := &rows[i]
		a := r.Availability
		if a.Faults == 0 {
			continue
		}
		verdict := "enough"
		if !a.Enough() {
			verdict = "TOO FEW"
		}
		w.line("| %d | %s | %s | %d | %d / %d | %s | %.2f %% | %s |", r.Number, r.Scenario, r.Client, a.Faults,
			a.Answered, a.Asked, share(a.Answered, a.Asked), 100*a.Worst, verdict)
	}
	w.line("")
}
