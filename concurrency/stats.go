package concurrency

import (
	"context"
	"sync/atomic"
)

// Stats describes the present state and the past work of a [Coordinator].
type Stats struct {
	// Sessions is the number of live sessions, Held that of locks, leaderships and
	// barriers held, Waiting that of calls that wait for one.
	Sessions, Held, Waiting int
	// Releasing is the number of keys that still have to be deleted after the first
	// attempt failed or its context ended; Releases counts those whose deletion has
	// succeeded.
	Releasing int
	Releases  int64
	// SessionsLost counts sessions that ended by anything but Close and Abandon, and
	// LastLoss says why the last one did. LocksLost counts what was lost while it was
	// held, Requeued how often a waiting call had to queue again at the end.
	SessionsLost, LocksLost, Requeued int64
	LastLoss                          error
	// Fences counts requests of unknown outcome after which the session's key was put,
	// so that no late copy of them can be applied.
	Fences int64
	// Overdue counts functions of [Election.Run] that went on for more than 5 s after
	// their context had ended.
	Overdue int64
}

// Stats returns a snapshot.
func (co *Coordinator) Stats() Stats {
	n := &co.counters
	s := Stats{
		Held: int(n.held.Load()), Waiting: int(n.waiting.Load()),
		Releasing: co.releaser.count(), Releases: n.releases.Load(),
		SessionsLost: n.sessionsLost.Load(), LocksLost: n.locksLost.Load(), Requeued: n.requeued.Load(),
		Fences: n.fences.Load(), Overdue: n.overdue.Load(),
	}
	if loss := n.lastLoss.Load(); loss != nil {
		s.LastLoss = *loss
	}
	co.mu.Lock()
	defer co.mu.Unlock()
	s.Sessions = len(co.sessions)
	return s
}

// counters are those of Stats.
type counters struct {
	held, waiting, releases, sessionsLost, locksLost, requeued, fences, overdue atomic.Int64
	lastLoss                                                                    atomic.Pointer[error]
}

// warn logs what the user may have to know. ctx is that of the call that the line belongs
// to, the coordinator's if there is none.
func (co *Coordinator) warn(ctx context.Context, msg string, args ...any) {
	if co.config.Logger != nil {
		co.config.Logger.WarnContext(ctx, msg, args...)
	}
}
