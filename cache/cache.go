package cache

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/follow"
	"silly.store/etcd/internal/yield"
)

// Cache is a range of keys in memory. Make it with [New], share it, and close it before
// its client. All methods may be called concurrently.
type Cache struct {
	c        *etcd.Client
	config   Config
	follower *follow.Follower
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	routines sync.WaitGroup // the writer, the asker and flights

	current atomic.Pointer[published] // changed by the writer, and by Close at the end
	waiters waiters
	flights flights
	proof   atomic.Pointer[proof]
	counts  counts
	asker   *asker
	avoid   avoidance
	floor   atomic.Pointer[floor]
	history history
	lagging lagging
	stopped atomic.Bool // the writer has ended

	building *building // the writer's own
	seed     maphash.Seed
	sums     *sums // nil without Config.OnMutation

	mu      sync.Mutex // guards the fields below
	closing bool
	trouble error     // why the writer makes no progress; nil while it does
	since   time.Time // of the trouble
}

// published is what readers see. It never changes.
type published struct {
	epoch    int // 0: nothing has been read yet
	revision int64
	since    int64 // the first revision of which this state is
	pairs    pairs
	table    *table // the same pairs, and some that are newer: see index
	position uint64 // counts publications
	bytes    int64
	replaced int64 // bytes of all pairs that have been replaced so far
	at       time.Time
	ended    error // nil, ErrClosed or one of isEnd
}

func (p *published) ready() bool { return p.epoch > 0 && p.ended == nil }

// New makes a cache and begins to fill it. It does not wait: use [Cache.Ready].
//
// The error names the field that is wrong; errors.Is finds etcd.ErrInvalidConfig.
//
// etcd: KV/Range (since 3.0), KV/RangeStream where the server has it (since 3.7), Watch/Watch
func New(c *etcd.Client, config Config) (*Cache, error) {
	if c == nil {
		return nil, invalid("the client is nil")
	}
	if err := config.check(); err != nil {
		return nil, err
	}
	ca := &Cache{c: c, config: config}
	ca.ctx, ca.cancel = context.WithCancel(context.Background())
	ca.current.Store(&published{pairs: emptyPairs()})
	ca.building = newBuilding(&ca.config)
	ca.seed, ca.sums = ca.building.index.seed, ca.building.sums
	ca.follower = follow.New(c, follow.Config{
		Key: config.Key, Prefix: config.Prefix, FromKey: config.FromKey, RangeEnd: config.RangeEnd,
		KeysOnly: config.KeysOnly, Progress: true, OwnStream: true, DistrustProgress: config.DistrustProgress,
		State: ca.building, Pieces: ca.building.apply,
	})
	ca.asker = newAsker(ca.follower.RequestProgress)
	ca.flights.read, ca.flights.settle, ca.flights.await = ca.readIndex, ca.settle, ca.catchUp
	ca.flights.launch, ca.flights.closed, ca.flights.turn = ca.launch, ca.ctx.Done(), yield.New()
	ca.routines.Go(ca.write)
	ca.routines.Go(func() { ca.asker.run(ca.ctx) })
	return ca, nil
}

// Close ends the cache: it wakes readers that wait, with ErrClosed, and when it returns no
// goroutine of the cache is left. Snapshots stay valid. It may be called again; its error is
// always nil.
func (ca *Cache) Close() error {
	ca.mu.Lock()
	ca.closing = true
	ca.mu.Unlock()
	ca.cancel()
	ca.routines.Wait()
	if last := ca.current.Load(); !errors.Is(last.ended, ErrClosed) {
		ca.markClosed() // the writer had ended before
	}
	ca.sums.checkAll(ca.current.Load().pairs)
	return nil
}

// writePauses is how long the writer waits after an error that waiting may not mend.
var writePauses = backoff.Backoff{First: 100 * time.Millisecond, Cap: 5 * time.Second}

// write is the writer: it alone changes what readers see.
func (ca *Cache) write() {
	defer ca.end()
	for failures := 0; ; {
		err := ca.advance()
		switch {
		case err == nil:
			failures = 0
			continue
		case ca.ctx.Err() != nil:
			return
		}
		ca.report(err)
		if isEnd(err) {
			ca.giveBack(err)
			return
		}
		if errors.Is(err, etcd.ErrClosed) || !call.Sleep(ca.ctx, writePauses.Jittered(failures)) {
			return
		}
		failures++
	}
}

