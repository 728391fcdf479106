// Package report makes tables and pictures of judged histories.
package report

import (
	"slices"
	"sort"
	"time"

	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
)

// Row is one scenario with one client: the verdicts and the figures.
type Row struct {
	Scenario string
	Number   int
	Client   string
	Seed     uint64
	Took     time.Duration

	Faults, Calls, Events, Watches, Leases, Scans int
	// Refused counts watches that could not be created.
	Refused int

	Findings []check.Finding
	// Short lists why the run doesn't count: what it has too little of, and
	// failures of the harness.
	Short []string `json:",omitempty"`

	Before, During, After Phase
	// FirstOK is, per fault, the time from its begin until the first answer to a
	// call that began after it.
	FirstOK Spread
	// Outage is, per fault, the longest time without any answer from its begin
	// until two seconds after its end.
	Outage Spread
	// Margins holds, for each lost lease, the time from the report of the loss to
	// the deletion by the server.
	Margins Spread
	Samples map[string]Spread `json:",omitempty"`
	// Counts holds the clients' own counters.
	Counts       map[string]int64 `json:",omitempty"`
	Availability Availability

	// Curve is answered calls per second around the begin of a fault, the mean of
	// the faults that lasted about as long as Hold.
	Curve []Point `json:",omitempty"`
	// Hold is the median duration of a fault.
	Hold time.Duration
}

// Phase is a part of the run: before and between, during, or after faults.
type Phase struct {
	Seconds float64
	// Calls counts calls without a deliberately short deadline, Answered those
	// that succeeded; Reads and ReadsAnswered the same for linearizable reads.
	Calls, Answered, Reads, ReadsAnswered int
}

// Rate is answered calls per second.
func (p Phase) Rate() float64 {
	if p.Seconds == 0 {
		return 0
	}
	return float64(p.Answered) / p.Seconds
}

// Spread is a distribution of times.
type Spread struct {
	N             int
	Min, P50, P99 time.Duration
	Max           time.Duration
}

// Point is one point of a curve.
type Point struct {
	Seconds float64 // from the begin of the fault
	Rate    float64
}

// NewRow judges a run.
func NewRow(r *history.Run) Row {
	row := Row{
		Scenario: r.Scenario, Number: r.Number, Client: r.Client, Seed: r.Seed, Took: r.Took,
		Faults: len(r.Faults), Calls: len(r.Calls), Watches: len(r.Watches), Leases: len(r.Leases), Scans: len(r.Scans),
		Findings: check.Judge(r), Short: check.Short(r), Margins: spread(check.Margins(r)),
		Counts: r.Counts, Availability: availability(r),
	}
	for _, w := range r.Watches {
		if w.Confirmed == 0 {
			row.Refused++
		}
		for i := range w.Responses {
			row.Events += len(w.Responses[i].Events)
		}
	}
	for name, times := range r.Samples {
		if row.Samples == nil {
			row.Samples = make(map[string]Spread)
		}
		row.Samples[name] = spread(times)
	}
	row.phases(r)
	row.recovery(r)
	return row
}

// Broken returns the number of violations.
func (row *Row) Broken() int {
	n := 0
	for _, f := range row.Findings {
		n += f.Count
	}
	return n
}

// Others returns the number of violations by the other client.
func (row *Row) Others() int {
	n := 0
	for _, f := range row.Findings {
		n += f.Others
	}
	return n
}

const (
	// afterwards is how long after its end a fault is followed.
	afterwards = 2 * time.Second
	bin        = 100 * time.Millisecond
	lead       = 1500 * time.Millisecond
)

