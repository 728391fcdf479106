package call

import (
	"fmt"
	"sync/atomic"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// cluster records what the headers of answers say about the cluster: its ID and its
// latest revision. The zero value knows nothing yet.
type cluster struct {
	id      atomic.Uint64 // of the first answer; 0: none yet
	current atomic.Pointer[history]
	former  atomic.Int64 // the largest revision of the histories before the current one
}

// history is a run of rising revisions. A new one begins when they fall. Each
// request remembers the history in which it was sent, so an answer that belongs to
// an old history raises nothing in the new one.
type history struct {
	seen atomic.Int64 // the largest revision of any answer
	// unreported: a reset began this history, and no caller has learned of it. A
	// watch that ends because of it reports it, or else the next linearizable read.
	unreported atomic.Bool
}

// historyMark is what was known about the history when a request was sent.
type historyMark struct {
	history *history
	seen    int64
}

func (c *cluster) mark() historyMark {
	h := c.current.Load()
	if h == nil {
		c.current.CompareAndSwap(nil, new(history))
		h = c.current.Load()
	}
	return historyMark{h, h.seen.Load()}
}

// raise records that a revision exists.
func (h *history) raise(revision int64) { raise(&h.seen, revision) }

// raise stores a revision that is larger than the largest so far.
func raise(largest *atomic.Int64, revision int64) {
	for {
		seen := largest.Load()
		if revision <= seen || largest.CompareAndSwap(seen, revision) {
			return
		}
	}
}

// fellBack begins a new history if a linearizable answer to a request sent at m has
// a smaller revision than was known at m. It returns true only to the first caller
// that finds this out. unreported: that caller cannot report it.
func (c *cluster) fellBack(m historyMark, revision int64, unreported bool) bool {
	if revision >= m.seen {
		return false
	}
	next := new(history)
	next.seen.Store(revision)
	next.unreported.Store(unreported)
	raise(&c.former, m.history.seen.Load()) // first: a reader that finds the new history finds it too
	return c.current.CompareAndSwap(m.history, next)
}

// belongs reports whether id is the cluster's. The first id that it sees becomes
// the cluster's.
func (c *cluster) belongs(id uint64) bool {
	known := c.id.Load()
	if known == 0 && !c.id.CompareAndSwap(0, id) {
		known = c.id.Load()
	}
	return known == 0 || known == id
}

// seenBefore is [Engine.SeenBefore].
func (c *cluster) seenBefore(first int64) int64 {
	seen := c.mark().seen
	if before := first - 1; before <= c.former.Load() {
		seen = max(seen, before)
	}
	return seen
}

// SeenBefore returns the largest revision that the store must have if a watch from the
// revision first is to miss nothing: the largest of any answer. After a reset it is
// first-1 if the former history had reached that, because the caller may have read it
// there, and the reset was reported to another one.
func (e *Engine) SeenBefore(first int64) int64 { return e.history.seenBefore(first) }

// HistoryReported records that a watch has ended because of the reset that began
// the current history.
func (e *Engine) HistoryReported() { e.history.mark().history.unreported.Store(false) }

// answered checks the header of a unary answer to a request of m, sent at mark on
// conn. It rejects an answer from another cluster. A read fails if the history was
// reset. A write has been applied, so it leaves the report to the next read.
func (e *Engine) answered(m *rpc.Method, conn balance.Picked, mark historyMark, reply []byte) *Error {
	h := PeekHeader(reply)
	if err := e.heard(m, conn, mark, h); err != nil {
		return err
	}
	if !m.Linearizable || h.ClusterID == 0 {
		return nil
	}
	reports := m.Class == rpc.Read && !m.IgnoresReset
	reset := e.checkHistory(mark, h.Revision, reports)
	if reports && mark.history.unreported.Load() && mark.history.unreported.CompareAndSwap(true, false) {
		reset = true
	}
	if !reset {
		return nil
	}
	return &Error{
		Op: m.Op, Endpoint: conn.Endpoint, Code: transport.OutOfRange, Outcome: OutcomeRejected,
		Answered: true, Sentinel: ErrHistoryReset,
	}
}

// checkHistory checks the revision of a linearizable answer to a request sent at
// mark, and calls OnHistoryReset if the history was reset. It returns true if the
// caller must fail, which happens only if reports is set. Otherwise a later read
// fails, unless a watch ends first.
func (e *Engine) checkHistory(mark historyMark, revision int64, reports bool) bool {
	if !e.history.fellBack(mark, revision, !reports) {
		return false
	}
	if e.config.OnHistoryReset != nil {
		e.config.OnHistoryReset(revision)
	}
	return reports
}

// heard records the header of any answer to a request sent at mark.
func (e *Engine) heard(m *rpc.Method, conn balance.Picked, mark historyMark, h Header) *Error {
	if h.ClusterID == 0 {
		return nil // not from etcd, or without a header
	}
	if !e.history.belongs(h.ClusterID) {
		return e.foreign(m, conn, h.ClusterID)
	}
	mark.history.raise(h.Revision)
	e.leader.heard(h.RaftTerm)
	return nil
}

// foreign gives up a connection to a member of another cluster.
func (e *Engine) foreign(m *rpc.Method, conn balance.Picked, id uint64) *Error {
	cause := &foreignError{e.history.id.Load(), id}
	e.Set.Reject(conn, cause)
	failed := &Error{
		Op: m.Op, Endpoint: conn.Endpoint, Code: transport.FailedPrecondition, Write: m.Writes(),
		Sentinel: ErrForeignCluster, Cause: cause,
	}
	if !m.Writes() { // as good as not sent; a write was applied to the wrong cluster
		failed.Outcome, failed.Transient = OutcomeNotSent, true
	}
	return failed
}

// foreignError is the reason why a member of another cluster is not used.
type foreignError struct {
	ours, theirs uint64
}

func (e *foreignError) Error() string {
	return fmt.Sprintf("the member belongs to cluster %x, but this client to cluster %x; are all endpoints of the same cluster?", e.theirs, e.ours)
}

// Unwrap marks the error as one that waiting cannot fix.
func (e *foreignError) Unwrap() []error {
	return []error{ErrForeignCluster, transport.ErrMisconfigured}
}
