package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/callback"
	"silly.store/etcd/internal/duration"
	"silly.store/etcd/internal/follow"
)

// WatchConfig configures [Watch].
type WatchConfig struct {
	// Service is the service to watch. It is required and must not end with "/".
	Service string
	// Nested treats keys with further slashes as instances too: the rest of the key is the
	// ID. Set it where client/v3 puts endpoints under IDs like "http://10.0.0.1".
	Nested bool
	// Codec reads the values; nil means [Endpoints].
	Codec Codec
	// RemoveDelay is how long an instance stays in the set after its key is gone, so that
	// one that comes back at once does not disappear in between. 0 means no delay.
	RemoveDelay time.Duration
	// MinKeep is the share, from 0 to 1, of the largest set of the last minute that a set
	// keeps, however many keys are gone; the instances whose keys went last stay. So a
	// fault that ends all leases does not remove all instances. 0 means none.
	MinKeep float64
}

func (c *WatchConfig) check() error {
	switch {
	case c.RemoveDelay < 0:
		return invalid("WatchConfig.RemoveDelay is %v; it must not be negative", c.RemoveDelay)
	case !(c.MinKeep >= 0 && c.MinKeep <= 1):
		return invalid("WatchConfig.MinKeep is %v; it is a share, from 0 to 1", c.MinKeep)
	}
	if err := duration.Check("WatchConfig.RemoveDelay", c.RemoveDelay); err != nil {
		return invalid("%v", err)
	}
	return checkService(c.Service)
}

// Watcher follows the instances of a service. Make it with [Watch], share it, and close it
// before its client. All methods may be called concurrently.
type Watcher struct {
	config   WatchConfig
	follower *follow.Follower
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	routines sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	roster  *roster
	read    bool // the service was read once
	epoch   int
	rev     int64
	shown   *Set
	changed chan struct{} // closed, and replaced, with shown
	trouble error         // why the follower makes no progress
	since   time.Time     // of the trouble
	ended   error         // the follower has ended
	timer   *time.Timer   // calls look
	due     time.Time     // when the roster changes by itself; zero: it does not
}

// Watch starts to follow the instances of a service. It makes no request before it returns:
// use [Watcher.Ready] to wait for the first set.
//
// The error names the field that is wrong; errors.Is finds etcd.ErrInvalidConfig.
//
// etcd: KV/Range (since 3.0), KV/RangeStream where the server has it (since 3.7), Watch/Watch
func Watch(c *etcd.Client, config WatchConfig) (*Watcher, error) {
	if c == nil {
		return nil, invalid("the client is nil")
	}
	if err := config.check(); err != nil {
		return nil, err
	}
	if config.Codec == nil {
		config.Codec = Endpoints{}
	}
	w := &Watcher{
		config: config, roster: newRoster(config.RemoveDelay, config.MinKeep),
		follower: follow.New(c, follow.Config{Key: config.Service + "/", Prefix: true}),
		shown:    &Set{}, changed: make(chan struct{}),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(lookPause, w.look)
	w.routines.Go(w.run)
	return w, nil
}

// Close ends the watch: calls that wait return ErrClosed, and when it returns no goroutine of
// the watcher is left. Sets stay valid. It may be called again; its error is always nil.
func (w *Watcher) Close() error {
	w.cancel()
	w.routines.Wait()
	return nil
}

// Current returns the last set. Before the first one Revision is 0 and there are no instances,
// which says nothing about the service.
func (w *Watcher) Current() Set {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *w.shown
}

// Ready waits until the service was read for the first time.
//
// The error is that of ctx, with the reason why the watcher cannot read; ErrClosed; and
// etcd.ErrClosed after the client's Close.
func (w *Watcher) Ready(ctx context.Context) error {
	_, err := w.await(ctx, nil)
	return err
}

// Err is the reason why the watcher makes no progress, nil if it does. It continues by
// itself when it can.
func (w *Watcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trouble != nil {
		return w.trouble
	}
	if err := w.follower.Trouble(); err != nil {
		return err
	}
	if state, _ := w.follower.WatchState(); state.Err != nil {
		return state.Err
	}
	if since := w.follower.Unwatched(); !since.IsZero() && time.Since(since) > staleAfter {
		return fmt.Errorf("discovery: no answer since %v", since.Format(time.TimeOnly))
	}
	return nil
}

// All yields the present set, and then each set that differs from the last one that it
// has yielded, with the instances that were added, removed and updated. A slow reader
// misses intermediate sets, but no difference. The loop ends with ctx, or after Close:
// it yields that error last.
//
// The first set is yielded when the service was read. Each loop is a separate reader.
func (w *Watcher) All(ctx context.Context) iter.Seq2[Set, error] {
	return func(yield func(Set, error) bool) {
		var seen *Set
		for {
			now, err := w.await(ctx, seen)
			if err != nil {
				yield(Set{}, err)
				return
			}
			before := seen
			if before == nil {
				before = &Set{}
			}
			seen = now
			if !yield(now.since(before), nil) {
				return
			}
		}
	}
}

// await waits for a set that differs from the one that was seen; nil: none was.
func (w *Watcher) await(ctx context.Context, seen *Set) (*Set, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	for {
		w.mu.Lock()
		read, shown, changed, ended := w.read, w.shown, w.changed, w.ended
		w.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return nil, w.because(ctx)
		case w.ctx.Err() != nil:
			return nil, fmt.Errorf("discovery: the watcher of %q %w", w.config.Service, ErrClosed)
		case read && (seen == nil || shown != seen && shown.differs(seen)):
			return shown, nil
		case ended != nil:
			return nil, ended
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-w.ctx.Done():
		}
	}
}

