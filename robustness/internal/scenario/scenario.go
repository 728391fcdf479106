// Package scenario holds the faults injected into a cluster and its clients, and
// the loads that run meanwhile.
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
	// About describes the fault and the load in one line.
	About  string
	Judged []string
	// Time is how long it runs by default.
	Time time.Duration
	// Least is the minimum that must happen in that time.
	Least history.Amount
	// LeasesMayEnd: faults are long enough to cost leases.
	LeasesMayEnd bool
	// Quick: it is part of the quick run.
	Quick bool
	// Alone: it measures the whole process, so no other may run beside it.
	Alone bool
	// OursOnly: the other client has nothing of the kind.
	OursOnly bool
	Cluster  etcdtest.ClusterConfig
	// TokenTTL, if not 0, turns authentication on, with tokens of that lifetime.
	TokenTTL time.Duration

	run func(*world) error
}

// All returns the scenarios in the order of their numbers.
func All() []Scenario {
	all := slices.Concat(memberScenarios, linkScenarios, watchScenarios, leaseScenarios, authScenarios, replaceScenarios, coalescedScenarios, otherScenarios, lockScenarios, exactScenarios, queueScenarios, cacheScenarios)
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

// least returns the minimum that must happen in a run of a given time.
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
		Grants: scale(s.Least.Grants), Items: scale(s.Least.Items), Owned: scale(s.Least.Owned), Reads: scale(s.Least.Reads),
	}
}
