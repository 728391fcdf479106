package cache

import (
	"context"
	"iter"
	"strings"
)

// Subscription follows the keys with a prefix. Make it with [Cache.Subscribe]. Its methods are
// for one goroutine at a time.
//
// It keeps the last snapshot that its reader has seen, and no queue: a slow reader delays
// nobody, and its only cost is the memory of the pairs that have changed since. It misses
// values that have been replaced meanwhile, but no final state and no deletion. For every
// event use [etcd.Client.Watch].
type Subscription struct {
	ca     *Cache
	prefix string
	place  *place
}

// Update is the difference between the state that a subscription's reader has seen and the
// present one.
type Update struct {
	// Snapshot is the present state; with this update the reader has seen all of it.
	Snapshot *Snapshot
	// First marks the first update of a subscription: every pair is a change.
	First bool
	// Again: the reader was so far behind that the cache has dropped the state that it had
	// seen. Every present pair is a change without Old, and all other keys are gone.
	Again bool

	prefix string
	before *published
}

// Subscribe makes a subscription to the keys that begin with prefix; "" means all keys that the
// cache holds. It makes no request, and needs no Close.
func (ca *Cache) Subscribe(prefix string) *Subscription {
	p := &place{seen: &published{pairs: emptyPairs()}}
	ca.lagging.add(p)
	return &Subscription{ca: ca, prefix: prefix, place: p}
}

// Next waits for changes that the reader has not seen. The first update comes as soon as the
// cache is ready, even if there are no keys. Each further update has changes, of whole
// revisions of the store.
//
// An error of ctx leaves the subscription as it is: the next call continues after the last
// update. Other errors end it: ErrClosed, ErrCacheTooLarge, ErrPanicked, and [etcd.ErrClosed]
// after the client's Close.
func (s *Subscription) Next(ctx context.Context) (*Update, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	for {
		seen := s.place.now()
		now, err := s.ca.reach(ctx, func(p *published) bool {
			return p.ready() && (p.epoch != seen.epoch || p.revision > seen.revision)
		}, seen.revision+1, false)
		if err != nil {
			return nil, err
		}
		u := &Update{Snapshot: &Snapshot{now, now.revision}, First: seen.epoch == 0, prefix: s.prefix}
		u.before = s.place.move(now)
		u.Again = u.before == nil
		if u.Again {
			u.before = &published{pairs: emptyPairs()}
		}
		if u.First || u.Again || u.any() {
			return u, nil
		}
	}
}

// All yields updates until there is an error, which it yields last.
func (s *Subscription) All(ctx context.Context) iter.Seq2[*Update, error] {
	return func(yield func(*Update, error) bool) {
		for {
			u, err := s.Next(ctx)
			if !yield(u, err) || err != nil {
				return
			}
		}
	}
}

// Changes yields the changes, in ascending order of their keys. A key that was deleted and
// created again is two changes. Changes may be iterated more than once.
func (u *Update) Changes() iter.Seq[Change] {
	return func(yield func(Change) bool) {
		for ch := range u.Snapshot.p.pairs.Diff(u.before.pairs, u.prefix) {
			c := changeOf(ch)
			switch {
			case !strings.HasPrefix(c.Key(), u.prefix):
				return
			case c.Old != nil && c.New != nil && c.Old.CreateRevision != c.New.CreateRevision:
				if !yield(Change{Old: c.Old}) || !yield(Change{New: c.New}) {
					return
				}
			case !yield(c):
				return
			}
		}
	}
}

func (u *Update) any() bool {
	for range u.Changes() {
		return true
	}
	return false
}
