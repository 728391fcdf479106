package mutant

import (
	"slices"
	"time"
)

// All are the mutants. Each scenario is as short as it finds the fault without
// luck.
func All() []Mutant {
	return slices.Concat(writeMutants, readMutants, sharedMutants, watchMutants, leaseMutants, otherMutants)
}

// writeMutants are about the fate of writes.
var writeMutants = []Mutant{
	{
		Name: "retry-unknown", Fault: "a write of unknown fate is sent again",
		File:     "retry.go",
		Old:      "return r.class != write || err.Outcome != OutcomeUnknown || c.retryWrites == AtLeastOnce",
		New:      "return true",
		Scenario: "cut-requests", Time: 6 * time.Second, Invariant: "I2",
	},
	{
		Name: "deny-unknown", Fault: "a write of unknown fate is said to be not applied",
		File:     "errors.go",
		Old:      "func (e *Error) maybeApplied() bool { return e.write && e.Outcome == OutcomeUnknown }",
		New:      "func (e *Error) maybeApplied() bool { return false }",
		Scenario: "lost-replies", Time: 2 * time.Second, Invariant: "I2",
	},
	{
		Name: "assume-applied", Fault: "a put whose answer is lost counts as done",
		File: "retry.go",
		Old:  "if attempts > c.retries || !c.mayRetry(r, err) {\n",
		New: `if r == &rpcPut && err.Outcome == OutcomeUnknown {
			return nil, nil
		}
		if attempts > c.retries || !c.mayRetry(r, err) {
`,
		Scenario: "cut-requests", Time: 4 * time.Second, Invariant: "I1",
	},
	{
		Name: "goaway-id", Fault: "GOAWAY's last id is ignored: all that was under way counts as not processed",
		File:     "internal/transport/read.go",
		Old:      "last := binary.BigEndian.Uint32(payload) & maxStreamID",
		New:      "last := uint32(0)",
		Scenario: "goaway", Time: 15 * time.Second, Invariant: "I2",
	},
}

// readMutants are about what calls return, and when.
var readMutants = []Mutant{
	{
		Name: "stale-read", Fault: "reads are answered by any member from what it has",
		File:     "kv.go",
		Old:      "Serializable: r.Serializable, KeysOnly: r.KeysOnly,",
		New:      "Serializable: true, KeysOnly: r.KeysOnly,",
		Scenario: "kill-follower", Time: 4 * time.Second, Invariant: "I7",
	},
	{
		Name: "late-deadline", Fault: "calls end 100 ms behind their deadline",
		File: "internal/transport/call.go",
		Old: `	case <-ctx.Done():
		return c.giveUp(s, func(o Outcome)`,
		New: `	case <-ctx.Done():
		time.Sleep(100 * time.Millisecond)
		return c.giveUp(s, func(o Outcome)`,
		Scenario: "goaway", Time: 2 * time.Second, Invariant: "I8",
	},
}

// sharedMutants are about calls that share a request.
var sharedMutants = []Mutant{
	{
		Name: "neighbour", Fault: "a call gets the answer of its neighbour in the batch",
		File:     "coalescebatch.go",
		Old:      "p := &b.parts[w.index]",
		New:      "p := &b.parts[(w.index+1)%len(b.parts)]",
		Scenario: "coalesced", Time: 2 * time.Second, Invariant: "I1",
	},
	{
		Name: "drop-shared", Fault: "the answer of one call in a batch is dropped, in one batch of 20",
		File: "coalescebatch.go",
		Old:  "w.reply, w.header = p.answer, h\n",
		New: `w.reply, w.header = p.answer, h
		if w.index == 1 && h.Revision%20 == 0 {
			w.reply = nil
		}
`,
		Scenario: "coalesced", Time: 2 * time.Second, Invariant: "I1",
	},
	{
		Name: "resend-batch", Fault: "a batch of puts of unknown fate is sent again",
		File:     "rpc.go",
		Old:      `rpcPutShared      = rpc{op: "Put", path: rpcTxn.path, class: write,`,
		New:      `rpcPutShared      = rpc{op: "Put", path: rpcTxn.path, class: idempotent,`,
		Scenario: "cut-requests", Time: 6 * time.Second, Invariant: "I2",
	},
	{
		Name: "join-sent", Fault: "a read joins a batch that was already sent",
		File: "coalesceline.go",
		Old:  "err := s.send(l.c, b)\n",
		New: `err := s.send(l.c, b)
		l.mu.Lock()
		kept := l.queue[:0]
		for _, w := range l.queue {
			i, ok := b.index[w.key]
			if !ok || err != nil || len(b.parts) == 1 {
				kept = append(kept, w)
				continue
			}
			w.batch, w.index = b, i
			w.reply, w.header = b.parts[i].answer, b.waiters[0].header
			b.waiters = append(b.waiters, w)
		}
		l.queue = kept
		l.mu.Unlock()
`,
		Scenario: "coalesced", Time: 6 * time.Second, Invariant: "I1",
	},
	{
		Name: "refuse-all", Fault: "what one call of a batch is refused for is told to all of them",
		File:     "coalescebatch.go",
		Old:      "alone := err != nil && len(b.parts) > 1 && err.refusal()",
		New:      "alone := false",
		Scenario: "coalesced", Time: 2 * time.Second, Invariant: "I12",
	},
}

