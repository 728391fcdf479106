package report

import (
	"fmt"
	"slices"
)

// ours is the client whose failures fail the run.
const ours = "ours"

// The minimum totals of a full run of our client.
const (
	wantedCalls  = 1_000_000
	wantedEvents = 10_000_000
)

// total is the sum over all scenarios of a client.
type total struct {
	client                         string
	scenarios, notRun, unavailable int
	faults, calls, events, broken  int
}

// sum adds up the scenarios of each client, in the order in which clients appear.
func sum(rows []Row) []total {
	var totals []total
	for i := range rows {
		r := &rows[i]
		at := slices.IndexFunc(totals, func(t total) bool { return t.client == r.Client })
		if at < 0 {
			at = len(totals)
			totals = append(totals, total{client: r.Client})
		}
		t := &totals[at]
		t.scenarios, t.faults, t.calls, t.events, t.broken = t.scenarios+1, t.faults+r.Faults, t.calls+r.Calls, t.events+r.Events, t.broken+r.Broken()
		if len(r.Short) > 0 {
			t.notRun++
		}
		if !r.Availability.Enough() {
			t.unavailable++
		}
	}
	return totals
}

// Shortfall returns how a run of all scenarios at their full times falls short of the
// minimum totals.
func Shortfall(rows []Row) []string {
	var missing []string
	for _, t := range sum(rows) {
		if t.client != ours {
			continue
		}
		if t.calls < wantedCalls {
			missing = append(missing, fmt.Sprintf("%d calls of %d", t.calls, wantedCalls))
		}
		if t.events < wantedEvents {
			missing = append(missing, fmt.Sprintf("%d watch events of %d", t.events, wantedEvents))
		}
	}
	return missing
}

// totals is the table of the sums.
func totals(w *writer, rows []Row) {
	w.line("| client | scenarios | not run | faults | calls | watch events | violations | reads short of %.1f %% |", 100*availableShare)
	w.line("|---|--:|--:|--:|--:|--:|--:|--:|")
	for _, t := range sum(rows) {
		w.line("| %s | %d | %d | %d | %d | %d | %d | %d |", t.client, t.scenarios, t.notRun, t.faults, t.calls, t.events, t.broken, t.unavailable)
	}
	w.line("")
}
