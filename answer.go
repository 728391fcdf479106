package etcd

import (
	"fmt"
	"sync/atomic"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
	"silly.store/etcd/internal/wire"
)

// cluster is what the headers of answers say about the cluster: which it is, and
// how far its history has come. The zero value knows nothing yet.
type cluster struct {
	id      atomic.Uint64 // of the first answer; 0: none yet
	history atomic.Pointer[history]
}

// history is one run of revisions that only rise. When they fall another one
// begins. Each request remembers the one in which it was sent: an answer that is
// late by a history raises nothing in the new one.
type history struct {
	seen atomic.Int64 // the largest revision of any answer
	// untold: it follows another one, and nobody has been told. A watch that ends for
	// it is, or else the next linearizable read.
	untold atomic.Bool
}

// sent is what was known of the history when a request was sent.
type sent struct {
	history *history
	seen    int64
}

func (c *cluster) now() sent {
	h := c.history.Load()
	if h == nil {
		c.history.CompareAndSwap(nil, new(history))
		h = c.history.Load()
	}
	return sent{h, h.seen.Load()}
}

// raise notes that a revision exists.
func (h *history) raise(revision int64) {
	for {
		seen := h.seen.Load()
		if revision <= seen || h.seen.CompareAndSwap(seen, revision) {
			return
		}
	}
}

// fellBack begins a new history when a linearizable answer to a request sent at
// s has a smaller revision than was known to exist then. It returns the new one
// to whoever has found out first, and nil to all others. untold: the answer is not
// that of a caller who can be told.
func (c *cluster) fellBack(s sent, revision int64, untold bool) *history {
	if revision >= s.seen {
		return nil
	}
	next := new(history)
	next.seen.Store(revision)
	next.untold.Store(untold)
	if !c.history.CompareAndSwap(s.history, next) {
		return nil
	}
	return next
}

// told says that a watch has been told of the history.
func (c *cluster) told() { c.now().history.untold.Store(false) }

// belongs reports whether id is the cluster's; the first one that is asked for is.
func (c *cluster) belongs(id uint64) bool {
	known := c.id.Load()
	if known == 0 && !c.id.CompareAndSwap(0, id) {
		known = c.id.Load()
	}
	return known == 0 || known == id
}

// answered looks at the header of a unary answer to r, sent at s on conn. An
// answer from another cluster is none. A read is told when the history has been
// reset; a write has been applied all the same, so it leaves that to the next.
func (c *Client) answered(r *rpc, conn balance.Picked, s sent, reply []byte) *Error {
	h := peekHeader(reply)
	if err := c.heard(r, conn, s, h); err != nil {
		return err
	}
	if !r.linearizable || h.ClusterID == 0 {
		return nil
	}
	tell := r.class == read && !r.untold
	told := c.checkHistory(s, h.Revision, tell)
	if tell && s.history.untold.Load() && s.history.untold.CompareAndSwap(true, false) {
		told = true
	}
	if !told {
		return nil
	}
	return &Error{
		Op: r.op, Endpoint: conn.Endpoint, Code: CodeOutOfRange, Outcome: Rejected,
		answered: true, sentinel: ErrHistoryReset,
	}
}

// checkHistory looks at the revision of a linearizable answer to what was sent
// at s. When the history has been reset it ends the watches that have seen more.
// It reports whether the caller is to be told, who can be if tell is set: else a
// later read is, unless a watch ends first.
func (c *Client) checkHistory(s sent, revision int64, tell bool) bool {
	if c.cluster.fellBack(s, revision, !tell) == nil {
		return false
	}
	c.watches.historyReset(revision)
	return tell
}

// heard notes the header of any answer to what was sent at s.
func (c *Client) heard(r *rpc, conn balance.Picked, s sent, h ResponseHeader) *Error {
	if h.ClusterID == 0 {
		return nil // not etcd's, or without a header
	}
	if !c.cluster.belongs(h.ClusterID) {
		return c.foreign(r, conn, h.ClusterID)
	}
	s.history.raise(h.Revision)
	c.scout.heard(h.RaftTerm)
	return nil
}

// foreign gives up a connection to a member of another cluster.
func (c *Client) foreign(r *rpc, conn balance.Picked, id uint64) *Error {
	cause := &foreignError{c.cluster.id.Load(), id}
	c.set.Reject(conn, cause)
	e := &Error{
		Op: r.op, Endpoint: conn.Endpoint, Code: CodeFailedPrecondition, write: r.class != read,
		sentinel: ErrForeignCluster, cause: cause,
	}
	if r.class == read { // as good as not sent; a write was applied where it should not be
		e.Outcome, e.transient = NotSent, true
	}
	return e
}

// foreignError is why a member is not used.
type foreignError struct {
	ours, theirs uint64
}

func (e *foreignError) Error() string {
	return fmt.Sprintf("the member belongs to cluster %x, and this client to cluster %x; do all endpoints belong together?", e.theirs, e.ours)
}

// Unwrap says that no waiting mends it.
func (e *foreignError) Unwrap() []error {
	return []error{ErrForeignCluster, transport.ErrMisconfigured}
}

// peekHeader reads the header that each of etcd's responses begins with, without
// reading the rest. It is zero when there is none.
func peekHeader(b []byte) (h ResponseHeader) {
	if len(b) == 0 || b[0] != 1<<3|2 {
		return h
	}
	body, end := wire.Bytes(b, 1)
	if end < 0 {
		return h
	}
	for i := 0; i < len(body); {
		tag := body[i]
		v, next := wire.Varint(body, i+1)
		if tag&7 != 0 || next < 0 {
			return h // what may follow one day need not be known
		}
		switch tag >> 3 {
		case 1:
			h.ClusterID = v
		case 2:
			h.MemberID = v
		case 3:
			h.Revision = int64(v)
		case 4:
			h.RaftTerm = v
		}
		i = next
	}
	return h
}
