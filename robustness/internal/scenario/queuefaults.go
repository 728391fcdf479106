package scenario

import (
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
)

// queueScenarios are the scenarios of faults under queues and groups.
var queueScenarios = []Scenario{
	{
		Number: 70, Name: "queue-cuts", About: "connections are reset at a random byte of requests and answers; a work queue", Quick: true,
		Judged: []string{"Q1"}, Time: 20 * time.Second, Least: history.Amount{Faults: 60, Items: 500}, LeasesMayEnd: true,
		run: underQueues(queueing{ttl: 3 * time.Second, long: 150 * time.Millisecond, workers: 4}, cycle{name: "cut", harmless: true, gap: 80 * time.Millisecond, inject: eachWay(2048)}),
	},
	{
		Number: 71, Name: "queue-lost-answers", About: "requests arrive, answers are lost; a work queue",
		Judged: []string{"Q1"}, Time: 30 * time.Second, Least: history.Amount{Faults: 4, Items: 500}, LeasesMayEnd: true,
		run: underQueues(queueing{ttl: 3 * time.Second, long: 150 * time.Millisecond, workers: 4}, cycle{name: "answers lost", gap: 2 * time.Second, hold: 1500 * time.Millisecond, inject: link(etcdtest.ToClient, etcdtest.Fault{Discard: true})}),
	},
	{
		Number: 72, Name: "queue-late-copies", About: "members are suspended with requests in their hands, and go on with them when these were answered elsewhere; a work queue",
		Judged: []string{"Q1"}, Time: 30 * time.Second, Least: history.Amount{Faults: 3, Items: 300},
		run: underQueues(queueing{ttl: 30 * time.Second, workers: 6}, cycle{name: "member suspended", oneMember: true, gap: 2500 * time.Millisecond, hold: 4 * time.Second, inject: hang(inTurn)}),
	},
	{
		Number: 73, Name: "queue-revoked", About: "leases of workers are revoked by hand; a work queue",
		Judged: []string{"Q1"}, Time: 20 * time.Second, Least: history.Amount{Faults: 15, Items: 300}, LeasesMayEnd: true,
		run: underQueues(queueing{ttl: 3 * time.Second, long: time.Second, workers: 4}, cycle{name: "lease revoked", harmless: true, gap: 400 * time.Millisecond, inject: revokeUnder(claimKeys)}),
	},
	{
		Number: 74, Name: "queue-deleted", About: "claims are deleted by hand; a work queue",
		Judged: []string{"Q1"}, Time: 20 * time.Second, Least: history.Amount{Faults: 40, Items: 300},
		run: underQueues(queueing{ttl: 10 * time.Second, long: 500 * time.Millisecond, workers: 4}, cycle{name: "claim deleted", harmless: true, gap: 100 * time.Millisecond, inject: deleteUnder(claimKeys)}),
	},
	{
		Number: 75, Name: "queue-kills", About: "members are killed in turn and started again; a work queue",
		Judged: []string{"Q1"}, Time: 30 * time.Second, Least: history.Amount{Faults: 3, Items: 300}, LeasesMayEnd: true,
		run: underQueues(queueing{ttl: 3 * time.Second, long: 150 * time.Millisecond, workers: 4}, cycle{name: "member killed", oneMember: true, gap: 3 * time.Second, hold: 2 * time.Second, inject: kill(inTurn)}),
	},
	{
		Number: 76, Name: "group-cuts", About: "members come and go, and connections are reset; partitions over a group",
		Judged: []string{"G1"}, OursOnly: true, Time: 20 * time.Second, Least: history.Amount{Faults: 60, Owned: 50}, LeasesMayEnd: true,
		run: underGroups(3*time.Second, cycle{name: "cut", harmless: true, gap: 80 * time.Millisecond, inject: eachWay(2048)}),
	},
	{
		Number: 77, Name: "group-revoked", About: "members come and go, and their leases are revoked by hand; partitions over a group",
		Judged: []string{"G1"}, OursOnly: true, Time: 20 * time.Second, Least: history.Amount{Faults: 10, Owned: 50}, LeasesMayEnd: true,
		run: underGroups(3*time.Second, cycle{name: "lease revoked", harmless: true, gap: 700 * time.Millisecond, inject: revokeUnder(history.Groups)}),
	},
	{
		Number: 78, Name: "group-stall", About: "members come and go, and two clients of three are cut off for longer than their leases live; partitions over a group",
		Judged: []string{"G1"}, OursOnly: true, Time: 30 * time.Second, Least: history.Amount{Faults: 2, Owned: 50}, LeasesMayEnd: true,
		run: underGroups(3*time.Second, cycle{name: "stalled", gap: 4 * time.Second, hold: 5 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Stall: true})}),
	},
}
