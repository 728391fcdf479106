// Package mutant breaks the client on purpose, one fault at a time, to see that
// the scenarios find it. A mutant is a change of the client's source which is
// there for one build only (go build -overlay): the client itself knows nothing
// of it.
package mutant

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Mutant is a fault, and what has to find it.
type Mutant struct {
	Name string
	// Fault is what it breaks, in a line.
	Fault string
	// File is where, a path in the root module. Old is the text there that New
	// replaces; it must occur once.
	File, Old, New string
	// Scenario, run for Time, must break Invariant.
	Scenario  string
	Time      time.Duration
	Invariant string
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

// apply puts the fault into the text of m.File.
func (m *Mutant) apply(source string) (string, error) {
	if n := strings.Count(source, m.Old); n != 1 {
		return "", fmt.Errorf("mutant %s is outdated: %s has the text that it replaces %d times, not once:\n%s", m.Name, m.File, n, m.Old)
	}
	return strings.Replace(source, m.Old, m.New, 1), nil
}
