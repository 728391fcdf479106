package mirror

import (
	"context"
	"errors"
	"iter"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/follow"
)

// FollowRequest names the range that [Follow] follows. Key alone is one key; at most one
// of Prefix, FromKey and RangeEnd widens that to a range.
type FollowRequest struct {
	// Key is required unless Prefix or FromKey is set; empty with one of these means all
	// keys.
	Key string
	// Prefix means all keys that begin with Key.
	Prefix bool
	// FromKey means all keys that are not less than Key.
	FromKey bool
	// RangeEnd means the keys from Key up to, but not including, RangeEnd.
	RangeEnd string
	// Revision is the revision whose state the sink has: Follow continues after it. 0
	// means that the sink has nothing, so Follow starts with Reset.
	Revision int64
	// Progress turns on [Sink.Progress], which reports the watch's progress while
	// nothing changes.
	Progress bool
}

// Change is one change of a key. It belongs to the sink. Several changes share memory,
// so [etcd.KeyValue.Clone] the pairs that you keep for long.
type Change struct {
	// Key is the key.
	Key string
	// KV is the pair after the change; nil: the key is deleted.
	KV *etcd.KeyValue
}

// Sink receives the state and the changes from [Follow]. Its methods are called one at a
// time. If one returns an error, Follow ends with it.
type Sink interface {
	// Reset replaces the sink's whole state with the pairs, which are the store's at the
	// revision, in ascending order of their keys. If they yield an error, reading has
	// failed: the sink returns the error or keeps its old state, and Reset is called
	// again.
	Reset(ctx context.Context, revision int64, pairs iter.Seq2[etcd.KeyValue, error]) error
	// Apply makes all changes of one revision. A sink that must apply each change only
	// once stores the revision together with them.
	Apply(ctx context.Context, revision int64, changes []Change) error
	// Progress reports that nothing has changed up to the revision. It is called if
	// FollowRequest.Progress is set.
	Progress(ctx context.Context, revision int64) error
}

// Follow feeds a range of keys to a sink: its state, then every change, revision by
// revision, without a gap. When history is lost, by a compaction or because the cluster was
// restored from a backup, it calls Reset again. It repeats requests that fail for a passing
// reason until ctx ends.
//
// Errors: that of ctx, those of the sink, and those of [etcd.Client.Range] and
// [etcd.Client.Watch] that waiting does not cure.
//
// etcd: KV/Range (since 3.0), KV/RangeStream where the server has it (since 3.7), Watch/Watch
func Follow(ctx context.Context, c *etcd.Client, req FollowRequest, sink Sink) error {
	switch {
	case ctx == nil:
		return errNilContext
	case c == nil:
		return invalid("the client is nil")
	case sink == nil:
		return invalid("the sink is nil")
	}
	err := followOn(ctx, c, req, sink)
	var of sinkError
	if errors.As(err, &of) {
		return of.err
	}
	return err
}

// sinkError is an error of the sink, whatever that is: it does not say anything of the store.
type sinkError struct{ err error }

func (e sinkError) Error() string { return e.err.Error() }

func followOn(ctx context.Context, c *etcd.Client, req FollowRequest, sink Sink) error {
	from := follow.Position{Revision: req.Revision, Count: -1}
	resets := 0
	for failures := 0; ; {
		if from.Revision == 0 {
			next, err := reset(ctx, c, req, sink, resets >= pagedReads)
			switch {
			case err == nil:
				from, failures, resets = next, 0, 0
			case etcd.HistoryLost(err):
				resets++
				continue
			case !etcd.Temporary(err) || !call.Sleep(ctx, pauses.Jittered(failures)):
				return err
			default:
				failures++
				continue
			}
		}
		if err := tail(ctx, c, req, sink, from); !etcd.HistoryLost(err) {
			return err
		}
		from = follow.Position{}
	}
}

// reset gives the sink the whole range.
func reset(ctx context.Context, c *etcd.Client, req FollowRequest, sink Sink, whole bool) (follow.Position, error) {
	found, err := readRange(ctx, c, etcd.GetRequest{Key: req.Key, Prefix: req.Prefix, FromKey: req.FromKey, RangeEnd: req.RangeEnd}, whole)
	if err != nil {
		return follow.Position{}, err
	}
	at := follow.Position{Revision: found.revision, Term: found.term}
	var failed error
	complete := false
	err = sink.Reset(ctx, found.revision, func(yield func(etcd.KeyValue, error) bool) {
		at.Count, complete = 0, false
		for kv, err := range found.pairs {
			if failed = err; err == nil {
				at.Count++
			}
			if !yield(kv, err) {
				return
			}
		}
		complete = true
	})
	switch {
	case failed != nil:
		return at, failed
	case err != nil:
		return at, sinkError{err}
	case !complete:
		at.Count = -1 // the sink does not want all of it
	}
	return at, nil
}

// tail gives the sink each revision after a position.
func tail(ctx context.Context, c *etcd.Client, req FollowRequest, sink Sink, from follow.Position) error {
	f := follow.New(c, follow.Config{
		Key: req.Key, Prefix: req.Prefix, FromKey: req.FromKey, RangeEnd: req.RangeEnd, Progress: req.Progress, From: &from,
	})
	defer f.Close()
	for {
		s, err := f.Next(ctx)
		if err != nil {
			return err
		}
		if s.Kind == follow.Progressed {
			err = sink.Progress(ctx, s.Revision)
		} else {
			err = sink.Apply(ctx, s.Revision, changes(s))
		}
		if err != nil {
			return sinkError{err}
		}
	}
}

func changes(s follow.Step) []Change {
	out := make([]Change, len(s.Changes))
	for i, ch := range s.Changes {
		out[i] = Change{Key: ch.Key(), KV: ch.New}
	}
	return out
}
