package cache

import (
	"errors"
	"fmt"

	"silly.store/etcd"
)

var (
	// ErrOutOfScope: the key is not in the range that the cache holds.
	ErrOutOfScope = errors.New("key is not in the range of the cache")
	// ErrCacheTooLarge: the range is larger than Config.MaxBytes. The cache has ended.
	ErrCacheTooLarge = errors.New("range is larger than the cache may be")
	// ErrPanicked: Config.KeepValue or Config.OnMutation has panicked. The cache has
	// ended.
	ErrPanicked = errors.New("a function of the cache's Config has panicked")
	// ErrDecode: a Typed could not decode a value. See [DecodeError].
	ErrDecode = errors.New("value cannot be decoded")
	// ErrClosed: the cache was closed.
	ErrClosed = errors.New("cache is closed")
)

var errNilContext = fmt.Errorf("cache: the context is nil: %w", etcd.ErrInvalidRequest)
