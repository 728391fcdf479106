package cache

import (
	"context"
	"errors"
	"iter"
	"strings"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/cowtree"
)

// Snapshot is the range at one revision. It never changes, and may be read concurrently and
// after the cache was closed. Its pairs share the memory of the cache: do not write to a
// Value. A snapshot keeps replaced pairs in memory for as long as it is held.
type Snapshot struct {
	p        *published
	revision int64
}

// Snapshot returns a state of the whole range with the given freshness. It makes no request
// where [Cache.Get] makes none, and waits until the cache has caught up or ctx ends.
//
// It waits for a cache that has not read its range yet.
//
// Errors: ErrClosed, ErrCacheTooLarge, ErrPanicked, that of ctx, ErrInvalidRequest and ErrFutureRevision as
// for Get, ErrCompacted where the cache does not keep an [Exact] revision, and those of
// every call (see [etcd.Error]) where a request is made.
func (ca *Cache) Snapshot(ctx context.Context, f Freshness) (*Snapshot, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		s, err := ca.view(ctx, f)
		switch {
		case err == nil:
			return &s, nil
		case !errors.Is(err, errBehind):
			return nil, err
		case !call.Sleep(ctx, askPauses.Span(tries)):
			return nil, ca.gaveUp(ctx)
		}
	}
}

// Revision is the revision of the store that the snapshot shows.
func (s *Snapshot) Revision() int64 { return s.revision }

// Epoch counts the histories of the store that the cache has seen, from 1. Revisions of
// different epochs cannot be compared.
func (s *Snapshot) Epoch() int { return s.p.epoch }

// Len is the number of keys.
func (s *Snapshot) Len() int { return s.p.pairs.Len() }

// Get returns a pair, and whether it exists.
func (s *Snapshot) Get(key string) (etcd.KeyValue, bool) {
	if v := s.p.pairs.Get(key); v != nil {
		return v.kv, true
	}
	return etcd.KeyValue{}, false
}

// ValueLeftOut reports whether the key exists and the cache does not keep its value,
// see Config.KeepValue.
func (s *Snapshot) ValueLeftOut(key string) bool {
	v := s.p.pairs.Get(key)
	return v != nil && v.isLeftOut()
}

// All yields the pairs whose keys begin with prefix, in ascending order of their keys.
func (s *Snapshot) All(prefix string) iter.Seq[etcd.KeyValue] {
	return func(yield func(etcd.KeyValue) bool) {
		for v := range s.p.pairs.Ascend(prefix) {
			if !strings.HasPrefix(v.kv.Key, prefix) || !yield(v.kv) {
				return
			}
		}
	}
}

// Backward yields the pairs whose keys begin with prefix, in descending order of their keys.
func (s *Snapshot) Backward(prefix string) iter.Seq[etcd.KeyValue] {
	return func(yield func(etcd.KeyValue) bool) {
		for v := range s.p.pairs.Descend(after(prefix)) {
			if !strings.HasPrefix(v.kv.Key, prefix) || !yield(v.kv) {
				return
			}
		}
	}
}

// after is the first key after all that begin with prefix; "" if there is none.
func after(prefix string) string {
	for end := len(prefix); end > 0; end-- {
		if prefix[end-1] < 0xff {
			return prefix[:end-1] + string([]byte{prefix[end-1] + 1})
		}
	}
	return ""
}

// From yields the pairs whose keys are not below key, in ascending order.
func (s *Snapshot) From(key string) iter.Seq[etcd.KeyValue] {
	return func(yield func(etcd.KeyValue) bool) {
		for v := range s.p.pairs.Ascend(key) {
			if !yield(v.kv) {
				return
			}
		}
	}
}

// Before yields the pairs whose keys are below key, in descending order; with "", all.
func (s *Snapshot) Before(key string) iter.Seq[etcd.KeyValue] {
	return func(yield func(etcd.KeyValue) bool) {
		for v := range s.p.pairs.Descend(key) {
			if !yield(v.kv) {
				return
			}
		}
	}
}

// Change is a key at which two states differ. At least one of Old and New is set. Its pairs
// belong to the cache: do not write to them.
type Change struct {
	// Old is the pair in the older state; nil: it has no such key.
	Old *etcd.KeyValue
	// New is the pair in the newer state; nil: it has no such key.
	New *etcd.KeyValue
}

// Key is the key that changes.
func (c Change) Key() string {
	if c.New != nil {
		return c.New.Key
	}
	return c.Old.Key
}

// Diff yields the changes that lead from an older snapshot of the same cache to this one, in
// ascending order of their keys. Several changes of a key are one; a different
// CreateRevision shows that the key was deleted in between. The time that Diff takes depends
// on the changes, not on the size.
func (s *Snapshot) Diff(older *Snapshot) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		for ch := range s.p.pairs.Diff(older.p.pairs, "") {
			if !yield(changeOf(ch)) {
				return
			}
		}
	}
}

func changeOf(ch cowtree.Change[version]) (c Change) {
	if ch.Old != nil {
		c.Old = &ch.Old.kv
	}
	if ch.New != nil {
		c.New = &ch.New.kv
	}
	return c
}
