package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/duration"
)

// Freshness says how fresh an answer must be. The zero value is [Local].
type Freshness struct {
	kind     kind
	revision int64
	within   time.Duration
}

type kind uint8

const (
	local kind = iota
	linearizable
	atLeast
	within
	exact
)

var (
	// Local is what the cache has. A cache that has not read its range yet asks the server,
	// as it does for the others.
	Local = Freshness{kind: local}
	// Linearizable is the store's state at some time after the call began: it includes
	// every write that any client had confirmed before the call. Concurrent callers share
	// one request, whose answer has no keys.
	Linearizable = Freshness{kind: linearizable}
)

// AtLeast is the store's state at the revision or a later one. To read a request's own
// write, pass the revision of its response's header. A revision that does not exist yet
// is an error, ErrFutureRevision.
func AtLeast(revision int64) Freshness { return Freshness{kind: atLeast, revision: revision} }

// Within is a state that was current at most d before the call began. Linearizable and Within
// calls prove how fresh the cache is: if they are frequent enough, most Within calls need no
// request. d must be at least a millisecond: a shorter one has lost its unit, and fails with
// ErrInvalidRequest.
func Within(d time.Duration) Freshness { return Freshness{kind: within, within: d} }

// Exact is the store's state at the revision. The cache keeps some recent states, up to 64 and
// for up to a minute; [Cache.Get] asks the server for others, and [Cache.Snapshot] fails. A
// revision that does not exist yet is an error, ErrFutureRevision, and one that is gone
// ErrCompacted.
func Exact(revision int64) Freshness { return Freshness{kind: exact, revision: revision} }

func (f Freshness) check() error {
	switch {
	case f.kind == exact && f.revision <= 0:
		return fmt.Errorf("cache: Exact(%d): revisions begin with 1: %w", f.revision, etcd.ErrInvalidRequest)
	case f.kind == atLeast && f.revision <= 0:
		return fmt.Errorf("cache: AtLeast(%d): revisions begin with 1: %w", f.revision, etcd.ErrInvalidRequest)
	case f.kind == within && f.within <= 0:
		return fmt.Errorf("cache: Within(%v) is not positive; use Linearizable: %w", f.within, etcd.ErrInvalidRequest)
	}
	if err := duration.Check("Within's duration", f.within); err != nil {
		return fmt.Errorf("cache: %w: %w", err, etcd.ErrInvalidRequest)
	}
	return nil
}

// String returns the name of the function or value that makes it, as in "AtLeast(7)".
func (f Freshness) String() string {
	switch f.kind {
	case linearizable:
		return "Linearizable"
	case atLeast:
		return fmt.Sprintf("AtLeast(%d)", f.revision)
	case within:
		return fmt.Sprintf("Within(%v)", f.within)
	case exact:
		return fmt.Sprintf("Exact(%d)", f.revision)
	case local:
	}
	return "Local"
}

// notYet is the error for a revision that the store has not reached.
func notYet(f Freshness, now int64) error {
	return fmt.Errorf("cache: %v: the store is at %d: %w", f, now, etcd.ErrFutureRevision)
}

// errBehind: the cache cannot tell in time that it has reached a revision.
var errBehind = errors.New("cache is behind the store")

// notKept: the cache does not keep the state at a revision any more. It is ErrCompacted.
type notKept struct{ revision int64 }

func (e notKept) Error() string {
	return fmt.Sprintf("cache: the state at revision %d is not kept", e.revision)
}

func (e notKept) Is(target error) bool { return target == etcd.ErrCompacted }

// view is a state that is fresh enough, at the revision that was asked for.
func (ca *Cache) view(ctx context.Context, f Freshness) (Snapshot, error) {
	p, err := ca.at(ctx, f)
	if err != nil {
		return Snapshot{}, err
	}
	if f.kind != exact {
		return Snapshot{p, p.revision}, nil
	}
	if p = ca.history.at(p, p.epoch, f.revision); p == nil {
		return Snapshot{}, notKept{f.revision}
	}
	return Snapshot{p, f.revision}, nil
}

// suffices reports whether a state is fresh enough without a request.
func (ca *Cache) suffices(p *published, f Freshness) bool {
	switch f.kind {
	case local:
		return true
	case exact:
		return p.revision >= f.revision
	case atLeast:
		return p.revision >= max(f.revision, ca.floor.Load().of(p))
	case within:
		return p.revision >= ca.floor.Load().of(p) && ca.proved(p, f.within)
	case linearizable:
	}
	return false
}

