package history

import "time"

// Freshness is how fresh an answer of a cache has to be.
type Freshness uint8

// The kinds of freshness. A Peek is as fresh as Local, and does not say of which revision
// it is.
const (
	Peek Freshness = iota
	Local
	Linearizable
	AtLeast
	Within
	AtRevision
)

func (f Freshness) String() string {
	return [...]string{"peek", "local", "linearizable", "at least", "within", "exact"}[f]
}

// Fresh is a freshness with what it asks for: a revision for AtLeast and AtRevision, a time for
// Within.
type Fresh struct {
	Freshness
	Least int64         `json:",omitempty"`
	Age   time.Duration `json:",omitempty"`
}

// CacheRead is one answer of a cache. Caches are numbered.
type CacheRead struct {
	Cache int
	Fresh
	// Key is the key that was read, or with Prefix the one with which all those begin.
	Key    string
	Prefix bool `json:",omitempty"`

	Began, Ended int64
	Deadline     int64  `json:",omitempty"`
	Error        string `json:",omitempty"`

	// Revision is that of the answer. A Peek's answer is of a revision from Before to
	// Revision, those of local reads right before and after it.
	Before     int64 `json:",omitempty"`
	Revision   int64
	FromServer bool `json:",omitempty"`
	// Pairs has what was found: the events that made the pairs.
	Pairs []Event `json:",omitempty"`
}

// Subscriber is a subscription to a cache.
type Subscriber struct {
	Cache   int
	Prefix  string
	Updates []CacheUpdate
	Error   string `json:",omitempty"`
	// Final is the last revision of its keys, which it had to reach before it ended; 0 if it
	// ended earlier.
	Final int64 `json:",omitempty"`
}

// CacheUpdate is what a subscription delivers at once.
type CacheUpdate struct {
	At, Revision int64
	First        bool `json:",omitempty"`
	// Again: the changes are all pairs that are there.
	Again   bool `json:",omitempty"`
	Changes []CacheChange
}

// CacheChange is one change of a key; without Old it is created, without New deleted.
type CacheChange struct {
	Old, New *Event `json:",omitempty"`
}

// Catch is a cache after the end of a fault: it had to reach the revision Wanted, that of a
// write acknowledged at Began, and was at Revision at Ended.
type Catch struct {
	Cache            int
	After            string
	Began, Ended     int64
	Wanted, Revision int64
}
