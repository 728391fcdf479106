package history

// The prefixes of queues and groups, and of the keys that are put when an item is
// acknowledged: Effects, the queue's name, "/" and the item's ID.
const (
	Queues  = "queue/"
	Groups  = "group/"
	Effects = "effect/"
)

// Added is one item that a producer has added. IDs are unique in a run.
type Added struct {
	Queue, Client, ID string
	Began, Ended      int64
	Fate              Fate
	Error             string `json:",omitempty"`
}

// Claimed is one item that a worker was given, and what it made of it.
type Claimed struct {
	Queue, Client, ID string
	Process           int
	// Key and Token are the claim's key and its create revision; zero if the client has no
	// claims.
	Key   string `json:",omitempty"`
	Token int64  `json:",omitempty"`
	Taken int64
	// Gone is when the worker learned that the claim is over; 0 if it did not.
	Gone int64
	// Back: the worker gave the item back. Else it acknowledged it, and put Effect.
	Back   bool   `json:",omitempty"`
	Effect string `json:",omitempty"`
	// Settled is when that call began, Ended when it returned.
	Settled, Ended int64
	Fate           Fate
	Error          string `json:",omitempty"`
}

// Owned is one call of a group's function.
type Owned struct {
	Group, Member string
	Partition     int
	Token         int64
	// Key is the name of the partition's mutex.
	Key string
	// From is when the function was called, Gone when its context ended, To when it
	// returned.
	From, Gone, To int64
}

// Shared is who owned which partitions when nothing had changed for a while: a count for
// each member.
type Shared struct {
	Group      string
	At         int64
	Partitions int
	Members    map[string]int
}
