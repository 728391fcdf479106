package mutant

import (
	"slices"
	"time"
)

// All returns the mutants. Each one's Time is the shortest in which its scenario
// finds the fault reliably; a test takes the time that it takes.
func All() []Mutant {
	return slices.Concat(writeMutants, readMutants, sharedMutants, watchMutants, leaseMutants, connMutants, otherMutants, lockMutants, exactMutants, queueMutants, cacheMutants)
}

// writeMutants break the outcome that writes report.
var writeMutants = []Mutant{
	{
		Name: "retry-unknown", Fault: "a write of unknown outcome is sent again",
		File:     "internal/call/verdict.go",
		Old:      "return r.Method.Class != rpc.Write || e.Outcome != OutcomeUnknown || atLeastOnce",
		New:      "return true",
		Scenario: "cut-requests", Time: 6 * time.Second, Invariant: "I2",
	},
	{
		Name: "deny-unknown", Fault: "a write of unknown outcome is reported as not applied",
		File:     "errors.go",
		Old:      "func (e *Error) maybeApplied() bool { return e.write && e.Outcome == OutcomeUnknown }",
		New:      "func (e *Error) maybeApplied() bool { return false }",
		Scenario: "lost-replies", Time: 2 * time.Second, Invariant: "I2",
	},
	{
		Name: "assume-applied", Fault: "a put whose answer is lost is reported as done",
		File: "internal/call/retry.go",
		Old:  "if attempts > p.Retries || !failed.mayRetry(&r, e.atLeastOnce(ctx)) || endsForElection(ctx, &r, failed) {\n",
		New: `if r.Method.Op == "Put" && failed.Outcome == OutcomeUnknown {
			return false, nil
		}
		if attempts > p.Retries || !failed.mayRetry(&r, e.atLeastOnce(ctx)) || endsForElection(ctx, &r, failed) {
`,
		Scenario: "cut-requests", Time: 4 * time.Second, Invariant: "I1",
	},
	{
		Name: "goaway-id", Fault: "the last stream id of GOAWAY is ignored: all calls in flight count as not processed",
		File:     "internal/transport/read.go",
		Old:      "last := binary.BigEndian.Uint32(payload) & maxStreamID",
		New:      "last := uint32(0)",
		Scenario: "goaway", Time: 15 * time.Second, Invariant: "I2",
	},
}

// readMutants break what calls return, and when.
var readMutants = []Mutant{
	{
		Name: "stale-read", Fault: "any member answers reads from its local state",
		File:     "kv.go",
		Old:      "Serializable: r.Serializable, KeysOnly: r.KeysOnly,",
		New:      "Serializable: true, KeysOnly: r.KeysOnly,",
		Scenario: "kill-follower", Time: 4 * time.Second, Invariant: "I7",
	},
	{
		Name: "late-deadline", Fault: "calls end 100 ms after their deadline",
		File: "internal/transport/call.go",
		Old: `	case <-ctx.Done():
		return c.giveUp(s, func(o Outcome)`,
		New: `	case <-ctx.Done():
		time.Sleep(100 * time.Millisecond)
		return c.giveUp(s, func(o Outcome)`,
		Scenario: "goaway", Time: 2 * time.Second, Invariant: "I8",
	},
}

