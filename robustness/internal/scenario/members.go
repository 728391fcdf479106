package scenario

import (
	"context"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
)

// callers and pace of the loads: enough for several calls in flight at any time, few
// enough not to saturate the servers.
const (
	callers = 20
	pace    = 6 * time.Millisecond
)

// reading describes the watches of most loads.
var reading = watching{filters: keyFilters, back: 300, ahead: 100, life: 4 * time.Second}

// mixed is the load of mixed calls.
func (w *world) mixed() {
	w.keys(callers, pace)
	w.bursts()
}

// underKeys is a load of keys with a recurring fault.
func underKeys(c cycle) func(*world) error {
	return func(w *world) error {
		w.mixed()
		return w.cycles(c)
	}
}

// underWatches is underKeys plus watches: some come and go, some stay.
func underWatches(c cycle) func(*world) error {
	return func(w *world) error {
		w.mixed()
		filters := w.churn(1, 10*time.Millisecond)
		w.watchers(16, reading)
		w.watchers(20, watching{filters: keyFilters})
		w.watchers(8, watching{filters: filters, back: 300, life: 6 * time.Second})
		return w.cycles(c)
	}
}

// memberScenarios are the scenarios of faults of members.
var memberScenarios = []Scenario{
	{
		Number: 1, Name: "kill-leader", About: "the leader is killed and started again; mixed calls", Quick: true,
		Judged: []string{"I1", "I2", "I7", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 4, Calls: 10_000, Batches: 20},
		run: underKeys(cycle{name: "leader killed", oneMember: true, gap: 4 * time.Second, hold: 3 * time.Second, inject: kill(leads)}),
	},
	{
		Number: 2, Name: "kill-follower", About: "a follower is killed and started again; mixed calls",
		Judged: []string{"I1", "I2", "I7", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 4, Calls: 10_000, Batches: 20},
		run: underKeys(cycle{name: "follower killed", oneMember: true, gap: 4 * time.Second, hold: 3 * time.Second, inject: kill(follows)}),
	},
	{
		Number: 3, Name: "stop-leader", About: "the leader is suspended for 1, 5, 15 s; mixed calls",
		Judged: []string{"I1", "I2", "I7", "I8"}, Time: 65 * time.Second, Least: history.Amount{Faults: 4, Calls: 5_000, Batches: 20},
		run: underKeys(cycle{name: "leader suspended", oneMember: true, gap: 4 * time.Second, holds: []time.Duration{time.Second, 5 * time.Second, 15 * time.Second}, inject: hang(leads)}),
	},
	{
		Number: 4, Name: "stop-follower", About: "a follower is suspended; mixed calls",
		Judged: []string{"I1", "I7", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 4, Calls: 10_000, Batches: 20},
		run: underKeys(cycle{name: "follower suspended", oneMember: true, gap: 5 * time.Second, hold: 4 * time.Second, inject: hang(follows)}),
	},
	{
		Number: 5, Name: "rolling-restart", About: "members are restarted in turn; mixed calls and watches",
		Judged: []string{"I1", "I2", "I3", "I4", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 3, Calls: 10_000, Events: 50_000, Batches: 20},
		run: underWatches(cycle{name: "member restarted", oneMember: true, gap: 3 * time.Second, hold: time.Second, inject: terminate(inTurn)}),
	},
	{
		Number: 6, Name: "no-quorum", About: "two members are killed and started again; mixed calls",
		Judged: []string{"I1", "I2", "I7", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 3, Calls: 5_000, Batches: 20},
		run: underKeys(cycle{name: "quorum lost", gap: 5 * time.Second, hold: 4 * time.Second, inject: noQuorum}),
	},
	{
		Number: 7, Name: "move-leader", About: "leadership keeps moving; mixed calls and watches",
		Judged: []string{"I1", "I2", "I3", "I4", "I8"}, Time: 40 * time.Second, Least: history.Amount{Faults: 20, Calls: 5_000, Events: 50_000, Batches: 20},
		run: underWatches(cycle{name: "leader moved", gap: 800 * time.Millisecond, inject: moveLeader}),
	},
	{
		Number: 13, Name: "goaway", About: "members shut down with GOAWAY under a heavy load of calls and watches", Quick: true,
		Judged: []string{"I1", "I2", "I3", "I4", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 3, Calls: 20_000, Events: 50_000, Batches: 20},
		run: goodbyes,
	},
	{
		Number: 14, Name: "minority", About: "a member is cut off from the others but still reachable for clients; mixed calls and watches",
		Judged: []string{"I1", "I2", "I3", "I4", "I7", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 4, Calls: 5_000, Events: 20_000, Batches: 20},
		Cluster: etcdtest.ClusterConfig{PeerProxies: true},
		run:     underWatches(cycle{name: "member cut off", oneMember: true, gap: 5 * time.Second, hold: 4 * time.Second, inject: isolate(inTurn)}),
	},
}

// goodbyes makes members shut down with many requests in flight; slightly slow links
// keep them there.
func goodbyes(w *world) error {
	for _, p := range w.proxies {
		p.Set(etcdtest.BothWays, etcdtest.Fault{Delay: 10 * time.Millisecond})
	}
	w.keys(callers, pace)
	return underWatches(cycle{name: "member says goodbye", oneMember: true, gap: 1500 * time.Millisecond, hold: 100 * time.Millisecond, inject: terminate(inTurn)})(w)
}

// handOver makes the leader transfer leadership to another member.
func (w *world) handOver(ctx context.Context, leader *etcdtest.Server, target uint64) error {
	c, err := w.official(leader.Endpoints()...)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.MoveLeader(ctx, target)
	return err
}
