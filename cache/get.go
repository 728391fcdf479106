package cache

import (
	"context"
	"errors"
	"fmt"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// Presence is what a cache knows about a key.
type Presence uint8

const (
	// Unknown: the cache has not read its range yet, is closed, or does not hold the key.
	Unknown Presence = iota
	// Absent: the key does not exist.
	Absent
	// Present: the key exists.
	Present
	// WithoutValue: the key exists, and the cache does not keep its value, see
	// Config.KeepValue.
	WithoutValue
)

// String returns "unknown", "absent", "present" or "without value", or "Presence(7)" for a value that is none
// of the constants.
func (p Presence) String() string {
	if p > WithoutValue {
		return fmt.Sprintf("Presence(%d)", uint8(p))
	}
	return [...]string{"unknown", "absent", "present", "without value"}[p]
}

// Result is the answer of [Cache.Get].
type Result struct {
	// KV is the pair; zero if there is none. Its bytes are the cache's: do not write to them.
	KV etcd.KeyValue
	// Found reports whether the key exists.
	Found bool
	// Revision is the revision of the store that the answer shows.
	Revision int64
	// FromServer: the answer came from the server, because the cache has not read its range,
	// could not prove in time how fresh it is, does not keep the value or revision, or has
	// ended. Later Peek and Local answers may be older than this one; others are not.
	FromServer bool
}

// Peek returns what the cache has of a key. It does not wait, takes no lock and allocates
// nothing.
func (ca *Cache) Peek(key string) (etcd.KeyValue, Presence) {
	v, presence := ca.peek(key)
	if v == nil {
		return etcd.KeyValue{}, presence
	}
	return v.kv, presence
}

func (ca *Cache) peek(key string) (*version, Presence) {
	hash := hashOf(ca.seed, key)
	for {
		p := ca.current.Load()
		if !p.ready() {
			return nil, Unknown
		}
		v, ok := p.find(hash, key)
		switch {
		case !ok: // there is a later publication
		case v != nil:
			ca.sums.check(v)
			if ca.config.KeepValue != nil && v.isLeftOut() {
				return v, WithoutValue
			}
			return v, Present
		case ca.config.has(key):
			return nil, Absent
		default:
			return nil, Unknown
		}
	}
}

// Get returns a pair with the given freshness. A key that does not exist is no error.
//
// It asks the server for the key, as [etcd.Client.Get] does, when the cache has not read its
// range yet, when the store answers but the cache cannot prove in time that it has caught up,
// and when the cache has ended because its range is too large. [Stats.Fallbacks] counts these
// calls, and Config.NoFallback forbids them.
//
// Errors: ErrOutOfScope, ErrClosed, that of ctx, ErrInvalidRequest for an invalid Freshness,
// ErrFutureRevision for [AtLeast] and [Exact], ErrCompacted for [Exact], ErrCacheTooLarge and
// ErrPanicked with Config.NoFallback, and those of every call (see [etcd.Error]) where a request is
// made.
//
// etcd: KV/Range (since 3.0), Watch/Watch for progress (since 3.5.13)
func (ca *Cache) Get(ctx context.Context, key string, f Freshness) (Result, error) {
	r, _, err := ca.lookup(ctx, key, f)
	return r, err
}

// lookup is Get, with the version of the cache if the answer is that.
func (ca *Cache) lookup(ctx context.Context, key string, f Freshness) (Result, *version, error) {
	switch {
	case !ca.config.has(key):
		return Result{}, nil, fmt.Errorf("cache: key %q: %w", key, ErrOutOfScope)
	case ctx == nil:
		return Result{}, nil, errNilContext
	}
	if err := f.check(); err != nil {
		return Result{}, nil, err
	}
	for tries := 0; ; tries++ {
		s, err := ca.here(ctx, f)
		switch {
		case err == nil:
			return ca.found(ctx, s, key, f)
		case errors.Is(err, ErrClosed):
			return Result{}, nil, err
		case !ca.config.NoFallback && ca.mayAsk(err):
			r, err := ca.ask(ctx, key, f)
			return r, nil, err
		case !errors.Is(err, errBehind):
			return Result{}, nil, err
		case !call.Sleep(ctx, askPauses.Span(tries)):
			return Result{}, nil, ca.gaveUp(ctx)
		}
	}
}

// here is a view, or an error at once where the server would be asked without waiting.
func (ca *Cache) here(ctx context.Context, f Freshness) (Snapshot, error) {
	p := ca.current.Load()
	switch {
	case ca.config.NoFallback, p.ended != nil:
	case !p.ready():
		if !ca.stopped.Load() {
			return Snapshot{}, errBehind
		}
	case ca.avoid.now() && !ca.suffices(p, f):
		return Snapshot{}, errBehind
	}
	return ca.view(ctx, f)
}

// mayAsk reports whether the server can answer where the cache has failed with err.
func (ca *Cache) mayAsk(err error) bool {
	var gone notKept
	return errors.Is(err, errBehind) || isEnd(err) || errors.As(err, &gone)
}

// found is the answer of a state.
func (ca *Cache) found(ctx context.Context, s Snapshot, key string, f Freshness) (Result, *version, error) {
	v := s.p.get(hashOf(ca.seed, key), key)
	if v == nil {
		return Result{Revision: s.revision}, nil, nil
	}
	ca.sums.check(v)
	if ca.config.KeepValue != nil && v.isLeftOut() {
		r, err := ca.askValue(ctx, v, f)
		return r, nil, err
	}
	return Result{KV: v.kv, Found: true, Revision: s.revision}, v, nil
}

// ask asks the server.
func (ca *Cache) ask(ctx context.Context, key string, f Freshness) (Result, error) {
	before := ca.current.Load()
	ca.counts.fallbacks.Add(1)
	req := etcd.GetRequest{Key: key, KeysOnly: ca.config.KeysOnly}
	if f.kind == exact {
		req.Revision = f.revision
	}
	resp, err := ca.c.Get(ctx, req)
	if err != nil {
		return Result{}, err
	}
	if resp.Header.Revision < f.revision {
		return Result{}, notYet(f, resp.Header.Revision)
	}
	r := Result{Revision: resp.Header.Revision, FromServer: true}
	if f.kind == exact {
		r.Revision = f.revision
	} else {
		ca.shown(before, r.Revision)
	}
	if len(resp.KVs) > 0 {
		r.KV, r.Found = resp.KVs[0], true
	}
	return r, nil
}

// askValue asks for the value of a version that the cache does not keep. A Get of its revision
// would fail when that is compacted.
func (ca *Cache) askValue(ctx context.Context, v *version, f Freshness) (Result, error) {
	if f.kind == exact {
		return ca.ask(ctx, v.kv.Key, f)
	}
	before := ca.current.Load()
	ca.counts.values.Add(1)
	resp, err := ca.c.Get(ctx, etcd.GetRequest{Key: v.kv.Key})
	if err != nil {
		return Result{}, err
	}
	r := Result{Revision: resp.Header.Revision, FromServer: true}
	ca.shown(before, r.Revision)
	if len(resp.KVs) > 0 {
		r.KV, r.Found = resp.KVs[0], true
	}
	return r, nil
}