// sharedMutants break calls that share a request.
var sharedMutants = []Mutant{
	{
		Name: "neighbour", Fault: "a call gets the answer of its neighbour in the batch",
		File:     "internal/coalesce/batch.go",
		Old:      "p := &b.parts[w.index]",
		New:      "p := &b.parts[(w.index+1)%len(b.parts)]",
		Scenario: "coalesced", Time: 2 * time.Second, Invariant: "I1",
	},
	{
		Name: "drop-shared", Fault: "one batch in 20 drops the answer of one of its calls",
		File: "internal/coalesce/batch.go",
		Old:  "w.reply, w.header = p.answer, h\n",
		New: `w.reply, w.header = p.answer, h
		if w.index == 1 && h.Revision%20 == 0 {
			w.reply = nil
		}
`,
		Scenario: "coalesced", Time: 2 * time.Second, Invariant: "I1",
	},
	{
		Name: "resend-batch", Fault: "a batch of puts of unknown outcome is sent again",
		File:     "internal/rpc/table.go",
		Old:      `PutShared      = &Method{Op: "Put", Path: Txn.Path, Class: Write,`,
		New:      `PutShared      = &Method{Op: "Put", Path: Txn.Path, Class: Idempotent,`,
		Scenario: "cut-requests", Time: 40 * time.Second, Invariant: "I2",
	},
	{
		Name: "join-sent", Fault: "a read joins a batch that was already sent",
		File: "internal/coalesce/run.go",
		Old:  "err := s.send(q.c, b)\n",
		New: `err := s.send(q.c, b)
		q.mu.Lock()
		kept := q.waiting[:0]
		for _, w := range q.waiting {
			i, ok := b.index[w.key]
			if !ok || err != nil || len(b.parts) == 1 {
				kept = append(kept, w)
				continue
			}
			w.batch, w.index = b, i
			w.reply, w.header = b.parts[i].answer, b.waiters[0].header
			b.waiters = append(b.waiters, w)
		}
		q.waiting = kept
		q.mu.Unlock()
`,
		Scenario: "coalesced", Time: 6 * time.Second, Invariant: "I1",
	},
	{
		Name: "refuse-all", Fault: "an error of one call in a batch is returned to all of them",
		File:     "internal/coalesce/batch.go",
		Old:      "alone := err != nil && len(b.parts) > 1 && err.RefusesShared()",
		New:      "alone := false",
		Scenario: "coalesced", Time: 2 * time.Second, Invariant: "I12",
	},
}

// watchMutants break what watches deliver.
var watchMutants = []Mutant{
	{
		Name: "resume-at-last", Fault: "a watch resumes at the last revision, not after it",
		File:     "watcher.go",
		Old:      "w.seen, w.next, w.heard = max(w.seen, last), last+1, last",
		New:      "w.seen, w.next, w.heard = max(w.seen, last), last, last",
		Scenario: "cut-before-first", Time: 4 * time.Second, Invariant: "I3",
	},
	{
		Name: "resume-from-now", Fault: "a watch that has not delivered anything resumes from now",
		File: "watchstream.go",
		Old:  "create.StartRevision = w.next",
		New: `if create.StartRevision = w.next; w.life.begun && w.next == w.create.StartRevision {
		create.StartRevision = 0
	}`,
		Scenario: "cut-before-first", Time: 4 * time.Second, Invariant: "I4",
	},
	{
		Name: "keep-fragment", Fault: "the first fragments of an interrupted revision are kept",
		File: "watchlife.go",
		Old: `	w.life.place = placement{doubt: doubt}
	w.partial = partialRevision{}
`,
		New: `	w.life.place = placement{doubt: doubt}
`,
		Scenario: "fragments", Time: 6 * time.Second, Invariant: "I3",
	},
	{
		Name: "drop-answer", Fault: "one watch response in 300 is dropped",
		File:     "watchstream.go",
		Old:      "case w == nil: // cancelled by the client",
		New:      "case w == nil, len(r.Events) > 0 && r.Header.Revision%300 == 0:",
		Scenario: "cut-before-first", Time: 4 * time.Second, Invariant: "I3",
	},
	{
		Name: "skip-compacted", Fault: "a watch whose next revision is compacted silently skips the gap",
		File: "watchstream.go",
		Old: `	e := s.cancelError(r)
`,
		New: `	e := s.cancelError(r)
	if r.CompactRevision != 0 {
		w.mu.Lock()
		w.next, e.Transient = r.CompactRevision, true
		w.mu.Unlock()
	}
`,
		Scenario: "compaction", Time: 4 * time.Second, Invariant: "I4",
	},
	{
		Name: "twice-on-overflow", Fault: "events buffered for a slow reader are delivered twice",
		File:     "watcher.go",
		Old:      "return overflowed, nil",
		New:      "w.queue = append(w.queue, w.queue...)\n\t\treturn overflowed, nil",
		Scenario: "slow-reader", Time: 4 * time.Second, Invariant: "I3",
	},
	{
		Name: "no-overflow", Fault: "a slow reader's buffer grows without bound",
		File:     "watcher.go",
		Old:      "if !w.isAloneLocked() && w.buffered+weight > w.maxBuffer && len(w.queue) > 0 {",
		New:      "if false {",
		Scenario: "slow-reader", Time: 15 * time.Second, Invariant: "I9",
	},
}