// end is the end of the writer: after Close, or that of the client. In the latter case
// readers go on with what there is.
func (ca *Cache) end() {
	ca.follower.Close()
	if ca.ctx.Err() != nil {
		ca.markClosed()
	}
	ca.stopped.Store(true) // a reader that sees this finds the mark
	ca.waiters.wakeAll()
}

// markClosed is the last thing that is published. Only the writer calls it, and Close after
// the writer.
func (ca *Cache) markClosed() {
	last := *ca.current.Load()
	last.ended = ErrClosed
	ca.current.Store(&last)
}

// isEnd reports whether building has no state to publish any more.
func isEnd(err error) bool { return errors.Is(err, ErrCacheTooLarge) || errors.Is(err, ErrPanicked) }

// giveBack ends a cache for a reason of isEnd. Readers see nothing of it any more.
func (ca *Cache) giveBack(err error) {
	before := ca.current.Load()
	ca.current.Store(&published{
		epoch: before.epoch, revision: before.revision, pairs: emptyPairs(), table: newTable(0),
		at: time.Now(), ended: err,
	})
	ca.history.drop()
	ca.building.drop()
	ca.lagging.drop()
}

// mostRevisions is how many revisions readers see at once at most, when many come together.
const mostRevisions = 1000

// advance takes what the follower has and shows it to readers.
func (ca *Cache) advance() error {
	step, err := ca.follower.Next(ca.ctx)
	if err != nil {
		return err
	}
	ca.report(nil)
	var b batch
	err = ca.take(&b, step)
	for n := 1; err == nil && n < mostRevisions && ca.follower.Waiting(); n++ {
		if step, err = ca.follower.Next(ca.ctx); err == nil {
			err = ca.take(&b, step)
		}
	}
	if isEnd(err) {
		return err
	}
	ca.publish(&b)
	return err
}

// batch is steps that readers see at once.
type batch struct {
	last         follow.Step
	first, since int64 // the revisions of the first and last step with changes; 0: none has any
	read         bool  // one of the steps is a range that was read
	answered     bool  // one may be the answer to a question for progress
}

func (ca *Cache) take(b *batch, step follow.Step) error {
	whole := step.Kind == follow.Snapshot || step.Kind == follow.Resynced
	if whole || len(step.Changes) > 0 {
		if b.first == 0 {
			b.first = step.Revision
		}
		b.since = step.Revision
	}
	b.last, b.read = step, b.read || whole
	b.answered = b.answered || step.Kind != follow.Changed
	if step.Kind == follow.Resynced {
		ca.counts.resyncs.Add(1)
	}
	return ca.building.apply(step.Changes)
}

func (ca *Cache) publish(b *batch) {
	before := ca.current.Load()
	p := ca.building.next()
	p.epoch, p.revision, p.since, p.at = b.last.Epoch, b.last.Revision, before.since, time.Now()
	if b.since > 0 {
		p.since = b.since
	}
	// First, so that a reader who sees p finds what p has replaced.
	switch {
	case b.read:
		ca.history.add(before, p, before.revision)
	case b.first > 0:
		ca.history.add(before, p, b.first-1)
	}
	ca.current.Store(p)
	ca.building.index.published()
	ca.counts.published.Add(1)
	if p.epoch != before.epoch {
		ca.waiters.wakeAll()
	}
	woken, left := ca.waiters.wake(p.revision)
	ca.asker.published(b.answered, woken, left)
	ca.lagging.check(p)
}

// report notes why the writer makes no progress; nil: it does.
func (ca *Cache) report(err error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if (err == nil) != (ca.trouble == nil) {
		ca.since = time.Now()
	}
	ca.trouble = err
}

// Ready waits until the cache has read its range and has caught up with every answer that
// it has taken from the server meanwhile.
//
// The error is that of ctx, with the reason why the cache cannot read, ErrCacheTooLarge,
// ErrPanicked or ErrClosed.
func (ca *Cache) Ready(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	_, err := ca.state(ctx)
	return err
}

// state is what is published, once there is something.
func (ca *Cache) state(ctx context.Context) (*published, error) {
	p, err := ca.reach(ctx, (*published).ready, 0, false)
	if err != nil {
		return nil, err
	}
	known := ca.floor.Load()
	least := known.of(p)
	if least <= p.revision {
		return p, nil
	}
	if f, _ := ca.fresh(ctx); f != nil && f.revision < least { // the store was reset
		ca.floor.CompareAndSwap(known, nil)
		return p, nil
	}
	return ca.reach(ctx, func(p *published) bool {
		return p.ready() && ca.floor.Load().of(p) <= p.revision
	}, least, true)
}
