// Package follow keeps a copy of a range of keys in step with the store: a
// snapshot, then every change after it, and never a gap. Elections, caches, registries and
// mirrors build on it.
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
// A [Follower] reads the range at one revision and delivers all of it as the first [Step].
// Then it watches from the next revision on, and each Step is one whole revision. When the
// watch has lost history, the Follower reads the range again, compares it with what it has
// delivered, and delivers the differences as one [Resynced] step. So applying the changes
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
//   - The revision moves only with a snapshot, with events, and with progress on the watch's own
//     stream. The revision of any other answer shows that the store has reached it, not that all
//     events up to it have been delivered.
//
//   - After a watch is confirmed, the first time or after a move to another stream, nothing is
//     delivered until a linearizable read that was sent afterwards has been answered. A store that was
//     restored from a backup confirms a watch on a revision that it does not have yet, and
//     a member that is being restored does not report it. The read finds a revision below
//     the follower's. If the new history has already overtaken that, a fallen raft term
//     shows most resets. The remaining gap is a restored cluster that has passed both
//     the revision and the term while there was no watch.
//
//   - A member before 3.5.16 may leave out a deletion at exactly the revision of a
//     compaction, and so may a watch that begins there. When a watch begins behind the
//     store, that read counts the keys too. Once the follower has reached the read's revision, it
//     compares the count with its state. A difference is a loss of history.
//
//   - A resynchronization is delivered when it is complete. One that fails in the middle,
//     because its revision is compacted meanwhile, leaves no trace. With Config.Pieces it
//     leaves one in the caller's state, and the next read compares with that.
//
//   - After several such failures the range is read by one request, which no compaction can
//     interrupt.
//
//   - Resynchronizations of one client queue, two at a time, so that a compaction that ends
//     a thousand watches does not make the server answer a thousand ranges at once.
package follow
