package cache

import (
	"cmp"
	"fmt"
	"strings"

	"silly.store/etcd"
)

// Config configures a [Cache].
//
// Key alone is one key. At most one of Prefix, FromKey and RangeEnd widens that to a range.
type Config struct {
	// Key is required unless Prefix or FromKey is set; empty with one of these means all
	// keys.
	Key string
	// Prefix means all keys that begin with Key.
	Prefix bool
	// FromKey means all keys that are not less than Key.
	FromKey bool
	// RangeEnd means the keys from Key up to, but not including, RangeEnd. It must be above
	// Key.
	RangeEnd string
	// KeysOnly leaves the values out. Leases may be missing too, see
	// [etcd.GetRequest.KeysOnly].
	KeysOnly bool
	// MaxBytes bounds the memory of the cache. A pair counts as the size of its key and value
	// plus 200 bytes. A cache whose range grows beyond the bound ends with ErrCacheTooLarge:
	// it frees its memory, and [Cache.Get] asks the server. 0 means 1 GiB; for no bound use
	// math.MaxInt64.
	MaxBytes int64
	// KeepValue says whether the cache keeps the value of a pair; nil: it keeps all. Use it to
	// leave large values out. [Cache.Get] reads such a value from the server. It is called by one
	// goroutine, must not keep the pair, and must always return the same result for one pair. A
	// panic of KeepValue or OnMutation ends the cache with ErrPanicked, whose text names the
	// place.
	KeepValue func(*etcd.KeyValue) bool
	// NoFallback makes [Cache.Get] wait where it would ask the server, and fail if the cache
	// has ended. Use it to protect a cluster from the reads of many caches that start at
	// once.
	NoFallback bool
	// OnMutation is for tests: it is called with the key of a pair when the program has
	// written to its value, which belongs to the cache. The cache then keeps a checksum of
	// each value, and compares it when the pair is read, replaced, and on Close. The
	// goroutine that finds the change calls it, so several may call it concurrently.
	OnMutation func(key string)
	// DistrustProgress is for servers that report a version of etcd but break one of its
	// promises: that a watch's progress response comes after all events up to its revision.
	// Some other implementations of etcd's API do. Reads that depend on the watch's progress
	// then go to the server, unless the range itself changes. The client recognizes members
	// before 3.5.13 by itself.
	DistrustProgress bool
}

func (c *Config) check() error {
	wide := 0
	for _, set := range []bool{c.Prefix, c.FromKey, c.RangeEnd != ""} {
		if set {
			wide++
		}
	}
	switch {
	case wide > 1:
		return invalid("more than one of Prefix, FromKey and RangeEnd is set")
	case c.Key == "" && !c.Prefix && !c.FromKey:
		return invalid("Key is empty; for all keys set Prefix too")
	case c.MaxBytes < 0:
		return invalid(fmt.Sprintf("MaxBytes is negative: %d", c.MaxBytes))
	case c.KeysOnly && c.KeepValue != nil:
		return invalid("KeysOnly and KeepValue are both set")
	case c.RangeEnd != "" && c.RangeEnd <= c.Key:
		return invalid("RangeEnd is not above Key")
	}
	return nil
}

const defaultMaxBytes = 1 << 30

func (c *Config) maxBytes() int64 { return cmp.Or(c.MaxBytes, defaultMaxBytes) }

func invalid(text string) error {
	return fmt.Errorf("cache: Config: %s: %w", text, etcd.ErrInvalidConfig)
}

// has reports whether a key is in the range.
func (c *Config) has(key string) bool {
	switch {
	case c.Prefix:
		return strings.HasPrefix(key, c.Key)
	case c.FromKey:
		return key >= c.Key
	case c.RangeEnd != "":
		return key >= c.Key && key < c.RangeEnd
	}
	return key == c.Key
}
