package report

import (
	"fmt"
	"strings"
	"time"
)

// Mutant is the result of one mutant of the client.
type Mutant struct {
	Name, Fault string
	// Scenario must catch it, by breaking Invariant.
	Scenario, Invariant string
	Seed                uint64
	Caught              bool
	// Violations of the invariant were found among Checked facts, the first at
	// First on the run's clock, which includes the servers' start. 0: unknown.
	Violations, Checked int
	First               time.Duration
	// Also lists other invariants that were broken.
	Also []string `json:",omitempty"`
	// Took is the total time of build, run and judging.
	Took time.Duration
	// Error is why there is no verdict; "" if there is one.
	Error string `json:",omitempty"`
}

// Verdict returns the result in one line.
func (m *Mutant) Verdict() string {
	switch {
	case m.Error != "":
		return "NOT RUN (" + m.Error + ")"
	case !m.Caught:
		text := "SURVIVED"
		if len(m.Also) > 0 {
			text += " " + m.Invariant + ", broke only " + strings.Join(m.Also, ", ")
		}
		return text
	}
	text := "caught by " + m.Invariant
	if m.First > 0 {
		text += fmt.Sprintf(" after %v", short(m.First))
	}
	return text
}

// mutants writes the table of the mutants.
func mutants(w *writer, all []Mutant) {
	if len(all) == 0 {
		return
	}
	caught := 0
	for i := range all {
		if all[i].Caught {
			caught++
		}
	}
	w.line("## Mutants")
	w.line("")
	w.line("Faults built into this client for one run each, and the invariant by which the scenario had to")
	w.line("find them: %d of %d were caught. Times of violations include the start of the servers.", caught, len(all))
	w.line("")
	w.line("| mutant | what it does | scenario | verdict | violations | also broken | build and run took | seed |")
	w.line("|---|---|---|---|--:|---|--:|--:|")
	for i := range all {
		m := &all[i]
		w.line("| %s | %s | %s | %s | %d of %d | %s | %v | %d |", m.Name, m.Fault, m.Scenario, oneLine(m.Verdict()),
			m.Violations, m.Checked, strings.Join(m.Also, ", "), m.Took.Round(time.Second), m.Seed)
	}
	w.line("")
}

// oneLine makes a text fit into a cell of a table.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}
