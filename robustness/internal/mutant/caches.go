package mutant

import "time"

// cacheMutants break caches.
var cacheMutants = []Mutant{
	{
		Name: "flight-joined", Fault: "a linearizable read of a cache shares a request that was already sent",
		File: "cache/flight.go",
		Old:  "	trip := time.Since(f.left)\n",
		New: `	trip := time.Since(f.left)
	fs.mu.Lock()
	if n := fs.next; n != nil {
		n.left, n.before, n.revision, n.term, n.err = f.left, f.before, f.revision, f.term, f.err
		fs.next = nil
		go func() {
			if n.err == nil && !fs.settle(n) {
				fs.await(n)
			}
			close(n.over)
		}()
	}
	fs.mu.Unlock()
`,
		Scenario: "cache-cuts", Time: 6 * time.Second, Invariant: "C3",
	},
	{
		Name: "flight-advances", Fault: "a cache takes the store's revision for its own before it has the events",
		File: "cache/freshness.go",
		Old:  "	p := ca.current.Load()\n	if p.ended == nil && !f.covered(p) {\n",
		New: `	p := ca.current.Load()
	if p.ended == nil && !f.covered(p) {
		early := *p
		early.revision = f.revision
		p = &early
	}
	if p.ended == nil && !f.covered(p) {
`,
		Scenario: "cache-cuts", Time: 6 * time.Second, Invariant: "C1",
	},
	{
		Name: "half-published", Fault: "a cache shows the first change of a revision before the others",
		File: "cache/cache.go",
		Old:  "	if step.Kind == follow.Resynced {\n",
		New: `	if len(step.Changes) > 1 {
		if err := ca.building.apply(step.Changes[:1]); err != nil {
			return err
		}
		step.Changes = step.Changes[1:]
		half := *b
		ca.publish(&half)
	}
	if step.Kind == follow.Resynced {
`,
		Scenario: "cache-cuts", Time: 6 * time.Second, Invariant: "C1",
	},
	{
		Name: "progress-first", Fault: "a cache is at a revision a moment before it has the events",
		File: "cache/cache.go",
		Old:  "	var b batch\n	err = ca.take(&b, step)\n",
		New: `	if before := ca.current.Load(); before.ready() && step.Kind == follow.Changed {
		early := *before
		early.revision = step.Revision
		ca.current.Store(&early)
		ca.waiters.wake(step.Revision)
		time.Sleep(time.Millisecond)
	}
	var b batch
	err = ca.take(&b, step)
`,
		Scenario: "cache-cuts", Time: 6 * time.Second, Invariant: "C1",
	},
	{
		Name: "resync-keeps", Fault: "what was deleted while history was lost stays in the cache",
		File:     "internal/follow/snapshot.go",
		Old:      "		for more && old.Key < kv.Key {\n			changes = append(changes, Change{Old: old})\n",
		New:      "		for more && old.Key < kv.Key {\n",
		Scenario: "cache-compaction", Time: 8 * time.Second, Invariant: "C1",
	},
	{
		Name: "peek-unpublished", Fault: "Peek finds a version before its revision is there",
		File:     "cache/index.go",
		Old:      "	for v.position > p.position {\n",
		New:      "	for v.position > p.position+1<<40 {\n",
		Scenario: "cache-cuts", Time: 8 * time.Second, Invariant: "C1",
	},
	{
		Name: "diff-skips", Fault: "the difference of two trees skips subtrees with as many items",
		File:     "internal/cowtree/diff.go",
		Old:      "	case len(d.old) > 0 && len(d.new) > 0 && old.child == new.child && old.item == new.item:\n",
		New:      "	case len(d.old) > 0 && len(d.new) > 0 && (old.child == new.child && old.item == new.item || old.child.leaf != nil && new.child.leaf != nil && old.child.leaf.n == new.child.leaf.n):\n",
		Scenario: "cache-cuts", Time: 4 * time.Second, Invariant: "C6",
	},
	{
		Name: "floor-forgotten", Fault: "a cache forgets what the server has answered in its place",
		File:     "cache/floor.go",
		Old:      "		if ca.floor.CompareAndSwap(old, &floor{p.epoch, revision}) {\n",
		New:      "		if old == nil {\n",
		Scenario: "cache-cuts", Time: 8 * time.Second, Invariant: "C2",
	},
	{
		Name: "least-ignored", Fault: "AtLeast is content with the revision before the one that was asked for",
		File:     "cache/freshness.go",
		Old:      "		return p.revision >= max(f.revision, ca.floor.Load().of(p))\n",
		New:      "		return p.revision+1 >= max(f.revision, ca.floor.Load().of(p))\n",
		Scenario: "cache-cuts", Time: 6 * time.Second, Invariant: "C4",
	},
	{
		Name: "proof-late", Fault: "a proof that the cache is current is dated a second after it",
		File:     "cache/freshness.go",
		Old:      "		ca.prove(proof{f.left, p.epoch, f.revision, f.term})\n",
		New:      "		ca.prove(proof{time.Now().Add(time.Second), p.epoch, f.revision, f.term})\n",
		Scenario: "cache-cuts", Time: 6 * time.Second, Invariant: "C5",
	},
	{
		Name: "loss-ignored", Fault: "a cache whose history was lost does not read its range again",
		File:     "internal/follow/snapshot.go",
		Old:      "	f.phase = unread\n	f.reset = ",
		New:      "	f.phase = unwatched\n	f.reset = ",
		Scenario: "cache-compaction", Time: 8 * time.Second, Invariant: "C7",
	},
	{
		Name: "lag-unbounded", Fault: "what a stopped subscriber keeps is not bounded",
		File:     "cache/lagging.go",
		Old:      "	l.livingLocked(func(p *place) { p.limit(now, maxLagBytes) })\n",
		New:      "	l.livingLocked(func(p *place) { p.limit(now, 1<<62) })\n",
		Scenario: "cache-slow", Time: 25 * time.Second, Invariant: "C8",
	},
	{
		Name: "watch-left", Fault: "the watch of a cache that was closed goes on",
		File:     "cache/cache.go",
		Old:      "	ca.follower.Close()\n",
		New:      "",
		Scenario: "cache-cuts", Time: 3 * time.Second, Invariant: "C9",
	},
}
