package history

// Exact is the prefix of the keys of a load of exact writes, Writers that of a client's own
// keys for them.
const (
	Exact   = "exact/"
	Writers = "coordination/writer/"
)

// Effect is one write, transaction or number of which a client says that it was made once.
type Effect struct {
	Client  string
	Process int
	// Began and Ended are those of the call. Deadline is that of its context.
	Began, Ended int64
	// Fate is what the client has said in the end. Resolved: it was unknown at first.
	Fate     Fate
	Resolved bool   `json:",omitempty"`
	Error    string `json:",omitempty"`
	Revision int64

	// ID is the value that a write puts under Key, or that a transaction appends to lists.
	ID  string `json:",omitempty"`
	Key string `json:",omitempty"`
	// Reads are the lists that a transaction has read, Appended the keys of those to which
	// it has appended ID.
	Reads    []List   `json:",omitempty"`
	Appended []string `json:",omitempty"`

	// Number is what the sequence of the name in Sequence has given.
	Sequence string `json:",omitempty"`
	Number   int64  `json:",omitempty"`
}

// List is the value of a key that transactions append to.
type List struct {
	Key string
	IDs []string `json:",omitempty"`
}
