package mutant

import "time"

// lockMutants break locks and elections.
var lockMutants = []Mutant{
	{
		Name: "late-copy", Fault: "the compare that voids late copies of a request that queues is left out",
		File:     "concurrency/queue.go",
		Old:      "If:   append(r.compares[:0], etcd.Missing(p.key), p.s.inEpoch(epoch)),",
		New:      "If:   append(r.compares[:0], etcd.Missing(p.key)),",
		Scenario: "lock-late-copies", Time: 12 * time.Second, Invariant: "L5",
	},
	{
		Name: "old-deletions", Fault: "deletions older than what a waiter has read count for it",
		File:     "concurrency/member.go",
		Old:      "if d.revision <= m.seen || m.gone {",
		New:      "if m.gone {",
		Scenario: "lock-cuts", Time: 6 * time.Second, Invariant: "L2",
	},
	{
		Name: "own-key-unchecked", Fault: "a contender does not notice that its own key is gone",
		File:     "concurrency/member.go",
		Old:      "	if d.key == m.key {\n",
		New:      "	if d.key == m.key && m.hub == nil {\n",
		Scenario: "lock-deleted", Time: 6 * time.Second, Invariant: "L2",
	},
	{
		Name: "unlock-blind", Fault: "Unlock deletes the key without comparing whose it is",
		File:     "concurrency/wait.go",
		Old:      "etcd.TxnRequest{If: []etcd.Compare{p.guard()}, Then: []etcd.Op{etcd.DeleteRequest{Key: p.key}}}",
		New:      "etcd.TxnRequest{Then: []etcd.Op{etcd.DeleteRequest{Key: p.key}}}",
		Scenario: "lock-deleted", Time: 6 * time.Second, Invariant: "L2",
	},
	{
		Name: "dirty-slot", Fault: "a key's name is used again although a request under way may put it",
		File:     "concurrency/wait.go",
		Old:      "case p.created == 0 && !p.doubt:",
		New:      "case p.created == 0:",
		Scenario: "lock-lost-answers", Time: 6 * time.Second, Invariant: "L5",
	},
	{
		Name: "direct-predecessor", Fault: "a waiter waits only for its direct predecessor",
		File:     "concurrency/wait.go",
		Old:      "	o.before = blockers(list)\n",
		New:      "	o.before = blockers(list[:min(1, len(list))])\n",
		Scenario: "lock-cuts", Time: 6 * time.Second, Invariant: "L2",
	},
	{
		Name: "first-only", Fault: "a waiter waits only for the first in the queue",
		File:     "concurrency/wait.go",
		Old:      "	o.before = blockers(list)\n",
		New:      "	o.before = blockers(list[max(len(list)-1, 0):])\n",
		Scenario: "lock-cuts", Time: 6 * time.Second, Invariant: "L3",
	},
	{
		Name: "context-late", Fault: "the contexts of locks end a second after their lease can",
		File:     "concurrency/session.go",
		Old:      "		_ = l.lose(cause) // the lock keeps it\n",
		New:      "		time.AfterFunc(s.co.config.Grace+time.Second, func() { _ = l.lose(cause) })\n",
		Scenario: "lock-stall", Time: 12 * time.Second, Invariant: "L2",
	},
	{
		Name: "unguarded", Fault: "Lock.Txn does not compare the key of the lock",
		File:     "concurrency/lock.go",
		Old:      "etcd.TxnRequest{If: []etcd.Compare{l.p.guard()}, Then: []etcd.Op{req}}",
		New:      "etcd.TxnRequest{Then: []etcd.Op{req}}",
		Scenario: "lock-deleted", Time: 6 * time.Second, Invariant: "L1",
	},
	{
		Name: "readers-pass", Fault: "readers do not wait for writers",
		File:     "concurrency/rwmutex.go",
		Old:      "prefix: readers, kinds: []string{writers}}",
		New:      "prefix: readers, kinds: []string{writers + \"none/\"}}",
		Scenario: "lock-cuts", Time: 6 * time.Second, Invariant: "L4",
	},
	{
		Name: "weightless", Fault: "a semaphore counts holders, not what they weigh",
		File:     "concurrency/wait.go",
		Old:      "		before[i].weight = min(weight, q.limit)\n",
		New:      "		before[i].weight = min(weight, 1)\n",
		Scenario: "lock-cuts", Time: 6 * time.Second, Invariant: "L4",
	},
	{
		Name: "sleep-on", Fault: "waiters go on waiting when their watch has lost events",
		File:     "concurrency/hub.go",
		Old:      "		m.stale = m.stale || m.in\n		m.outLocked()\n",
		New:      "",
		Scenario: "lock-compaction", Time: 5 * time.Second, Invariant: "L6",
	},
	{
		Name: "proclaim-blind", Fault: "a late copy of a proclamation is applied after a later one",
		File:     "concurrency/leadership.go",
		Old:      "If:   []etcd.Compare{p.guard(), etcd.CompareModRevision(p.key, etcd.Equal, ld.last)},",
		New:      "If:   []etcd.Compare{p.guard()},",
		Scenario: "lock-cuts", Time: 10 * time.Second, Invariant: "L7",
	},
	{
		Name: "observe-nobody", Fault: "an observer reports that nobody leads when the leader's key goes, although others are there",
		File:     "concurrency/observe.go",
		Old:      "	if !lost {\n",
		New:      "	if lost = false; !lost {\n",
		Scenario: "lock-cuts", Time: 6 * time.Second, Invariant: "L7",
	},
	{
		Name: "resign-early", Fault: "Run resigns when its context ends, before the function has returned",
		File:     "concurrency/run.go",
		Old:      "	err = e.call(held, ld, f)\n",
		New:      "	context.AfterFunc(held, func() { _ = ld.Resign(context.WithoutCancel(ctx)) })\n	err = e.call(held, ld, f)\n",
		Scenario: "lock-cuts", Time: 6 * time.Second, Invariant: "L8",
	},
	{
		Name: "leave-alone", Fault: "who leaves a double barrier does not wait for the others of its round",
		File:     "concurrency/doublebarrier.go",
		Old:      "string(kv.Value) == r.mark {",
		New:      "string(kv.Value) == r.mark+r.mark {",
		Scenario: "lock-cuts", Time: 6 * time.Second, Invariant: "L4",
	},
}