// at is a state that is fresh enough. It fails with errBehind when the cache does not find
// out in time, although the store answers.
func (ca *Cache) at(ctx context.Context, f Freshness) (*published, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	p, err := ca.reach(ctx, (*published).ready, 0, false)
	if err != nil {
		return nil, err
	}
	if ca.suffices(p, f) {
		return p, nil
	}
	if f.revision > 0 {
		if p := ca.soon(ctx, f); p != nil {
			return p, nil
		}
	}
	for {
		flight, err := ca.fresh(ctx)
		switch {
		case flight != nil && flight.revision < f.revision:
			return nil, notYet(f, flight.revision)
		case err != nil:
			return nil, err
		case flight.now != nil:
			return flight.now, nil
		}
	}
}

// soon waits for a revision that is about to come: its reader usually knows it from an answer,
// so its events are on their way, or the member can report that it has none. That takes no
// linearizable read. It returns nil if the revision does not come; a flight then finds out why.
func (ca *Cache) soon(ctx context.Context, f Freshness) *published {
	bounded, cancel := context.WithTimeout(ctx, max(2*ca.flights.roundTrip(), leastHeadway))
	defer cancel()
	p, err := ca.reach(bounded, func(p *published) bool { return ca.suffices(p, f) }, f.revision, true)
	if err != nil {
		return nil
	}
	return p
}

// settle notes what a flight has found, for all who share it. It returns false if the cache is
// not there yet.
func (ca *Cache) settle(f *flight) bool {
	if ca.fellBack(f) {
		f.err = errBehind // the follower will find out too
		return true
	}
	p := ca.current.Load()
	if p.ended == nil && !f.covered(p) {
		return false
	}
	ca.settleAt(f, p, p.ended)
	return true
}

// catchUp waits until the cache is where the flight has found the store.
func (ca *Cache) catchUp(f *flight) {
	p, err := ca.reachSoon(f.covered, f.revision, f.left)
	ca.settleAt(f, p, err)
}

func (ca *Cache) settleAt(f *flight, p *published, err error) {
	switch {
	case err != nil:
		f.err = err
	case p.epoch != f.before.epoch: // the flight's revision may be one of the old history
	default:
		f.now = p
		ca.avoid.worked()
		ca.prove(proof{f.left, p.epoch, f.revision, f.term})
	}
}

// reachSoon is reach for no longer than it should take, for a flight that has left at a time. It
// fails with errBehind.
func (ca *Cache) reachSoon(enough func(*published) bool, revision int64, left time.Time) (*published, error) {
	bounded, cancel := context.WithTimeout(ca.ctx, max(leastPatience, 4*ca.flights.roundTrip()))
	defer cancel()
	p, err := ca.reach(bounded, enough, revision, true)
	if err != nil && bounded.Err() != nil && ca.ctx.Err() == nil {
		ca.avoid.failed(left)
		err = errBehind
	}
	return p, err
}

// fellBack reports whether a flight has found another history of the store than the cache
// had when it left, as after a backup was restored.
func (ca *Cache) fellBack(f *flight) bool {
	known := ca.proof.Load()
	return f.revision < f.before.revision || known != nil && known.epoch == f.before.epoch && f.term < known.term
}

// leastPatience is how long a reader waits at least for the cache to catch up with the
// store before it asks the server for its key.
const leastPatience = 50 * time.Millisecond

// prove notes that the cache was current.
func (ca *Cache) prove(now proof) {
	for {
		old := ca.proof.Load()
		if old != nil && old.epoch >= now.epoch && !old.left.Before(now.left) {
			return
		}
		if ca.proof.CompareAndSwap(old, &now) {
			return
		}
	}
}

// proved reports whether p was the store's present state at most d ago. A proof of a later
// state, made while the caller was held up with p, says nothing about p.
func (ca *Cache) proved(p *published, d time.Duration) bool {
	known := ca.proof.Load()
	return known != nil && known.epoch == p.epoch && known.revision <= p.revision && age(known.left) <= d
}

// age is how long ago t was. A machine that was suspended has stopped one of its clocks, and
// one whose time is set changes the other.
func age(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}
