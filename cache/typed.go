package cache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"silly.store/etcd"
	"silly.store/etcd/internal/callback"
)

// TypedConfig configures a [Typed].
type TypedConfig[T any] struct {
	// Decode makes a value of a pair. It is required, may be called concurrently for different
	// pairs, and must not write to the pair. A panic is an error.
	Decode func(etcd.KeyValue) (T, error)
	// KeepLast makes an answer whose present value cannot be decoded fall back to the last
	// value of the key that was read and could be decoded.
	KeepLast bool
}

// Typed reads a cache's pairs as values of a type. Each version of a pair is decoded once, by
// its first reader; the value is shared, so do not write to what it points to. All methods
// may be called concurrently.
type Typed[T any] struct {
	ca       *Cache
	config   TypedConfig[T]
	failures atomic.Int64
}

// Decoded is a pair and its decoded value.
type Decoded[T any] struct {
	KV    etcd.KeyValue
	Value T
	// Err is a *[DecodeError], or nil.
	Err error
	// Last: the pair cannot be decoded, and Value is of an earlier version of it.
	Last bool
}

// DecodeError is the error for a pair that could not be decoded. errors.Is finds ErrDecode and
// the decoder's error.
type DecodeError struct {
	Key         string
	ModRevision int64
	Err         error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("cache: value of key %q at revision %d cannot be decoded: %v", e.Key, e.ModRevision, e.Err)
}

// Unwrap returns ErrDecode and the decoder's error.
func (e *DecodeError) Unwrap() []error { return []error{ErrDecode, e.Err} }

// NewTyped makes a reader of a cache. It makes no request and needs no Close. Decoded values
// stay in memory as long as their pairs.
//
// The error names the field that is wrong; errors.Is finds etcd.ErrInvalidConfig.
func NewTyped[T any](ca *Cache, config TypedConfig[T]) (*Typed[T], error) {
	switch {
	case ca == nil:
		return nil, fmt.Errorf("cache: NewTyped: the cache is nil: %w", etcd.ErrInvalidConfig)
	case config.Decode == nil:
		return nil, fmt.Errorf("cache: TypedConfig: Decode is nil: %w", etcd.ErrInvalidConfig)
	}
	return &Typed[T]{ca: ca, config: config}, nil
}

// Failures counts the versions that could not be decoded.
func (t *Typed[T]) Failures() int64 { return t.failures.Load() }

// decodedList is what several Typed have made of a version, and of earlier ones, from which the
// version has the list. It never changes.
type decodedList struct{ all []*decoded }

// decoded is what a Typed has made of the version at a position.
type decoded struct {
	owner    any
	position uint64
	once     sync.Once
	result   atomic.Pointer[outcome] // set by once
	last     *outcome                // of the last version before that could be decoded
}

type outcome struct {
	value any // a *T
	err   error
}

// best is the last outcome without an error, or nil.
func (d *decoded) best() *outcome {
	if r := d.result.Load(); r != nil && r.err == nil {
		return r
	}
	return d.last
}

// made returns what the Typed owner has made of a version, or nil.
func (v *version) made(owner any) *decoded {
	list := v.decoded.Load()
	if list == nil {
		return nil
	}
	for _, d := range list.all {
		if d.owner == owner && d.position == v.position {
			return d
		}
	}
	return nil
}

// entry is the owner's in the version's list. It takes the place of that of an earlier version.
func (v *version) entry(owner any) *decoded {
	for {
		before := v.decoded.Load()
		if d := v.made(owner); d != nil {
			return d
		}
		mine := &decoded{owner: owner, position: v.position}
		all := []*decoded{mine}
		if before != nil {
			for _, d := range before.all {
				if d.owner == owner {
					mine.last = d.best()
				} else {
					all = append(all, d)
				}
			}
		}
		if v.decoded.CompareAndSwap(before, &decodedList{all}) {
			return mine
		}
	}
}

// decode calls the decoder.
func (t *Typed[T]) decode(kv *etcd.KeyValue) (result *outcome) {
	fail := func(err error) *outcome {
		t.failures.Add(1)
		return &outcome{err: &DecodeError{Key: kv.Key, ModRevision: kv.ModRevision, Err: err}}
	}
	err := errors.New("the decoder ended its goroutine")
	var value T
	defer func() {
		if err != nil {
			result = fail(err)
		} else {
			result = &outcome{value: &value}
		}
	}()
	defer callback.Report(nil).Recover("TypedConfig.Decode", &err)
	value, err = t.config.Decode(*kv)
	return result
}

// read is what a version is as a value.
func (t *Typed[T]) read(v *version) Decoded[T] {
	if v.isLeftOut() {
		return Decoded[T]{KV: v.kv, Err: &DecodeError{Key: v.kv.Key, ModRevision: v.kv.ModRevision, Err: errLeftOut}}
	}
	d := v.made(t)
	if d == nil || d.result.Load() == nil {
		d = v.entry(t)
		d.once.Do(func() { d.result.Store(t.decode(&v.kv)) })
	}
	return t.make(v.kv, d.result.Load(), d.last)
}

func (t *Typed[T]) make(kv etcd.KeyValue, r, last *outcome) Decoded[T] {
	out := Decoded[T]{KV: kv, Err: r.err}
	if r.err != nil {
		if r = last; r == nil || !t.config.KeepLast {
			return out
		}
		out.Last = true
	}
	if p, ok := r.value.(*T); ok {
		out.Value = *p
	}
	return out
}

var errLeftOut = errors.New("the cache does not keep the value; Typed.Get reads it from the server")

// Peek is [Cache.Peek] with the decoded value.
func (t *Typed[T]) Peek(key string) (Decoded[T], Presence) {
	v, presence := t.ca.peek(key)
	if v == nil {
		return Decoded[T]{}, presence
	}
	return t.read(v), presence
}

// Get returns the value of a key with the given freshness, and whether the key exists.
// With KeepLast, a pair that cannot be decoded is no error if an earlier version could.
//
// Errors are those of [Cache.Get], and *[DecodeError], for which found is true.
//
// etcd: KV/Range (since 3.0), Watch/Watch for progress (since 3.5.13)
func (t *Typed[T]) Get(ctx context.Context, key string, f Freshness) (value T, found bool, err error) {
	r, v, err := t.ca.lookup(ctx, key, f)
	if err != nil || !r.Found {
		return value, false, err
	}
	var d Decoded[T]
	if v != nil {
		d = t.read(v)
	} else { // of the server, which the cache does not keep
		d = t.make(r.KV, t.decode(&r.KV), t.lastOf(key))
	}
	if d.Last {
		d.Err = nil
	}
	return d.Value, true, d.Err
}

// lastOf is the last value of a key that could be decoded, as far as the cache knows.
func (t *Typed[T]) lastOf(key string) *outcome {
	v, _ := t.ca.peek(key)
	if v == nil || v.isLeftOut() {
		return nil
	}
	if list := v.decoded.Load(); list != nil {
		for _, d := range list.all {
			if d.owner == any(t) {
				return d.best()
			}
		}
	}
	return nil
}

// All yields the pairs of a snapshot whose keys begin with prefix, in ascending order of their
// keys. Those that cannot be decoded have Err set.
func (t *Typed[T]) All(s *Snapshot, prefix string) iter.Seq[Decoded[T]] {
	return func(yield func(Decoded[T]) bool) {
		for v := range s.p.pairs.Ascend(prefix) {
			if !strings.HasPrefix(v.kv.Key, prefix) || !yield(t.read(v)) {
				return
			}
		}
	}
}
