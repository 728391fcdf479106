package scenario

import (
	"math/rand/v2"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
)

// ttls chooses whole seconds from low to high.
func ttls(low, high int) func() time.Duration {
	return func() time.Duration { return time.Duration(low+rand.IntN(high-low+1)) * time.Second }
}

// leaseScenarios are faults under leases.
var leaseScenarios = []Scenario{
	{
		Number: 24, Name: "lease-stall", About: "renewals and their answers are held back from a random moment on, longer than leases live", Quick: true,
		Judged: []string{"I5"}, Time: 60 * time.Second, Least: history.Amount{Faults: 3, Leases: 100}, LeasesMayEnd: true,
		run: func(w *world) error {
			w.leases(40, ttls(2, 5))
			return w.cycles(cycle{name: "stalled", gap: 5 * time.Second, hold: 8 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Stall: true})})
		},
	},
	{
		Number: 25, Name: "lease-late-answers", About: "answers take nine tenths of the leases' time", Quick: true,
		Judged: []string{"I5"}, Time: 60 * time.Second, Least: history.Amount{Faults: 3, Leases: 20},
		run: lateAnswers,
	},
}

// lateAnswers delays what members say by 0.9 of a lease's time. Requests are
// quick, so renewals reach the server in time and no lease is lost.
func lateAnswers(w *world) error {
	const ttl = 4 * time.Second
	w.leases(20, func() time.Duration { return ttl })
	return w.cycles(cycle{
		name: "answers late", gap: 3 * time.Second, hold: 12 * time.Second,
		inject: link(etcdtest.ToClient, etcdtest.Fault{Delay: ttl * 9 / 10}),
	})
}
