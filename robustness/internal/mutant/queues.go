package mutant

import "time"

// queueMutants break queues and groups.
var queueMutants = []Mutant{
	{
		Name: "ack-unguarded", Fault: "Ack does not compare the claim's key",
		File:     "queue/claim.go",
		Old:      "		cl.Guard(),\n",
		New:      "",
		Scenario: "queue-deleted", Time: 6 * time.Second, Invariant: "Q1",
	},
	{
		Name: "claim-blind", Fault: "a claim does not compare the item's state, so that a late copy claims an item that is gone",
		File:     "queue/take.go",
		Old:      "			etcd.CompareModRevision(a.it.key, etcd.Equal, a.it.mod),\n			etcd.Missing(a.key()),\n",
		New:      "			etcd.Missing(a.key()),\n",
		Scenario: "queue-late-copies", Time: 12 * time.Second, Invariant: "Q1",
	},
	{
		Name: "claim-forgotten", Fault: "a claim of unknown outcome is not given back when its Take has ended",
		File:     "queue/take.go",
		Old:      "	a.q.background(a.s, a.undo, func() { a.q.view.putBack(a.it) })\n",
		New:      "",
		Scenario: "queue-lost-answers", Time: 8 * time.Second, Invariant: "Q1",
	},
	{
		Name: "ack-forgotten", Fault: "the claim of an Ack of unknown outcome is kept",
		File:     "queue/claim.go",
		Old:      "		cl.overLocked(errDone)\n		cl.giveBack(cl.Attempt)\n",
		New:      "		cl.overLocked(errDone)\n",
		Scenario: "queue-lost-answers", Time: 8 * time.Second, Invariant: "Q1",
	},
	{
		Name: "partition-early", Fault: "a partition is unlocked when its function is told to stop, before that has returned",
		File:     "group/partition.go",
		Old:      "	g.mark(p, true)\n",
		New:      "	g.mark(p, true)\n	context.AfterFunc(ctx, func() { _ = g.release(p) })\n",
		Scenario: "group-cuts", Time: 6 * time.Second, Invariant: "G1",
	},
}