// because is the error of a context that has ended, with what was in the way.
func (w *Watcher) because(ctx context.Context) error {
	if err := w.Err(); err != nil {
		// Not %w: the end of ctx must not look like a failed request.
		return fmt.Errorf("discovery: %q: %w; the last request failed: %v", w.config.Service, context.Cause(ctx), err)
	}
	return fmt.Errorf("discovery: %q: %w", w.config.Service, context.Cause(ctx))
}

// watchPauses is before the next attempt after an error that waiting may not mend.
var watchPauses = backoff.Backoff{First: 100 * time.Millisecond, Cap: 5 * time.Second}

// run is the watcher's goroutine.
func (w *Watcher) run() {
	defer w.end()
	for failures := 0; ; {
		step, err := w.follower.Next(w.ctx)
		switch {
		case err == nil:
			failures = 0
			w.take(step)
			continue
		case w.ctx.Err() != nil:
			return
		}
		w.report(err)
		if errors.Is(err, etcd.ErrClosed) || !call.Sleep(w.ctx, watchPauses.Jittered(failures)) {
			return
		}
		failures++
	}
}

func (w *Watcher) end() {
	w.follower.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.ended = w.trouble
	if w.ended == nil {
		w.ended = ErrClosed
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *Watcher) report(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trouble == nil {
		w.since = time.Now()
	}
	w.trouble = err
}

// take takes what the follower hands on.
func (w *Watcher) take(step follow.Step) {
	now, instances := time.Now(), w.readings(step.Changes)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = nil
	reset := w.epoch != 0 && step.Epoch != w.epoch
	w.epoch, w.rev, w.read = step.Epoch, step.Revision, true
	for n, ch := range step.Changes {
		switch {
		case ch.New == nil:
			w.roster.remove(ch.Old.Key, now, reset)
		case instances[n] != nil:
			w.roster.add(ch.New.Key, *instances[n])
		case w.isInstance(ch.New):
			w.roster.unreadable(ch.New.Key, now)
		}
	}
	if !w.follower.Waiting() {
		w.showLocked(now)
	}
}

// readings are the instances that were put, by the index of the change; nil: none. The caller
// holds no lock, because the codec is the user's.
func (w *Watcher) readings(changes []follow.Change) []*Instance {
	instances := make([]*Instance, len(changes))
	for n, ch := range changes {
		if ch.New == nil || !w.isInstance(ch.New) {
			continue
		}
		if i, err := w.decode(ch.New); err == nil {
			instances[n] = &i
		}
	}
	return instances
}

// isInstance reports whether a pair is that of an instance.
func (w *Watcher) isInstance(kv *etcd.KeyValue) bool {
	return w.config.Nested || !strings.Contains(w.idOf(kv), "/")
}

func (w *Watcher) idOf(kv *etcd.KeyValue) string { return kv.Key[len(w.config.Service)+1:] }

func (w *Watcher) decode(kv *etcd.KeyValue) (i Instance, err error) {
	defer callback.Report(nil).Recover("WatchConfig.Codec", &err)
	i = Instance{Service: w.config.Service, ID: w.idOf(kv)}
	err = w.config.Codec.Decode(kv.Value, &i)
	i.Service, i.ID, i.Revision = w.config.Service, w.idOf(kv), kv.ModRevision
	return i, err
}

const (
	// lookPause is how often a watcher looks whether etcd can be reached.
	lookPause = 500 * time.Millisecond
	// staleAfter is how long etcd must be away before the set is called stale: a watch that
	// moves to another member is not worth it.
	staleAfter = time.Second
)

// look runs by timer: it shows what changes as time goes by.
func (w *Watcher) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case w.ended != nil, w.ctx.Err() != nil:
	case (w.due.IsZero() || w.due.After(now)) && w.staleLocked(now).IsZero() == w.shown.StaleSince.IsZero():
		w.timer.Reset(lookPause)
	default:
		w.showLocked(now)
	}
}

// staleLocked is since when etcd cannot be reached; zero: it can be.
func (w *Watcher) staleLocked(now time.Time) time.Time {
	since := w.follower.Unwatched()
	if state, ok := w.follower.WatchState(); ok && !state.Since.IsZero() {
		since = earlier(since, state.Since)
	}
	if w.trouble != nil {
		since = earlier(since, w.since)
	}
	if since.IsZero() || now.Sub(since) < staleAfter {
		return time.Time{}
	}
	return since
}

// showLocked makes the set that readers see.
func (w *Watcher) showLocked(now time.Time) {
	wait := lookPause
	defer func() { w.timer.Reset(wait) }()
	if !w.read {
		return
	}
	instances, kept, next := w.roster.show(now)
	if w.due = next; !next.IsZero() {
		wait = max(min(wait, next.Sub(now)), time.Millisecond)
	}
	set := &Set{
		Revision: w.rev, Instances: instances, Kept: kept, StaleSince: w.staleLocked(now),
		Undecodable: slices.Sorted(maps.Keys(w.roster.undecodable)),
	}
	if set.Revision != w.shown.Revision || set.differs(w.shown) {
		w.shown = set
		close(w.changed)
		w.changed = make(chan struct{})
	}
}
