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
// After the first copy the target is, at each of its revisions, what the source was at one
// of its own: a Txn of the source is not torn apart, unless it is larger than a Txn of the
// target may be beside the checkpoint. When the mirror is behind, several revisions of the
// source become one of the target. Keys that the source does not have are deleted. Leases are
// not copied: a key goes from the target when it goes from the source.
//
// # Each change once
//
// The checkpoint, a key at the target, says how far the mirror is. It is put in the same Txn
// as the data, under the condition that it is what the mirror has put last. So no change is
// applied twice, a mirror that was killed goes on exactly where it was, and a second mirror of
// the same name ends the first ([ErrSuperseded]). Run two of them in an Election to have one
// stand by.
//
//	          no checkpoint, or an incomplete one
//	claiming ─────────────────────────────────────▶ copying
//	   │                                             │   ▲
//	   │ a complete one                     complete │   │ history lost
//	   └───────────────────────▶ following ◀─────────┘   │
//	                                 └───────────────────┘
//
// A copy that begins again reads both sides and writes what differs. The first three times
// that a compaction interrupts one, the range is read piece by piece again; then it is read by
// one request, which takes memory for all of it.
//
// # What it does not see
//
// What others write below the target's prefix stays unnoticed until [Mirror.Verify]. A loop,
// by which keys come back to where they are from, is refused where it can be seen: within
// one cluster, and from the checkpoint of a mirror in the other direction.
//
// # Permissions
//
// With authentication the mirror reads Prefix at the source, and reads and writes DestPrefix
// and Config.Checkpoint at the target.
//
// # Any sink
//
// [Follow] hands a range of keys to a [Sink] of yours: a search index, a database, a file.
package mirror
