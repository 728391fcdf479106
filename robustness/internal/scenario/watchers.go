package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// watching configures a load of watches.
type watching struct {
	// filters are picked at random.
	filters []history.Filter
	// back and ahead are how far from now a watch with a revision may begin.
	// 0 and 0: all watches are from now.
	back, ahead int64
	// life is how long a watch is kept, give or take half. 0: to the end.
	life time.Duration
	// slow is the reader's pause between two responses.
	slow time.Duration
}

// keyFilters match the keys that the load of keys writes.
var keyFilters = []history.Filter{
	{Key: "k/", Prefix: true},
	{Key: "k/", Prefix: true, PrevKV: true},
	{Key: "k/", Prefix: true, NoPut: true},
	{Key: "k/", Prefix: true, NoDelete: true, PrevKV: true},
	{Key: "k/", FromKey: true, Progress: true},
	{Key: "k/1", Prefix: true},
}

// watchers keeps n watches open.
func (w *world) watchers(n int, kind watching) []*watchSlot {
	var slots []*watchSlot
	for i := range n {
		slot := &watchSlot{w: w, s: w.stores[i%len(w.stores)], kind: kind, random: w.random()}
		slots = append(slots, slot)
		w.watches.Go(slot.run)
	}
	return slots
}

// watchSlot opens one watch after another.
type watchSlot struct {
	w      *world
	s      store.Store
	kind   watching
	random *rand.Rand
	// at is the revision up to which its watch has delivered; once confirmed, the
	// watch's start minus 1.
	at atomic.Int64
}

func (s *watchSlot) run() {
	for !s.w.stopped() {
		life := time.Duration(0)
		if s.kind.life > 0 {
			life = s.kind.life/2 + time.Duration(s.random.Int64N(int64(s.kind.life)))
		}
		f := s.kind.filters[s.random.IntN(len(s.kind.filters))]
		if log, watch := s.open(f, s.revision()); watch != nil {
			s.read(log, watch, life)
			watch.Close()
		} else {
			s.w.sleep(50 * time.Millisecond)
		}
	}
}

// revision returns where the next watch begins.
func (s *watchSlot) revision() int64 {
	if s.kind.back+s.kind.ahead == 0 || s.random.IntN(3) == 0 {
		return 0
	}
	now := s.w.oracle.now()
	return max(now-s.kind.back+s.random.Int64N(s.kind.back+s.kind.ahead+1), s.w.floor+1)
}

func (s *watchSlot) open(f history.Filter, revision int64) (*history.Watch, store.Watch) {
	log := s.w.rec.NewWatch(f, revision, s.w.oracle.now())
	ctx, cancel := context.WithTimeout(s.w.ctx, settle)
	defer cancel()
	watch, err := s.s.Watch(ctx, f, revision)
	log.Ended = s.w.rec.Now()
	if err != nil {
		log.Error = err.Error()
		return log, nil
	}
	log.Confirmed, log.Start = log.Ended, watch.Start()
	s.at.Store(log.Start - 1)
	return log, watch
}

// read reads a watch until its life or the run is over. At the end of the run it
// continues until everything is delivered. It returns true if the watch has ended.
func (s *watchSlot) read(log *history.Watch, watch store.Watch, life time.Duration) bool {
	ctx, cancel := context.WithCancel(s.w.ctx)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		var done <-chan time.Time
		if life > 0 {
			done = time.After(life)
		}
		select {
		case <-done:
		case <-s.w.final:
		case <-over:
		}
		cancel()
	}()
	ended := s.readUntil(ctx, log, watch, 0)
	select {
	case <-s.w.final:
	default:
		return ended
	}
	if !ended && s.w.finalRevision > 0 {
		return s.finish(log, watch)
	}
	return ended
}

// finish reads up to the last revision, and anything wrongly delivered after it. It
// returns true if the watch has ended.
func (s *watchSlot) finish(log *history.Watch, watch store.Watch) bool {
	log.Final = s.w.finalRevision
	last := s.w.oracle.last(log.Final, func(e *history.Event) bool { return check.Matches(&log.Filter, e) })
	ctx, cancel := context.WithTimeout(s.w.ctx, settle/2)
	defer cancel()
	if last >= log.Start && s.readUntil(ctx, log, watch, last) {
		return true
	}
	more, cancel := context.WithTimeout(s.w.ctx, 100*time.Millisecond)
	defer cancel()
	return s.readUntil(more, log, watch, 0)
}

// readUntil reads until ctx ends or a revision was delivered. It returns true
// if the watch has ended.
func (s *watchSlot) readUntil(ctx context.Context, log *history.Watch, watch store.Watch, revision int64) bool {
	for {
		if n := len(log.Responses); revision > 0 && n > 0 && log.Responses[n-1].Revision >= revision && delivered(log) >= revision {
			return false
		}
		resp, err := watch.Next(ctx)
		log.Ended = s.w.rec.Now()
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return false
			}
			log.Error = err.Error()
			var compacted *store.CompactedError
			if errors.As(err, &compacted) {
				log.Compacted = compacted.Revision
			}
			return true
		}
		resp.At = log.Ended
		s.w.meter.events(len(resp.Events))
		log.Responses = append(log.Responses, resp)
		s.at.Store(delivered(log))
		if s.kind.slow > 0 {
			s.w.sleep(s.kind.slow)
		}
	}
}

// delivered returns the revision up to which a watch is known to have delivered.
func delivered(log *history.Watch) int64 {
	for i := len(log.Responses) - 1; i >= 0; i-- {
		r := &log.Responses[i]
		if n := len(r.Events); n > 0 {
			return r.Events[n-1].Revision
		}
		if r.Progress {
			return r.Revision
		}
	}
	return 0
}

// churn makes a number of callers put and delete a few keys, so that watches of
// single keys have events.
func (w *world) churn(callers int, pace time.Duration) []history.Filter {
	return w.churnBy(w.stores[0], callers, pace)
}

// churnBy is churn by the callers of one client.
func (w *world) churnBy(s store.Store, callers int, pace time.Duration) []history.Filter {
	const keys = 20
	key := func(i int) string { return fmt.Sprintf("w/%02d", i) }
	for range callers {
		c := &caller{w: w, s: s, random: w.random(), process: int(w.process.Add(1))}
		w.loads.Go(func() {
			for w.sleep(rand.N(2*pace + 1)) {
				switch c.random.IntN(12) {
				case 0, 1, 2:
					c.make(&history.Call{Kind: history.Delete, Key: key(c.random.IntN(keys)), Patient: true}, patience)
				case 3:
					var all []string
					for i := range keys {
						all = append(all, key(i))
					}
					c.many(all, "w/", 0)
				case 4:
					c.many(nil, "w/1", 0)
				default:
					c.make(&history.Call{Kind: history.Put, Key: key(c.random.IntN(keys)), Patient: true}, patience)
				}
			}
		})
	}
	return []history.Filter{
		{Key: "w/", Prefix: true}, {Key: "w/", Prefix: true, PrevKV: true}, {Key: "w/1", Prefix: true, NoPut: true},
		{Key: key(3)}, {Key: key(12), PrevKV: true}, {Key: key(17), NoDelete: true}, {Key: "w/", FromKey: true, Progress: true},
	}
}
