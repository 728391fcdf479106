package follow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
)

// Config says what a [Follower] follows. Key, Prefix, FromKey and RangeEnd are those of
// etcd.WatchRequest.
type Config struct {
	Key      string
	Prefix   bool
	FromKey  bool
	RangeEnd string

	// KeysOnly leaves the values out. Leases may be missing too, see etcd.GetRequest.
	KeysOnly bool
	// Progress has Next return [Progressed] steps: those that [Follower.RequestProgress]
	// asks for, and those that the server sends while nothing happens.
	Progress bool
	// OwnStream is that of etcd.WatchRequest: questions for progress depend on this watch
	// alone, and are repeated quickly.
	OwnStream bool
	// DistrustProgress is for servers whose progress responses may overtake events although
	// their version says otherwise. None of these counts then.
	DistrustProgress bool
	// Pieces takes the changes of a snapshot or a resynchronization while they are read, some
	// at a time, so that they are never held together; the step has none then. It adds
	// them to State, which is required, and keeps nothing of the slice. When the read fails in
	// the middle, the next one leads from what State has by then, and State is no state
	// of the store's until that is complete. An error of Pieces ends Next.
	Pieces func([]Change) error
	// State is the caller's own. Nil: the follower keeps the pairs.
	State State
	// From has the follower begin behind a state that the caller has elsewhere. Then it keeps
	// none: there is no snapshot, Next returns an error for which etcd.HistoryLost is true,
	// after which the follower is of no more use, and the pairs of a step share the memory of
	// a response. A deletion's Old has the key alone, and every put is a Change with New
	// alone.
	From *Position
	// BufferBytes is that of etcd.WatchRequest.
	BufferBytes int
}

// Position is that of a state in the history of a store.
type Position struct {
	// Revision is the store's revision of which the state is.
	Revision int64
	// Term is the raft term of an answer from that time; 0: it is not known.
	Term uint64
	// Count is how many keys the range has; negative: it is not known.
	Count int64
}

// Position is where the follower is. Without Config.From, Count is not set.
func (f *Follower) Position() Position {
	return Position{Revision: f.revision, Term: f.term, Count: f.count}
}

// Follower follows a range of keys. Its methods are called by one goroutine at a time,
// except RequestProgress, WatchState, Trouble and Unwatched.
type Follower struct {
	c      *etcd.Client
	config Config
	gate   *gate
	state  State
	own    pairs // the state, if the caller has none

	phase phase
	// epoch and revision are of the last step; both 0 before the first. term is the raft
	// term of the last linearizable answer.
	epoch    int
	revision int64
	term     uint64

	count int64 // of keys in the range, with Config.From; negative: it is not known

	// Of a loss of history: the store was reset, and how many compactions there were since
	// the range was last read.
	reset       bool
	compactions int

	// Of the watch: events that it has delivered and that are not handed on, whether the
	// store was ahead when it was confirmed, and the count that the state will be held
	// against.
	events []etcd.Event
	behind bool
	audit  audit

	mu        sync.Mutex // guards the fields below, which only Next and Close change
	watcher   *etcd.Watcher
	asked     bool      // for progress, while there was no watch
	trouble   error     // the last error for a passing reason, until something succeeds
	unwatched time.Time // when Next began what comes before the tail; zero: it tails
}

// phase is what Next has to do first, see the package's documentation.
type phase uint8

const (
	unread phase = iota
	unwatched
	unchecked
	tailing
)

// pauses is how long Next waits after a request that failed for a passing reason. The
// client has repeated it by then.
var pauses = backoff.Backoff{First: 50 * time.Millisecond, Cap: 2 * time.Second}

// New makes a follower. It makes no request. Close it when it is no longer needed.
func New(c *etcd.Client, config Config) *Follower {
	f := &Follower{c: c, config: config, gate: gateOf(c), state: config.State}
	if from := config.From; from != nil {
		f.phase, f.epoch, f.revision, f.term, f.count = unwatched, 1, from.Revision, from.Term, from.Count
		return f
	}
	if f.state == nil {
		f.own = make(pairs)
		f.state = f.own
	}
	return f
}

