package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"silly.store/etcd/robustness/internal/check"
)

// Failed reports whether this row fails the whole run: it did not count, or our
// client broke an invariant or answered too few reads. In a run of client/v3 the other client
// is ours.
func (row *Row) Failed() bool {
	if row.Client != ours {
		return len(row.Short) > 0 || row.Others() > 0
	}
	return len(row.Short) > 0 || row.Broken() > 0 || !row.Availability.Enough()
}

// Result returns the verdict in a word or two.
func (row *Row) Result() string {
	switch {
	case len(row.Short) > 0:
		return "NOT RUN"
	case row.Broken() > 0:
		return "BROKEN"
	case !row.Availability.Enough():
		return "READS FAILED"
	}
	return "ok"
}

// Verdict returns the run in one line.
func (row *Row) Verdict() string {
	var parts []string
	for _, f := range row.Findings {
		part := fmt.Sprintf("%s %d of %d", f.Invariant, f.Count, f.Checked)
		if f.Others > 0 {
			part += fmt.Sprintf(" (and %d by the other client)", f.Others)
		}
		parts = append(parts, part)
	}
	if a := row.Availability; a.Faults > 0 {
		parts = append(parts, fmt.Sprintf("reads answered %d of %d", a.Answered, a.Asked))
	}
	text := row.Result()
	if len(row.Short) > 0 {
		text += " (" + strings.Join(row.Short, "; ") + ")"
	}
	return text + ": " + strings.Join(parts, ", ")
}

// markdown writes the report.
func (r *Report) markdown(out io.Writer) error {
	w, rows := &writer{out: out}, r.Scenarios
	w.line("# Robustness report")
	w.line("")
	w.line("Violations are given as \"n of N\", where N is the number of facts checked. A scenario is")
	w.line("\"not run\" if too little happened or the harness failed. README.md describes the invariants and")
	w.line("scenarios and how to repeat a run by its seed.")
	w.line("")
	totals(w, rows)
	for _, what := range r.Missing {
		w.line("The whole run FAILS: it has only %s.", what)
		w.line("")
	}
	w.line("## Violations")
	w.line("")
	w.line("| # | scenario | client | faults | calls | watches (failed) | events | leases | verdict: violations | seed |")
	w.line("|--:|---|---|--:|--:|--:|--:|--:|---|---|")
	for i := range rows {
		r := &rows[i]
		w.line("| %d | %s | %s | %d | %d | %d (%d) | %d | %d | %s | %d |", r.Number, r.Scenario, r.Client, r.Faults, r.Calls, r.Watches, r.Refused, r.Events, r.Leases, r.Verdict(), r.Seed)
	}
	w.line("")
	availabilities(w, rows)
	aroundFaults(w, rows)
	figures(w, rows)
	counts(w, rows)
	mutants(w, r.Mutants)
	details(w, rows)
	w.line("## Invariants")
	w.line("")
	for _, name := range check.Names {
		w.line("- %s: %s", name, check.Meaning[name])
	}
	return w.err
}

// aroundFaults writes how calls fare before, during and after the faults.
func aroundFaults(w *writer, rows []Row) {
	w.line("## Around the faults")
	w.line("")
	w.line("Answered calls per second and the share of answered calls, among calls with a context of 5 s.")
	w.line("\"After\" is the two seconds after a fault; the outage is the longest time without any answer.")
	w.line("")
	w.line("| # | scenario | client | before | during | after | reads OK during | first OK p50 / p99 | outage p50 / max |")
	w.line("|--:|---|---|--:|--:|--:|--:|--:|--:|")
	for i := range rows {
		if r := &rows[i]; r.During.Calls+r.After.Calls > 0 {
			w.line("| %d | %s | %s | %s | %s | %s | %s | %v / %v | %v / %v |", r.Number, r.Scenario, r.Client,
				phase(r.Before), phase(r.During), phase(r.After), share(r.During.ReadsAnswered, r.During.Reads),
				short(r.FirstOK.P50), short(r.FirstOK.P99), short(r.Outage.P50), short(r.Outage.Max))
		}
	}
	w.line("")
	w.line("![answered calls per second around each fault](%s)", fileSVG)
	w.line("")
}

// counts writes the table of the clients' counters.
func counts(w *writer, rows []Row) {
	var lines []string
	for i := range rows {
		r := &rows[i]
		for _, name := range slices.Sorted(maps.Keys(r.Counts)) {
			if n := r.Counts[name]; n > 0 {
				lines = append(lines, fmt.Sprintf("| %d | %s | %s | %s | %d |", r.Number, r.Scenario, r.Client, name, n))
			}
		}
	}
	w.table("Counted by the clients", "| # | scenario | client | what | n |", "|--:|---|---|---|--:|", lines)
}

// figures writes the times that scenarios have measured, and the leases' margins.
func figures(w *writer, rows []Row) {
	var lines []string
	for i := range rows {
		r := &rows[i]
		add := func(what string, s Spread) {
			lines = append(lines, fmt.Sprintf("| %d | %s | %s | %s | %d | %v | %v | %v | %v |", r.Number, r.Scenario, r.Client, what,
				s.N, short(s.Min), short(s.P50), short(s.P99), short(s.Max)))
		}
		if r.Margins.N > 0 {
			add("loss reported before the deletion by", r.Margins)
		}
		for _, name := range sorted(r.Samples) {
			add(name, r.Samples[name])
		}
	}
	w.table("Further times", "| # | scenario | client | what | n | least | p50 | p99 | most |", "|--:|---|---|---|--:|--:|--:|--:|--:|", lines)
}

// table writes a section with a table, unless it has no lines.
func (w *writer) table(title, columns, alignment string, lines []string) {
	if len(lines) == 0 {
		return
	}
	for _, line := range slices.Concat([]string{"## " + title, "", columns, alignment}, lines, []string{""}) {
		w.line("%s", line)
	}
}

// details describes the first violations.
func details(w *writer, rows []Row) {
	const most = 5
	said := false
	for i := range rows {
		r := &rows[i]
		if r.Broken()+r.Others() == 0 {
			continue
		}
		if !said {
			w.line("## What was violated")
			w.line("")
			said = true
		}
		w.line("%s with %s, seed %d:", r.Scenario, r.Client, r.Seed)
		w.line("")
		for _, f := range r.Findings {
			for _, v := range f.Violations[:min(len(f.Violations), most)] {
				w.line("- %s at %v: %s", f.Invariant, short(v.At), v.Text)
			}
			if f.Count > most {
				w.line("- %s: %d more", f.Invariant, f.Count-most)
			}
			for _, v := range f.OtherViolations[:min(len(f.OtherViolations), most)] {
				w.line("- %s by the other client at %v: %s", f.Invariant, short(v.At), v.Text)
			}
			if f.Others > most {
				w.line("- %s by the other client: %d more", f.Invariant, f.Others-most)
			}
		}
		w.line("")
	}
}

// writer writes lines until the first error.
type writer struct {
	out io.Writer
	err error
}

func (w *writer) line(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format+"\n", args...)
	}
}

func phase(p Phase) string {
	if p.Calls == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f/s, %s", p.Rate(), share(p.Answered, p.Calls))
}

func share(n, of int) string {
	switch {
	case of == 0:
		return "–"
	case n == of:
		return "100 %"
	}
	return fmt.Sprintf("%.2f %%", min(100*float64(n)/float64(of), 99.99))
}

func short(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d > 100*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}

func sorted(m map[string]Spread) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
