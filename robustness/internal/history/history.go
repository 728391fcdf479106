// Package history is what a run leaves behind: every call with its outcome,
// every watch with what it delivered, every lease with its end, the faults, and
// the truth as the oracles have seen it. It is data only, so that it can be kept
// in a file and judged again.
//
// All times are nanoseconds on one monotonic clock, that of the [Recorder].
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
	// Before is what a window of a longer run has taken over, nil if this is no window.
	Before *Before `json:",omitempty"`
	// Judged are the invariants that hold for this scenario, like "I1".
	Judged []string
	// Least is how much must have happened for the run to count.
	Least Amount
	// LeasesMayEnd is false when no fault of the scenario lasts long enough to cost a
	// lease, so that none may be lost.
	LeasesMayEnd bool

	Calls   []Call
	Watches []*Watch
	Leases  []Lease
	Scans   []Scan
	Faults  []Fault
	Pauses  []Pause
	Refused []Refusal
	Usage   []Usage
	// Samples are further figures by name: times to resume, delays and so on.
	Samples map[string][]time.Duration

	// Counts are what the clients have counted themselves, by name.
	Counts map[string]int64 `json:",omitempty"`

	// Truth is every event from the first revision on, or behind Before, in order.
	Truth []Event
	// Compacted is the revision below which the server may have forgotten, 0
	// if nothing was compacted.
	Compacted int64
	// OracleFaults are disagreements among the oracles, and what they missed.
	OracleFaults []string
	// Hashes are the members' hashes of all keys, at one revision.
	Hashes []Hash
	// Failures are of the harness itself: then the run proves nothing.
	Failures []string
}

// The names of counts: how often clients have obtained a token; requests that
// several calls have shared, and those calls.
const (
	Authentications = "authentications"
	Batches         = "batches"
	BatchedCalls    = "batched calls"
)

// Before is what a window of a longer run takes over from the window before it.
type Before struct {
	// Revision is the last one of that window.
	Revision int64
	// Compacted is the revision up to which all was compacted behind that window.
	Compacted int64
	// Keys are the keys that there were at that revision, in the order of their own.
	Keys []Event
	// Calls are writes of unknown fate that had shown no effect: they may still have.
	Calls []Call
	// Leases are those that were over and whose keys may still go.
	Leases []Lease
	// Faults are those of that window.
	Faults []Fault
}

// Amount is how much must have happened.
type Amount struct {
	Faults, Calls, Events, Leases int
	Authentications, Batches      int
}

// Kind is what a call does.
type Kind uint8

// The kinds of calls.
const (
	Get Kind = iota
	Put
	Delete
	Swap // puts a value if the key has the expected one, and else reads
	Many // a Txn that puts a value to several keys, or deletes a prefix
)

func (k Kind) String() string { return [...]string{"get", "put", "delete", "swap", "many"}[k] }

// Fate is what a client has said of a call.
type Fate uint8

// The fates of a call.
const (
	Done       Fate = iota // it returned an answer
	Unknown                // it failed and may have been applied
	NotApplied             // it failed and was certainly not applied
)

func (f Fate) String() string { return [...]string{"done", "unknown", "not applied"}[f] }

// Call is one call of a client. The values that are put are unique in a run.
type Call struct {
	Process  int // the goroutine that made it: its calls don't overlap
	Kind     Kind
	Key      string
	Value    string `json:",omitempty"` // to be put
	Expected string `json:",omitempty"` // of a swap; "" means no such key
	// Stale: a serializable read, which may lag behind.
	Stale bool `json:",omitempty"`

	Began, Ended int64
	// Deadline is its context's, 0 if there was none.
	Deadline int64 `json:",omitempty"`
	// Patient: it counts for the availability: its deadline was not short on purpose.
	Patient bool `json:",omitempty"`
	Fate    Fate
	Error   string `json:",omitempty"`
	// Refusal is what the error of a call must say that can only be refused, "" if
	// the servers have no reason to refuse it.
	Refusal string `json:",omitempty"`

	Revision int64  // of the answer's header
	Found    string `json:",omitempty"` // value read, also by a swap that did not match; "" means no such key
	Modified int64  `json:",omitempty"` // mod revision of what was read
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
	// Prev is the value before, if it was asked for and HasPrev.
	Prev    string `json:",omitempty"`
	HasPrev bool   `json:",omitempty"`
	// At is when it was first seen; of the truth only.
	At int64 `json:",omitempty"`
}

// Filter is what a watch asks for.
type Filter struct {
	Key    string
	Prefix bool `json:",omitempty"`
	// FromKey is all keys from Key on.
	FromKey         bool `json:",omitempty"`
	NoPut, NoDelete bool `json:",omitempty"`
	PrevKV          bool `json:",omitempty"`
	Progress        bool `json:",omitempty"`
}

// Watch is one watch from its creation to its end.
type Watch struct {
	ID        int
	Filter    Filter
	Requested int64 // revision asked for, 0 means from now
	// Before is a revision that was known to exist before the watch was asked
	// for: one from now starts behind it.
	Before int64
	// Start is the first revision that is delivered, as the client says.
	Start int64
	// Known is, of a watch that goes on from the window before, the first revision of
	// which it had been told nothing: what was not for it may be more.
	Known     int64 `json:",omitempty"`
	Began     int64
	Confirmed int64 // 0: Watch itself failed
	Responses []Response
	// Ended is when it ended, by an error or because the run closed it.
	Ended int64
	// Compacted is the revision that the watch ended with when it found its
	// revision compacted, or 0.
	Compacted int64  `json:",omitempty"`
	Error     string `json:",omitempty"` // what it ended with, "" if the run closed it
	// Final is the revision up to which it had to deliver before the run closed
	// it; 0 when it was closed earlier.
	Final int64 `json:",omitempty"`
}

// Response is one delivery of a watch.
type Response struct {
	At       int64
	Revision int64 // of the header
	// Progress: there are no events, and all up to Revision were delivered.
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
	// Lost is when the client reported its loss, 0: it did not.
	Lost  int64
	Error string `json:",omitempty"`
	// Revoked is when its user first asked for its end, 0: never.
	Revoked int64 `json:",omitempty"`
	// Ended is until when the run looked.
	Ended int64
}

// Fault is one fault from its injection to its end.
type Fault struct {
	Name string
	// OneMember: it hits a single member, so that reads have others to go to.
	OneMember bool `json:",omitempty"`
	From, To  int64
}

// Pause is a time at which this machine kept the harness itself from running.
type Pause struct {
	From, To int64
}

// Refusal is an attempt to use what must be refused.
type Refusal struct {
	What    string // "foreign cluster", "wrong certificate"
	Refused bool
	Named   bool // the error says what is wrong
	Error   string
}

// Usage is what a client holds at some time, with the bound that it must keep.
type Usage struct {
	What string // "heap bytes", "goroutines", "descriptors", "server's watchers"
	// Invariant is I9 or I10.
	Invariant     string
	Before, After float64
	// Most is what After may be.
	Most float64
}

// Hash is one member's hash of all keys up to a revision.
type Hash struct {
	Member   string
	Revision int64
	Compact  int64
	Hash     uint32
}
