package follow

import (
	"cmp"
	"context"

	"silly.store/etcd"
)

// watchFrom begins the watch.
func (f *Follower) watchFrom(ctx context.Context, revision int64) error {
	w, err := f.c.Watch(ctx, etcd.WatchRequest{
		Key: f.config.Key, Prefix: f.config.Prefix, FromKey: f.config.FromKey, RangeEnd: f.config.RangeEnd,
		Revision: revision, NotifyResume: true, ProgressNotify: f.config.Progress, OwnStream: f.config.OwnStream,
		BufferBytes: f.config.BufferBytes,
	})
	if err != nil {
		return err
	}
	f.setWatcher(w)
	return nil
}

// watch ensures a watch from the revision on.
func (f *Follower) watch(ctx context.Context) error {
	if f.watcher == nil {
		if err := f.watchFrom(ctx, f.revision+1); err != nil {
			return err
		}
	}
	f.confirmed(f.watcher.Header())
	return nil
}

// confirmed notes that a member has confirmed the watch.
func (f *Follower) confirmed(h etcd.ResponseHeader) {
	f.phase = unchecked
	f.behind = h.Revision > f.revision
}

// audit is how many keys there are at a revision that the follower has yet to reach; at
// revision 0 it is none.
type audit struct {
	revision, count int64
}

// check reads, after the watch was confirmed, whether the store still has the follower's
// history.
func (f *Follower) check(ctx context.Context) error {
	req := f.scope()
	if !f.behind { // nothing that it could have missed, and a range takes time to count
		req = etcd.GetRequest{Key: cmp.Or(f.config.Key, "\x00")}
	}
	req.CountOnly = true
	resp, err := f.c.Get(ctx, req)
	if err != nil {
		return err
	}
	if f.fellBack(resp.Header) {
		return etcd.ErrHistoryReset
	}
	f.term = resp.Header.RaftTerm
	f.phase = tailing
	if !f.behind {
		return nil
	}
	f.audit = audit{resp.Header.Revision, resp.Count}
	if f.audit.revision == f.revision {
		return f.reach(f.revision + 1)
	}
	f.watcher.RequestProgress() // the range may stay as it is
	return nil
}

// reach holds the state against the audit, if there is one, before a revision is handed
// on. The state is complete up to the revision before it.
func (f *Follower) reach(revision int64) error {
	if f.audit.revision == 0 || revision <= f.audit.revision {
		return nil
	}
	count := f.audit.count
	f.audit = audit{}
	if has := f.has(); has >= 0 && has != count {
		return etcd.ErrCompacted
	}
	return nil
}

// has is how many keys there are in the state; negative: it is not known.
func (f *Follower) has() int64 {
	if f.config.From != nil {
		return f.count
	}
	return int64(f.state.Len())
}

// tail takes the next revision from the watch. It returns nil when what it has read is
// none.
func (f *Follower) tail(ctx context.Context) (*Step, error) {
	if len(f.events) > 0 {
		return f.nextRevision()
	}
	resp, err := f.watcher.Read(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		f.unwatch()
		f.phase = unwatched
		return nil, err
	case resp.Resumed:
		f.confirmed(resp.Header)
		return nil, nil
	case resp.IsProgress():
		if resp.Unreliable || f.config.DistrustProgress { // it may have overtaken events
			return nil, nil
		}
		return f.progressed(resp.Header.Revision)
	}
	f.events = resp.Events
	return f.nextRevision()
}

// progressed takes the report of the watch's own stream that nothing is missing up to
// the revision.
func (f *Follower) progressed(revision int64) (*Step, error) {
	if err := f.reach(revision + 1); err != nil {
		return nil, err
	}
	if !f.config.Progress || revision < f.revision {
		return nil, nil
	}
	f.revision = revision
	return f.handOn(&Step{Kind: Progressed, Revision: revision}), nil
}

// nextRevision takes the events of one revision.
func (f *Follower) nextRevision() (*Step, error) {
	revision := f.events[0].KV.ModRevision
	if err := f.reach(revision); err != nil {
		return nil, err
	}
	n := 1
	for n < len(f.events) && f.events[n].KV.ModRevision == revision {
		n++
	}
	step := &Step{Kind: Changed, Revision: revision, Changes: f.changes(f.events[:n])}
	if f.events = f.events[n:]; len(f.events) == 0 {
		f.events = nil
	}
	f.revision = revision
	return f.handOn(step), nil
}

// changes are what the events of one revision do to the state.
func (f *Follower) changes(events []etcd.Event) []Change {
	changes := make([]Change, 0, len(events))
	if f.config.From != nil {
		return f.changesBlind(changes, events)
	}
	for i := range events {
		kv := &events[i].KV
		old := f.state.Get(kv.Key)
		if events[i].Type == etcd.EventDelete {
			if old != nil {
				changes = append(changes, Change{Old: old})
			}
			continue
		}
		if f.config.KeysOnly {
			kv.Value = nil
		}
		changes = appendChange(changes, old, owned(kv, old))
	}
	return changes
}

// changesBlind are the events of one revision, for a user that keeps the state elsewhere.
func (f *Follower) changesBlind(changes []Change, events []etcd.Event) []Change {
	for i := range events {
		kv := &events[i].KV
		known := f.count >= 0
		switch {
		case events[i].Type == etcd.EventDelete:
			changes = append(changes, Change{Old: kv})
			if known {
				f.count--
			}
		default:
			changes = append(changes, Change{New: kv})
			if known && kv.Version == 1 {
				f.count++
			}
		}
	}
	return changes
}
