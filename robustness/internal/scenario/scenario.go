// Package scenario holds what is done to a cluster and to a client of it, and
// the loads that go on meanwhile.
package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
)

// Scenario is a fault and a load.
type Scenario struct {
	Number int
	Name   string
	// About is the fault and the load in one line.
	About  string
	Judged []string
	// Time is how long it goes on unless told otherwise.
	Time time.Duration
	// Least is what must have happened in that time.
	Least history.Amount
	// LeasesMayEnd: faults are long enough to cost leases.
	LeasesMayEnd bool
	// Quick is whether it is part of the quick run.
	Quick   bool
	Cluster etcdtest.ClusterConfig
	// TokenTTL, when not 0, turns authentication on, with tokens that live so long.
	TokenTTL time.Duration

	run func(*world) error
}

// All are the scenarios in the order of their numbers.
func All() []Scenario {
	all := slices.Concat(memberScenarios, linkScenarios, watchScenarios, leaseScenarios, authScenarios, replaceScenarios, coalescedScenarios, otherScenarios)
	slices.SortFunc(all, func(a, b Scenario) int { return a.Number - b.Number })
	return all
}

// Find returns the scenarios with these names or numbers.
func Find(names []string) ([]Scenario, error) {
	all := All()
	var found []Scenario
	for _, name := range names {
		i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name || strconv.Itoa(s.Number) == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q", name)
		}
		found = append(found, all[i])
	}
	return found, nil
}

// least is what must have happened in a run of a given time.
func (s *Scenario) least(d time.Duration) history.Amount {
	part := min(float64(d)/float64(s.Time), 1)
	scale := func(n int) int {
		if n == 0 {
			return 0
		}
		return max(int(float64(n)*part), 1)
	}
	return history.Amount{
		Faults: scale(s.Least.Faults), Calls: scale(s.Least.Calls), Events: scale(s.Least.Events), Leases: scale(s.Least.Leases),
		Authentications: scale(s.Least.Authentications), Batches: scale(s.Least.Batches),
	}
}
