// Package history is the record of a run: every call with its outcome, every watch
// with its deliveries, every lease with its end, the faults, and the truth as the
// oracles saw it. It is only data, so that a run can be saved to a file and judged
// again.
//
// All times are nanoseconds on the monotonic clock of the [Recorder].
package history

import "time"

// Run is one scenario with one client.
type Run struct {
	Scenario string
	Number   int
	Client   string // "ours" or "client/v3"
	Seed     uint64
	Began    time.Time
	Took     time.Duration
	// Before is the state carried over from the previous window; nil outside a soak.
	Before *Before `json:",omitempty"`
	// Judged lists the invariants that hold for this scenario, like "I1".
	Judged []string
	// Least is the minimum that must have happened for the run to count.
	Least Amount
	// LeasesMayEnd is false if no fault of the scenario lasts long enough to cost a
	// lease: then none may be lost.
	LeasesMayEnd bool

	Calls   []Call
	Watches []*Watch
	Leases  []Lease
	Scans   []Scan
	Locks   []Lock     `json:",omitempty"`
	Fenced  []Fenced   `json:",omitempty"`
	Leaders []Observed `json:",omitempty"`
	Hands   []Hand     `json:",omitempty"`
	Effects []Effect   `json:",omitempty"`
	Rests   []Rest     `json:",omitempty"`
	Added   []Added    `json:",omitempty"`
	Claimed []Claimed  `json:",omitempty"`
	Owned   []Owned    `json:",omitempty"`
	// Drained is what was left in queues when the producers had stopped and the workers had
	// taken what they could, and Shares who owned what then.
	Drained []Rest   `json:",omitempty"`
	Shares  []Shared `json:",omitempty"`
	// Reads, Subscribers and Catches are those of caches.
	Reads       []CacheRead   `json:",omitempty"`
	Subscribers []*Subscriber `json:",omitempty"`
	Catches     []Catch       `json:",omitempty"`
	// LockTTL is that of the leases that locks, claims and members are on.
	LockTTL time.Duration `json:",omitempty"`
	Faults  []Fault
	Pauses  []Pause
	Refused []Refusal
	Usage   []Usage
	// Samples holds further figures by name: times to resume, delays and so on.
	Samples map[string][]time.Duration

	// Counts holds the clients' own counters by name.
	Counts map[string]int64 `json:",omitempty"`

	// Truth is every event from the first revision on, or after Before, in order.
	Truth []Event
	// Compacted is the revision below which the server may have dropped history;
	// 0 if nothing was compacted.
	Compacted int64
	// OracleFaults lists disagreements among the oracles, and what they missed.
	OracleFaults []string
	// Hashes holds the members' hashes of all keys, at one revision.
	Hashes []Hash
	// Failures lists faults of the harness itself. With any, the run proves nothing.
	Failures []string
}

// The names of counts: tokens that clients obtained; requests shared by several
// calls; the calls that shared them; attempts to hold something that succeeded.
const (
	Authentications = "authentications"
	Batches         = "batches"
	BatchedCalls    = "batched calls"
	Grants          = "locks granted"
)

// Before is the state that a window of a soak takes over from the previous window.
type Before struct {
	// Revision is that window's last revision.
	Revision int64
	// Compacted is the revision compacted to after that window.
	Compacted int64
	// Keys lists the keys that existed at that revision, sorted by key.
	Keys []Event
	// Calls lists writes of unknown outcome without a visible effect so far.
	Calls []Call
	// Leases lists ended leases whose keys may still be deleted.
	Leases []Lease
	// Faults lists that window's faults.
	Faults []Fault
}

// Amount is the minimum that must have happened.
type Amount struct {
	Faults, Calls, Events, Leases int
	Authentications, Batches      int
	// Grants counts successful attempts to hold something, Items what workers were given,
	// Owned the calls of a group's function, Reads the answers of caches.
	Grants, Items, Owned, Reads int
}

// Kind is what a call does.
type Kind uint8

// The kinds of calls.
const (
	Get Kind = iota
	Put
	Delete
	Swap // puts a value if the key has the expected one, otherwise reads
	Many // a Txn that puts a value to several keys, or deletes a prefix
)

func (k Kind) String() string { return [...]string{"get", "put", "delete", "swap", "many"}[k] }

// Fate is the outcome that a client reported for a call.
type Fate uint8

// The outcomes of a call.
const (
	Done       Fate = iota // it returned an answer
	Unknown                // it failed and may have been applied
	NotApplied             // it failed and was certainly not applied
)

func (f Fate) String() string { return [...]string{"done", "unknown", "not applied"}[f] }

