package mirror

import (
	"context"
	"fmt"
	"sync"
	"time"

	"silly.store/etcd/internal/follow"
)

const (
	// askEvery is how often the mirror asks the source for its revision.
	askEvery = 50 * time.Millisecond
	// noteEvery is how often the checkpoint follows a source that changes only elsewhere,
	// so that a compaction does not overtake it.
	noteEvery = 10 * time.Second
	// checkEvery is how often a mirror that writes nothing checks whether another one
	// has started.
	checkEvery = time.Second
)

// tail applies what happens at the source after the checkpoint, until an error.
func (m *Mirror) tail(ctx context.Context, g *guard) error {
	f := follow.New(m.source, follow.Config{
		Key: m.config.Prefix, Prefix: true, Progress: true, OwnStream: true,
		From: &follow.Position{Revision: g.Revision, Term: g.Term, Count: g.Keys},
	})
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	t := &tailing{m: m, g: g, f: f, skip: g.Done, checked: time.Now(), noted: time.Now()}
	asking.Go(func() { m.askProgress(ctx, f) })
	for {
		if err := t.step(ctx); err != nil {
			return err
		}
	}
}

// askProgress asks the source how far it is, one question at a time.
func (m *Mirror) askProgress(ctx context.Context, f *follow.Follower) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		m.follows(ctx, watchTrouble(f))
		if m.asks() {
			f.RequestProgress()
		}
	}
}

// watchTrouble is what keeps the source's changes away; nil: nothing does. The client takes the
// watch to another member by itself, so the follower has no error meanwhile.
func watchTrouble(f *follow.Follower) error {
	err := f.Trouble()
	if state, ok := f.WatchState(); ok && err == nil {
		err = state.Err
	}
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	return nil
}

// tailing is a tail under way.
type tailing struct {
	m       *Mirror
	g       *guard
	f       *follow.Follower
	q       queue
	skip    int       // changes of the next revision that were applied before
	noted   time.Time // when the checkpoint was last put
	checked time.Time // when it was last seen to be this run's
}

// step takes what the source has, as much as there is without waiting, and applies it.
func (t *tailing) step(ctx context.Context) error {
	s, err := t.f.Next(ctx)
	if err != nil {
		return err
	}
	t.take(s)
	for t.f.Waiting() && !t.q.full(t.m.limits) {
		if s, err = t.f.Next(ctx); err != nil {
			return err
		}
		t.take(s)
	}
	for len(t.q.revisions) > 0 && (!t.f.Waiting() || t.q.full(t.m.limits)) {
		if err := t.apply(ctx); err != nil {
			return err
		}
	}
	if len(t.q.revisions) > 0 {
		return nil
	}
	if s.Kind == follow.Progressed {
		t.m.reached(ctx, s.Revision)
	}
	return t.idle(ctx, s.Revision)
}

// take queues a step's changes.
func (t *tailing) take(s follow.Step) {
	t.m.saw(s.Revision)
	if s.Kind == follow.Progressed {
		return
	}
	r := revision{number: s.Revision, keys: t.f.Position().Count}
	for i, ch := range s.Changes {
		if i < t.skip {
			r.done++
			continue
		}
		if o := t.m.change(ch); o.key != t.g.key {
			r.ops = append(r.ops, o)
		} else {
			r.ops = append(r.ops, op{key: ""}) // keeps the count of what is done
		}
	}
	t.skip = 0
	t.q.add(r)
}

// change is what a change of the source does to the target.
func (m *Mirror) change(ch follow.Change) op {
	if ch.New == nil {
		return op{key: m.config.dest(ch.Old.Key), delete: true}
	}
	return op{key: m.config.dest(ch.New.Key), value: ch.New.Value}
}

// apply applies the head of the queue.
func (t *tailing) apply(ctx context.Context) error {
	batch := t.q.next(t.m.limits)
	next := t.q.after(batch, t.g.checkpoint)
	next.Term = t.f.Position().Term
	split, err := t.m.write(ctx, t.g, batch.ops, next)
	if err != nil || split {
		return err
	}
	t.q.drop(batch)
	t.m.applied(batch.changes, next.Revision)
	t.noted, t.checked = time.Now(), time.Now()
	return nil
}

// idle looks after the checkpoint while there is nothing to apply.
func (t *tailing) idle(ctx context.Context, revision int64) error {
	now := time.Now()
	switch {
	case revision > t.g.Revision && now.Sub(t.noted) > noteEvery:
		next := t.g.checkpoint
		next.Revision, next.Done = revision, 0
		if err := t.g.put(ctx, nil, next); err != nil {
			return err
		}
		t.noted, t.checked = now, now
	case now.Sub(t.checked) > checkEvery:
		if err := t.g.check(ctx); err != nil {
			return fmt.Errorf("target: %w", err)
		}
		t.checked = now
	}
	return nil
}