// leaseMutants break when leases count as lost.
var leaseMutants = []Mutant{
	{
		Name: "lease-from-answer", Fault: "a lease's TTL counts from the answer, not from the renewal request",
		File:     "internal/keepalive/keeper.go",
		Old:      "l.sent = sent\n",
		New:      "l.sent = k.clock.now()\n",
		Scenario: "lease-late-answers", Time: 2 * time.Second, Invariant: "I5",
	},
	{
		Name: "lease-loss-late", Fault: "the loss of a lease is reported 1.5 s late",
		File:     "internal/keepalive/entry.go",
		Old:      "return e.sent + e.ttl - e.ttl/clockDrift }",
		New:      "return e.sent + e.ttl - e.ttl/clockDrift + int64(1500*time.Millisecond) }",
		Scenario: "lease-stall", Time: 2 * time.Second, Invariant: "I5",
	},
}

// connMutants break what the client does with connections and streams.
var connMutants = []Mutant{
	{
		Name: "wished-id", Fault: "a watch has the ID that was asked for, not that of the server's confirmation",
		File: "watchstream.go",
		Old:  "s.confirmed[r.WatchID] = w\n",
		New:  "s.confirmed[w.life.seat] = w\n",
		Test: "TestWatchThroughGRPCProxy",
	},
	{
		Name: "confirmed-is-fine", Fault: "a watch stream that ends right after its confirmation is opened again without a pause",
		File: "watchhub.go",
		Old:  "return !confirmed || !s.proven && !lost && time.Since(s.opened) < watchStable",
		New:  "return !confirmed && !lost",
		Test: "TestWatchStreamsThatEndAtOnce",
	},
	{
		Name: "silent-until-ping", Fault: "nothing is asked of a quiet connection until the next PING is allowed",
		File: "internal/transport/watchdog.go",
		Old:  "case c.spared:",
		New:  "case true:",
		Test: "TestIdleWatchLeavesSilentMembers",
	},
	{
		Name: "no-spare", Fault: "a new connection beside a suspect one is thrown away until that one is lost",
		File: "internal/balance/spare.go",
		Old:  "return b == nil || b.State() != transport.Ready ||",
		New:  "return b == nil || b.State() > transport.Suspect ||",
		Test: "TestSilentMemberBehindOneAddress",
	},
	{
		Name: "first-address", Fault: "only the first address of a name is tried",
		File: "internal/balance/addresses.go",
		Old:  "for _, address := range m.inOrder(s, found) {",
		New:  "for _, address := range m.inOrder(s, found[:1]) {",
		Test: "TestNextAddressOfAName",
	},
	{
		Name: "ends-are-failures", Fault: "a connection that a proxy has ended after few requests counts as a failure to connect",
		File: "internal/balance/brief.go",
		Old:  "if young && !(orderly && served > 0) && !usedUp {",
		New:  "if young && !usedUp {",
		Test: "TestFewRequestsPerConnection/1_requests,_1_members",
	},
	{
		Name: "no-room", Fault: "a new connection beside one whose streams are all taken is thrown away",
		File: "internal/balance/spare.go",
		Old:  "b.State() != transport.Ready || b.mute || isFull(b) && !isFull(&connBox{Conn: c})",
		New:  "b.State() != transport.Ready || b.mute",
		Test: "TestOneStreamPerConnection",
	},
	{
		Name: "wait-for-a-vote", Fault: "the refusal of the only member, a learner, is waited out",
		File: "internal/call/send.go",
		Old:  "failed.Transient = e.Set.LearnerRefuses(conn, !m.Local)",
		New:  "_ = e.Set.LearnerRefuses(conn, !m.Local)",
		Test: "TestLearner/Get",
	},
}

// otherMutants break which members the client talks to and what it cleans up.
var otherMutants = []Mutant{
	{
		Name: "any-cluster", Fault: "members of another cluster are accepted",
		File:     "internal/call/history.go",
		Old:      "return known == 0 || known == id",
		New:      "return true",
		Scenario: "replace-member", Time: 2 * time.Second, Invariant: "I11",
	},
	{
		Name: "leave-watches", Fault: "Close forgets the watches: the goroutine that opens their streams keeps running",
		File:     "client.go",
		Old:      "	c.watches.close()\n",
		New:      "",
		Scenario: "open-close", Time: 2 * time.Second, Invariant: "I10",
	},
}
