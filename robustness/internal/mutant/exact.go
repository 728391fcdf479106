package mutant

import "time"

// exactMutants break writes that are made once.
var exactMutants = []Mutant{
	{
		Name: "lane-uncompared", Fault: "an exact write does not compare its lane",
		File:     "idempotent/write.go",
		Old:      "	req := etcd.TxnRequest{\n		If:   []etcd.Compare{etcd.CompareModRevision(w.key, etcd.Equal, w.at)},\n		Else:",
		New:      "	req := etcd.TxnRequest{\n		Else:",
		Scenario: "exact-lost-answers", Time: 8 * time.Second, Invariant: "X1",
	},
	{
		Name: "no-lane-no-write", Fault: "a lane that is gone is taken for a write that was not applied",
		File: "idempotent/write.go",
		Old:  "	case w.unknown == nil, found && string(kv.Value) == w.void:\n",
		New:  "	case w.unknown == nil, !found, found && string(kv.Value) == w.void:\n",
		Test: "TestLaneGoneApplied", Tests: "idempotent",
	},
	{
		Name: "refusal-settles", Fault: "the refusal of a later copy is taken for that of the write",
		File: "idempotent/write.go",
		Old:  "			result, unsettled := w.settle(ctx, explain(w.req, err))\n",
		New:  "			if w.unknown != nil {\n				return nil, err\n			}\n			result, unsettled := w.settle(ctx, explain(w.req, err))\n",
		Test: "TestRefusedLater", Tests: "idempotent",
	},
	{
		Name: "left-unsent", Fault: "a caller who leaves a shared write under way says that it was not sent",
		File: "idempotent/shared.go",
		Old:  "	case waiting:\n		return cause\n",
		New:  "	case waiting, !last:\n		return cause\n",
		Test: "TestSharedLeft", Tests: "idempotent",
	},
	{
		Name: "block-twice", Fault: "a sequence takes a block that it has had",
		File:     "sequence/sequence.go",
		Old:      "		return before.Version, before.CreateRevision, nil\n",
		New:      "		return before.Version &^ 1, before.CreateRevision, nil\n",
		Scenario: "exact-cuts", Time: 6 * time.Second, Invariant: "S2",
	},
	{
		Name: "phantoms", Fault: "a commit does not notice keys that are new in a range",
		File:     "stm/commit.go",
		Old:      "ModRevision: tx.known.revision + 1,",
		New:      "ModRevision: 1 << 62,",
		Scenario: "exact-cuts", Time: 8 * time.Second, Invariant: "S1",
	},
	{
		Name: "commits-depend", Fault: "transactions share a commit although one writes what another has read",
		File: "internal/coalesce/run.go",
		Old:  "		if b.claims.clash(&w.touches) {\n",
		New:  "		if false {\n",
		Test: "TestSharedCommitsDepend", Tests: "stm",
	},
	{
		Name: "batch-unread", Fault: "a commit that transactions share does not compare what they have read",
		File:     "stm/batch.go",
		Old:      "		req.If = append(req.If, etcd.CompareModRevision(key, etcd.Equal, b.known.keys[key].ModRevision))\n",
		New:      "",
		Scenario: "exact-cuts", Time: 8 * time.Second, Invariant: "S1",
	},
}
