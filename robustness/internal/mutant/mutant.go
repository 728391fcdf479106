// Package mutant breaks the client on purpose, one fault at a time, to check that
// the scenarios find it. A mutant is a change of the client's source for one build
// only (go build -overlay); the client has no code for it.
package mutant

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Mutant is a deliberate fault, and the scenario and invariant, or the test, that must
// find it.
type Mutant struct {
	Name string
	// Fault describes it in one line.
	Fault string
	// File is a path in the root module. New replaces the text Old there, which
	// must occur exactly once.
	File, Old, New string
	// Scenario, run for Time, must break Invariant.
	Scenario  string
	Time      time.Duration
	Invariant string
	// Test, in place of a scenario, is a test or subtest that must fail, of the folder Tests
	// below conformance; empty means client.
	Test, Tests string
}

// folder is where the test is.
func (m *Mutant) folder() string {
	if m.Tests == "" {
		return "conformance/client"
	}
	return "conformance/" + m.Tests
}

// CaughtBy says what must catch the mutant.
func (m *Mutant) CaughtBy() string {
	if m.Test != "" {
		return m.Test
	}
	return m.Invariant + " in " + m.Scenario
}

// Find returns the mutants of these names.
func Find(names []string) ([]Mutant, error) {
	all := All()
	var found []Mutant
	for _, name := range names {
		i := slices.IndexFunc(all, func(m Mutant) bool { return m.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no mutant %q", name)
		}
		found = append(found, all[i])
	}
	return found, nil
}

// apply inserts the fault into the text of m.File.
func (m *Mutant) apply(source string) (string, error) {
	if n := strings.Count(source, m.Old); n != 1 {
		return "", fmt.Errorf("mutant %s is outdated: %s contains the text to replace %d times, not once:\n%s", m.Name, m.File, n, m.Old)
	}
	return strings.Replace(source, m.Old, m.New, 1), nil
}
