// Package follow keeps somebody's view of a range of keys in step with the store: a
// snapshot, then every change after it, and never a gap. Elections, caches, registries and
// mirrors stand on it.
//
//	f := follow.New(client, follow.Config{Key: "services/", Prefix: true})
//	defer f.Close()
//	for {
//		step, err := f.Next(ctx)
//		if err != nil {
//			return err
//		}
//		for _, ch := range step.Changes {
//			// ch.Old and ch.New
//		}
//	}
//
// A [Follower] reads the range at one revision and hands all of it on as the first [Step].
// Then it watches from the next revision on, and each Step is one whole revision. When the
// watch has lost history it reads the range again, compares what it finds with what it has
// handed on, and hands on the differences as one [Resynced] step. So applying the changes
// of each Step in order always gives the store's state at Step.Revision.
//
// # Phases
//
// A follower has no goroutine: the caller of Next makes all requests.
//
//	unread ── read ──▶ unwatched ── watch ──▶ unchecked ── check ──▶ tailing
//	  ▲                                          ▲                     │ │
//	  │                                          └────── resumed ──────┘ │
//	  └────────── history lost, by a read, a check or the watch ─────────┘
//
// # What is not obvious
//
//   - The revision moves only by a snapshot, by events, and by progress on the watch's own
//     stream. The revision of any other answer says that the store is there, not that all
//     events up to it have been handed on.
//
//   - Nothing is handed on between the confirmation of a watch, the first or one after a
//     move to another stream, and a linearizable read that was sent after it. A store that was
//     restored from a backup confirms a watch on a revision that it does not have yet, and
//     a member in the middle of that says nothing of it. The read finds a revision below
//     the follower's. Where the new history has overtaken it already, a raft term that has
//     fallen shows most resets. What is left is a restored cluster that has passed both
//     the revision and the term while no watch stood.
//
//   - A member before 3.5.16 may leave out a deletion at exactly the revision of a
//     compaction, and so may a watch that begins there. When a watch begins behind the
//     store, that read counts the keys too, and the count is held against the state once
//     that is at the read's revision. A difference is a loss of history.
//
//   - A resynchronization is handed on when it is complete. One that fails in the middle,
//     because its revision is compacted meanwhile, leaves no trace; with Config.Pieces it
//     does, in the caller's state, and the next read compares with that.
//
//   - After several of these the range is read by one request, which no compaction can
//     interrupt.
//
//   - Resynchronizations of one client queue, two at a time, so that a compaction that ends
//     a thousand watches does not make the server answer a thousand ranges at once.
package follow
