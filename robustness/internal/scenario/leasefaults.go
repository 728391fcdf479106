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

// leaseScenarios are the scenarios of faults under leases.
var leaseScenarios = []Scenario{
	{
		Number: 24, Name: "lease-stall", About: "renewals and their answers are held back from a random moment on, for longer than a lease lives", Quick: true,
		Judged: []string{"I5"}, Time: 45 * time.Second, Least: history.Amount{Faults: 3, Leases: 100}, LeasesMayEnd: true,
		run: func(w *world) error {
			w.leases(40, ttls(2, 5))
			return w.cycles(cycle{name: "stalled", gap: 5 * time.Second, hold: 8 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Stall: true})})
		},
	},
	{
		Number: 25, Name: "lease-late-answers", About: "answers take 0.6 and 0.9 of the leases' TTL, then renewals no longer arrive", Quick: true,
		Judged: []string{"I5"}, Time: 50 * time.Second, Least: history.Amount{Faults: 2, Leases: 40}, LeasesMayEnd: true,
		run: lateAnswers,
	},
}

// lateAnswers delays the members' answers by 0.6 or 0.9 of a lease's TTL and then
// drops requests. A client that counts the TTL from the answer believes in the
// lease for that long after the server has deleted it.
func lateAnswers(w *world) error {
	const ttl = 4 * time.Second
	w.leases(20, func() time.Duration { return ttl })
	return w.cycles(cycle{
		name: "answers late", gap: 5 * time.Second, hold: 3 * ttl,
		inject: func(w *world, n int) (func() error, error) {
			delay := ttl * time.Duration(6+n%2*3) / 10
			heal, err := link(etcdtest.ToClient, etcdtest.Fault{Delay: delay})(w, n)
			if err != nil {
				return nil, err
			}
			w.sleep(ttl * 3 / 2)
			_, err = link(etcdtest.ToServer, etcdtest.Fault{Stall: true})(w, n)
			return heal, err
		},
	})
}