// phases sorts the calls by when they began.
func (row *Row) phases(r *history.Run) {
	during, after := time.Duration(0), time.Duration(0)
	for i, x := range r.Faults {
		during += time.Duration(x.To - x.From)
		next := int64(r.Took)
		if i+1 < len(r.Faults) {
			next = r.Faults[i+1].From
		}
		after += min(time.Duration(next-x.To), afterwards)
	}
	row.During.Seconds, row.After.Seconds = during.Seconds(), after.Seconds()
	row.Before.Seconds = max(r.Took-during-after, 0).Seconds()
	for i := range r.Calls {
		c := &r.Calls[i]
		if !c.Patient {
			continue
		}
		p := &row.Before
		if j := lastFault(r, c.Began); j >= 0 {
			switch x := r.Faults[j]; {
			case c.Began <= x.To:
				p = &row.During
			case c.Began <= x.To+int64(afterwards):
				p = &row.After
			}
		}
		p.Calls++
		read := c.Kind == history.Get && !c.Stale
		if read {
			p.Reads++
		}
		if c.Fate == history.Done {
			p.Answered++
			if read {
				p.ReadsAnswered++
			}
		}
	}
}

// lastFault returns the last one that began before a time; -1 if there is none.
func lastFault(r *history.Run, at int64) int {
	return sort.Search(len(r.Faults), func(i int) bool { return r.Faults[i].From > at }) - 1
}

// answer is a call that was answered.
type answer struct{ began, ended int64 }

// answers are in the order of their ends.
type answers []answer

// from is the number of answers before t.
func (a answers) from(t int64) int {
	return sort.Search(len(a), func(i int) bool { return a[i].ended >= t })
}

// recovery measures each fault and draws the curve over all.
func (row *Row) recovery(r *history.Run) {
	var all answers
	for i := range r.Calls {
		if c := &r.Calls[i]; c.Fate == history.Done && !c.Stale && c.Patient {
			all = append(all, answer{c.Began, c.Ended})
		}
	}
	if len(all) == 0 || len(r.Faults) == 0 {
		return
	}
	slices.SortFunc(all, func(a, b answer) int { return int(a.ended - b.ended) })
	var first, outages, holds []time.Duration
	for _, x := range r.Faults {
		holds = append(holds, time.Duration(x.To-x.From))
		longest, last := int64(0), x.From
		found := false
		for i := all.from(x.From); i < len(all) && last < x.To+int64(afterwards); i++ {
			a := all[i]
			if !found && a.began >= x.From {
				first, found = append(first, time.Duration(a.ended-x.From)), true
			}
			longest, last = max(longest, a.ended-last), a.ended
		}
		outages = append(outages, time.Duration(longest))
	}
	row.FirstOK, row.Outage = spread(first), spread(outages)
	row.Hold = spread(holds).P50
	if row.Hold >= bin { // a shorter one is a moment, not a time
		row.curve(r.Faults, all)
	}
}

// curve draws the answers per second around faults of about row.Hold.
func (row *Row) curve(faults []history.Fault, all answers) {
	for b := range int((lead + row.Hold + 2*afterwards) / bin) {
		at := time.Duration(b)*bin - lead
		n, counted := 0, 0
		for i, x := range faults {
			begin, end := x.From+int64(at), x.From+int64(at+bin)
			hold := time.Duration(x.To - x.From)
			alike := hold > row.Hold*7/10 && hold < row.Hold*13/10
			if !alike || i > 0 && begin < faults[i-1].To || i+1 < len(faults) && end > faults[i+1].From || end > all[len(all)-1].ended {
				continue
			}
			n, counted = n+all.from(end)-all.from(begin), counted+1
		}
		if counted > 0 {
			row.Curve = append(row.Curve, Point{at.Seconds(), float64(n) / float64(counted) / bin.Seconds()})
		}
	}
	if len(row.Curve) < 2 {
		row.Curve = nil // nothing to draw a line through
	}
}

func spread(times []time.Duration) Spread {
	if len(times) == 0 {
		return Spread{}
	}
	times = slices.Clone(times)
	slices.Sort(times)
	at := func(p float64) time.Duration { return times[int(p*float64(len(times)-1)+0.5)] }
	return Spread{N: len(times), Min: times[0], P50: at(0.5), P99: at(0.99), Max: times[len(times)-1]}
}
