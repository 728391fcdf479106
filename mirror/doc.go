// Package mirror copies a prefix of one etcd cluster, or all of it, into another one, and
// keeps the copy up to date.
//
//	m, err := mirror.New(source, target, mirror.Config{Name: "dr", Prefix: "app/"})
//	if err != nil {
//		return err
//	}
//	return m.Run(ctx) // until ctx ends; m.Status() says how far it is
//
// # What the target holds
//
// After the first copy, every revision of the target equals some revision of the source: a Txn
// of the source stays whole, unless it is larger than the target accepts beside the checkpoint.
// When the mirror is behind, several revisions of the source become one of the target. Keys that
// the source does not have are deleted. Leases are not copied: a key disappears from the target
// when it disappears from the source.
//
// # Each change once
//
// The checkpoint, a key at the target, holds the progress of the mirror. It is put in the same Txn
// as the data, on the condition that nobody has put it since the mirror last did. So no change is
// applied twice, a mirror that was killed continues exactly where it was, and a second mirror with
// the same name ends the first ([ErrSuperseded]). Run two in an Election to have one stand by.
//
//	          no checkpoint, or an incomplete one
//	claiming ─────────────────────────────────────▶ copying
//	   │                                             │   ▲
//	   │ a complete one                     complete │   │ history lost
//	   └───────────────────────▶ following ◀─────────┘   │
//	                                 └───────────────────┘
//
// A copy that begins again reads both sides and writes the differences. The first three times
// that a compaction interrupts it, the mirror reads the range again in pieces; after that by
// one request, which takes memory for the whole range.
//
// # What it does not see
//
// Writes of others below the target's prefix stay unnoticed until [Mirror.Verify]. A loop, in
// which keys come back to where they came from, is refused where the mirror can see it: within
// one cluster, and when the source holds the checkpoint of a mirror in the other direction.
//
// # Permissions
//
// With authentication the mirror reads Prefix at the source, and reads and writes DestPrefix
// and Config.Checkpoint at the target.
//
// # Any sink
//
// [Follow] feeds a range of keys to your own [Sink]: a search index, a database, a file.
package mirror