// Next waits for the next step.
//
// An error leaves the follower as it is: Next may be called again, and goes on without a
// gap. It repeats requests that fail for a passing reason (etcd.Temporary) until ctx ends.
// Its errors are that of ctx, and those of Range and Watch that waiting does not mend,
// like ErrPermissionDenied and ErrClosed. It never returns one for which
// etcd.HistoryLost is true.
func (f *Follower) Next(ctx context.Context) (Step, error) {
	for failures := 0; ; {
		step, err := f.advance(ctx)
		if err != nil {
			err = f.lose(err)
		}
		f.note(err)
		switch {
		case step != nil:
			return *step, nil
		case err == nil:
			failures = 0
		case !etcd.Temporary(err):
			return Step{}, err
		default:
			if !call.Sleep(ctx, pauses.Jittered(failures)) {
				// Not %w: the end of ctx must not look temporary.
				return Step{}, fmt.Errorf("%w; the last request failed: %v", ended(ctx), err)
			}
			failures++
		}
	}
}

// ended is the error of a ctx that has ended.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}

// advance does what the phase asks for. It returns a step if there is one.
func (f *Follower) advance(ctx context.Context) (*Step, error) {
	f.noteTail(f.phase == tailing)
	switch f.phase {
	case unread:
		return f.read(ctx)
	case unwatched:
		return nil, f.watch(ctx)
	case unchecked:
		return nil, f.check(ctx)
	case tailing:
	}
	return f.tail(ctx)
}

// handOn completes a step.
func (f *Follower) handOn(step *Step) *Step {
	step.Epoch = f.epoch
	if f.own != nil {
		f.own.apply(step.Changes)
	}
	return step
}

// All yields the steps until there is an error, which it yields last.
func (f *Follower) All(ctx context.Context) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		for {
			step, err := f.Next(ctx)
			if !yield(step, err) || err != nil {
				return
			}
		}
	}
}

// Pairs yields the pairs that have been handed on, in ascending order of their keys.
func (f *Follower) Pairs() iter.Seq[*etcd.KeyValue] { return f.state.All() }

// Waiting reports whether Next will return another revision without waiting. A caller
// that publishes revisions does so when none is waiting.
func (f *Follower) Waiting() bool { return len(f.events) > 0 }

// WatchState is that of the watch, and false while there is none.
func (f *Follower) WatchState() (etcd.WatchState, bool) {
	f.mu.Lock()
	w := f.watcher
	f.mu.Unlock()
	if w == nil {
		return etcd.WatchState{}, false
	}
	return w.State(), true
}

func (f *Follower) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble = err
}

// noteTail notes whether the watch is what Next waits for.
func (f *Follower) noteTail(tailing bool) {
	if tailing == f.unwatched.IsZero() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unwatched = time.Time{}
	if !tailing {
		f.unwatched = time.Now()
	}
}

// Unwatched is since when there is no watch whose events Next may hand on; zero: there is
// one, or Next was not called. The watch may have lost its member, see WatchState.
func (f *Follower) Unwatched() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unwatched
}

// Trouble is the error of the last request, while Next repeats it; nil: there is none.
func (f *Follower) Trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

// RequestProgress asks the server how far the watch is, see etcd.Watcher.RequestProgress.
// While there is no watch, the next one is asked. It may be called at any time.
func (f *Follower) RequestProgress() {
	f.mu.Lock()
	w := f.watcher
	f.asked = w == nil
	f.mu.Unlock()
	if w != nil {
		w.RequestProgress()
	}
}

// Close ends the watch. The follower must not be used any more.
func (f *Follower) Close() {
	f.unwatch()
	f.gate.leave()
}

func (f *Follower) setWatcher(w *etcd.Watcher) {
	f.mu.Lock()
	f.watcher = w
	ask := f.asked && w != nil
	f.asked = f.asked && !ask
	f.mu.Unlock()
	if ask {
		w.RequestProgress()
	}
}

// unwatch ends the watch, and forgets what it has delivered.
func (f *Follower) unwatch() {
	if f.watcher != nil {
		_ = f.watcher.Close()
		f.setWatcher(nil)
	}
	f.events = nil
}
