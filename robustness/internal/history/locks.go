package history

// Recipe is what a contender asks for.
type Recipe uint8

// The recipes.
const (
	Mutex      Recipe = iota
	WriteLock         // of a reader-writer lock
	ReadLock          // likewise
	Semaphore         // Weight of Limit
	Leadership        // of an election
	LeaderRun         // leadership for as long as a function runs
	Round             // of a double barrier with Limit participants
)

func (r Recipe) String() string {
	return [...]string{"mutex", "write lock", "read lock", "semaphore", "leadership", "run", "round"}[r]
}

// Want is what a contender asks for.
type Want struct {
	Recipe Recipe
	// Name begins with [Locks].
	Name          string
	Weight, Limit int `json:",omitempty"`
	// Try gives up at once instead of waiting.
	Try bool `json:",omitempty"`
	// Linger keeps a mutex's key for the next attempt of the same client, if it can do that.
	// Then there is no token.
	Linger bool `json:",omitempty"`
}

// The prefixes of the names of locks, of the keys that their holders write, and of the
// keys of our sessions.
const (
	Locks    = "lock/"
	Fences   = "fence/"
	Sessions = "coordination/session/"
)

// Lock is one attempt to hold something and, if it succeeds, the holding.
type Lock struct {
	Want
	Client  string
	Process int

	// Asked is when the attempt began, Deadline that of its context. Granted is when it
	// succeeded; if that is 0, Refused is when it failed, with Error.
	Asked, Deadline  int64
	Granted, Refused int64
	Error            string `json:",omitempty"`

	// Key and Token are the holder's key and its create revision; zero if the client
	// does not tell.
	Key   string `json:",omitempty"`
	Token int64  `json:",omitempty"`
	// Gone is when the holder learned that the holding is over, by the end of its
	// context; 0 if it was not. Lost: and that it was lost.
	Gone int64
	Lost bool `json:",omitempty"`
	// Released is when the holder began to release it, Freed when that call returned,
	// with ReleaseError, Until the deadline of its context.
	Released, Freed, Until int64
	ReleaseError           string `json:",omitempty"`
}

// Fenced is a write that a holder has made on the condition that it still holds.
type Fenced struct {
	Name, Client string
	Token        int64
	Value        string
	Began, Ended int64
	// Fate is Done if it was reported as applied, NotApplied if the lock was reported
	// lost or the request not applied.
	Fate     Fate
	Revision int64
	Error    string `json:",omitempty"`
}

// Hand is a deletion or a revocation by a client that is no contender.
type Hand struct {
	At  int64
	Key string // the key that goes
}

// Leader is the leader that an observer was given.
type Leader struct {
	At      int64
	Present bool
	Key     string `json:",omitempty"`
	Value   string `json:",omitempty"`
	Term    int64  `json:",omitempty"`
	// Revision is where this was so. Of a client that tells no exact one, it was so
	// somewhere from Since on.
	Since, Revision int64
}

// Observed is what one observer of an election received, in order.
type Observed struct {
	Name, Client string
	States       []Leader
	// Final: the observer was still there at the end, when nothing had changed for a
	// while.
	Final bool
	Error string `json:",omitempty"`
}

// Rest is what was left in etcd after every contender had stopped.
type Rest struct {
	// After is what had happened: releases, or that the clients' sessions were closed.
	After string
	// Began is when the last of that had returned. Bound is how long the keys may have
	// taken to go.
	Began, Bound int64
	Keys         []string
}

// Same reports whether two states say the same of the leader.
func (l *Leader) Same(other *Leader) bool {
	return l.Present == other.Present && l.Key == other.Key && l.Value == other.Value && l.Term == other.Term
}