// watchMutants are about what watches deliver.
var watchMutants = []Mutant{
	{
		Name: "resume-at-last", Fault: "a watch resumes at the last revision, not behind it",
		File:     "watcher.go",
		Old:      "w.next = w.seen + 1",
		New:      "w.next = w.seen",
		Scenario: "cut-before-first", Time: 4 * time.Second, Invariant: "I3",
	},
	{
		Name: "resume-from-now", Fault: "a watch that has delivered nothing yet resumes from now",
		File: "watchstream.go",
		Old:  "create.StartRevision = w.next",
		New: `if create.StartRevision = w.next; w.created && w.next == w.create.StartRevision {
		create.StartRevision = 0
	}`,
		Scenario: "cut-before-first", Time: 4 * time.Second, Invariant: "I4",
	},
	{
		Name: "keep-fragment", Fault: "the beginning of a revision that was cut off is kept",
		File: "watchstream.go",
		Old: `	w.partial = partialRevision{}
	w.place = placement{`,
		New:      `	w.place = placement{`,
		Scenario: "fragments", Time: 6 * time.Second, Invariant: "I3",
	},
	{
		Name: "drop-answer", Fault: "one answer to a watch in 300 is dropped",
		File:     "watchstream.go",
		Old:      "case w == nil: // cancelled by us",
		New:      "case w == nil, len(r.Events) > 0 && r.Header.Revision%300 == 0:",
		Scenario: "cut-before-first", Time: 4 * time.Second, Invariant: "I3",
	},
	{
		Name: "skip-compacted", Fault: "a watch whose next revision is compacted goes on behind the gap",
		File: "watchstream.go",
		Old: `	if r.CompactRevision != 0 {
		e.Code = CodeOutOfRange
		e.cause = &CompactedError{Revision: r.CompactRevision}
	} else {`,
		New: `	if r.CompactRevision != 0 {
		w.mu.Lock()
		w.next, e.transient = r.CompactRevision, true
		w.mu.Unlock()
	} else {`,
		Scenario: "compaction", Time: 4 * time.Second, Invariant: "I4",
	},
	{
		Name: "twice-on-overflow", Fault: "what is buffered when a reader is too slow is delivered twice",
		File:     "watcher.go",
		Old:      "return overflowed, nil",
		New:      "w.queue = append(w.queue, w.queue...)\n\t\treturn overflowed, nil",
		Scenario: "slow-reader", Time: 4 * time.Second, Invariant: "I3",
	},
	{
		Name: "no-overflow", Fault: "a slow reader's buffer grows without bound",
		File:     "watcher.go",
		Old:      "if !w.alone && w.buffered+weight > w.maxBuffer && len(w.queue) > 0 {",
		New:      "if false {",
		Scenario: "slow-reader", Time: 15 * time.Second, Invariant: "I9",
	},
}

// leaseMutants are about when leases are lost.
var leaseMutants = []Mutant{
	{
		Name: "lease-from-answer", Fault: "a lease's time counts from the answer, not from the renewal",
		File:     "keepalive.go",
		Old:      "l.sent = sent\n",
		New:      "l.sent = k.clock.now()\n",
		Scenario: "lease-late-answers", Time: 2 * time.Second, Invariant: "I5",
	},
	{
		Name: "lease-loss-late", Fault: "the loss of a lease is told 1.5 s late",
		File:     "leasehandle.go",
		Old:      "return l.sent + l.ttl - l.ttl/clockDrift }",
		New:      "return l.sent + l.ttl - l.ttl/clockDrift + int64(1500*time.Millisecond) }",
		Scenario: "lease-stall", Time: 2 * time.Second, Invariant: "I5",
	},
}

// otherMutants are about whom the client talks to and what it leaves behind.
var otherMutants = []Mutant{
	{
		Name: "any-cluster", Fault: "members of another cluster are used",
		File:     "answer.go",
		Old:      "return known == 0 || known == id",
		New:      "return true",
		Scenario: "replace-member", Time: 2 * time.Second, Invariant: "I11",
	},
	{
		Name: "leave-watches", Fault: "Close forgets the watches: the goroutine goes on that opens their streams",
		File:     "client.go",
		Old:      "	c.watches.close()\n",
		New:      "",
		Scenario: "open-close", Time: 2 * time.Second, Invariant: "I10",
	},
}