// Call is one call of a client. Values that are put are unique in a run.
type Call struct {
	Process  int // the goroutine that made it: its calls don't overlap
	Kind     Kind
	Key      string
	Value    string `json:",omitempty"` // to be put
	Expected string `json:",omitempty"` // of a swap; "" means no such key
	// Stale: a serializable read, which may lag behind.
	Stale bool `json:",omitempty"`

	Began, Ended int64
	// Deadline is that of its context; 0 without one.
	Deadline int64 `json:",omitempty"`
	// Patient calls count towards availability: their deadline is not deliberately short.
	Patient bool `json:",omitempty"`
	Fate    Fate
	Error   string `json:",omitempty"`
	// Refusal is the text that the error of an invalid call must contain; "" if
	// the call is valid.
	Refusal string `json:",omitempty"`

	Revision int64  // of the answer's header
	Found    string `json:",omitempty"` // value read, also by a swap that did not match; "" means no such key
	Modified int64  `json:",omitempty"` // mod revision of the pair read
	Matched  bool   `json:",omitempty"` // of a swap; of a delete: there was a key
}

// Event is one change of one key.
type Event struct {
	Revision int64
	Delete   bool `json:",omitempty"`
	Key      string
	Value    string `json:",omitempty"`
	Created  int64  `json:",omitempty"` // create revision
	Version  int64  `json:",omitempty"`
	Lease    int64  `json:",omitempty"`
	// Prev is the previous value; valid if HasPrev.
	Prev    string `json:",omitempty"`
	HasPrev bool   `json:",omitempty"`
	// At is when an oracle first saw it; only set in the truth.
	At int64 `json:",omitempty"`
}

// Filter is what a watch requests.
type Filter struct {
	Key    string
	Prefix bool `json:",omitempty"`
	// FromKey selects all keys from Key on.
	FromKey         bool `json:",omitempty"`
	NoPut, NoDelete bool `json:",omitempty"`
	PrevKV          bool `json:",omitempty"`
	Progress        bool `json:",omitempty"`
	// Fragment asks the server to cut large responses from the start.
	Fragment bool `json:",omitempty"`
}

// Watch is one watch from its creation to its end.
type Watch struct {
	ID        int
	Filter    Filter
	Requested int64 // revision requested, 0 means from now
	// Before is a revision known to exist before the watch was requested: a watch
	// from now starts after it.
	Before int64
	// Start is the first revision that the client says it will deliver.
	Start int64
	// Known applies to a watch that continues from the previous window: the first
	// revision that it had not reported. Its filter may exclude later revisions too.
	Known     int64 `json:",omitempty"`
	Began     int64
	Confirmed int64 // 0: Watch itself failed
	Responses []Response
	// Ended is when it ended, with an error or because the run closed it.
	Ended int64
	// Compacted is the revision in the compaction error that ended the watch;
	// otherwise 0.
	Compacted int64  `json:",omitempty"`
	Error     string `json:",omitempty"` // why it ended; "" if the run closed it
	// Final is the revision that it had to reach before the run closed it; 0 if
	// the run closed it earlier.
	Final int64 `json:",omitempty"`
}

// Response is one delivery of a watch.
type Response struct {
	At       int64
	Revision int64 // of the header
	// Progress: no events; all events up to Revision were delivered.
	Progress bool    `json:",omitempty"`
	Events   []Event `json:",omitempty"`
}

// Scan is a read of many keys.
type Scan struct {
	Prefix       string
	Began, Ended int64
	Revision     int64
	Pairs        []Event
	Error        string `json:",omitempty"`
}

// Lease is one lease with a key attached to it.
type Lease struct {
	ID      int64
	Key     string
	TTL     time.Duration
	Granted int64
	// Lost is when the client reported its loss; 0 if it did not.
	Lost  int64
	Error string `json:",omitempty"`
	// Revoked is when its user first revoked it; 0 if never.
	Revoked int64 `json:",omitempty"`
	// Ended is when the run stopped watching it.
	Ended int64
}

// Fault is one injected fault, from begin to end.
type Fault struct {
	Name string
	// OneMember: it hits a single member, so that the others can answer reads.
	OneMember bool `json:",omitempty"`
	// Harmless faults keep nobody from being served.
	Harmless bool `json:",omitempty"`
	// Overlaps: a holder cannot know that it has lost its lock, so that two may hold it.
	Overlaps bool `json:",omitempty"`
	// Suspends: it suspends a process of the client, which keeps no deadline meanwhile.
	Suspends bool `json:",omitempty"`
	From, To int64
}

// Pause is a time during which this machine did not run the harness.
type Pause struct {
	From, To int64
}

// Refusal is an attempt to connect that the client must refuse.
type Refusal struct {
	What    string // "foreign cluster", "wrong certificate"
	Refused bool
	Named   bool // the error names the cause
	Error   string
}

// Usage is the resource use of a client before and after, with its bound.
type Usage struct {
	What string // "heap bytes", "goroutines", "descriptors", "server's watchers"
	// Invariant is I9, I10, C8 or C9.
	Invariant     string
	Before, After float64
	// Most is the bound of After.
	Most float64
}

// Hash is one member's hash of all keys up to a revision.
type Hash struct {
	Member   string
	Revision int64
	Compact  int64
	Hash     uint32
}
