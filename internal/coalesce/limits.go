package coalesce

import (
	"errors"
	"time"

	"silly.store/etcd/internal/backoff"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/transport"
)

const (
	// maxParts is etcd's --max-txn-ops unless configured otherwise.
	maxParts = 128
	// maxBatchBytes bounds the requests of a batch. etcd's --max-request-bytes is
	// 1.5 MiB unless configured otherwise.
	maxBatchBytes = 256 << 10
	// maxAnswerBytes is the approximate size limit of a batch's answer, because the
	// first of its calls waits for the answer of the last.
	maxAnswerBytes = 256 << 10
	// largePart is the size above which a request or an answer is not shared.
	largePart = 32 << 10
)

// Limits are how large a batch may be.
type Limits struct {
	Parts, Bytes int
}

// limits holds what the servers accept and what is worth sharing. Guarded by
// queue.mu.
type limits struct {
	Limits     // what the servers are known to accept
	weight int // the recent average size of answers
}

func (m *limits) init() { m.Parts, m.Bytes = maxParts, maxBatchBytes }

// batch returns how large the next batch may be.
func (m *limits) batch() Limits {
	light := maxAnswerBytes / max(m.weight, 1)
	return Limits{max(1, min(m.Parts, light)), m.Bytes}
}

// heavy reports whether answers are too large to be worth sharing.
func (m *limits) heavy() bool { return m.weight > largePart }

// tooLarge reports whether the request is so large that it goes alone.
func (m *limits) tooLarge(msg []byte) bool { return len(msg) > largePart }

// weigh records the size of an answer. It reports whether the next call for that
// key should go alone.
func (m *limits) weigh(size int) (large bool) {
	m.weight += (size - m.weight) / 16
	return size > largePart
}

// refused records that a batch or its answer was too large. It reports whether
// batches will now be smaller, so that the next one may be accepted.
func (m *limits) refused(b *batch, err *call.Error) (smaller bool) {
	before := m.Limits
	switch {
	case errors.Is(err, call.ErrTooManyOps), errors.Is(err, call.ErrResponseTooLarge):
		m.Parts = max(1, min(m.Parts, len(b.parts)/2))
	case errors.Is(err, call.ErrRequestTooLarge):
		m.Bytes = max(1, min(m.Bytes, b.size/2))
	}
	return m.Limits != before
}

// refusals decides when to try batches again after servers refused some: soon at
// first, then later each time, until one is accepted. Guarded by queue.mu.
type refusals struct {
	row   int
	until time.Time // zero: now
	never bool      // the servers accept no transactions at all
}

var refusalBackoff = backoff.Backoff{First: 20 * time.Millisecond, Cap: 10 * time.Second}

func (r *refusals) note(err *call.Error) {
	r.never = err.Code == transport.Unimplemented
	r.until = time.Now().Add(refusalBackoff.Span(r.row))
	r.row++
}

func (r *refusals) accepted(parts int) {
	if parts > 1 {
		r.row = 0
	}
}

// lacksRevision reports whether a server has refused the revision of a read.
func lacksRevision(err *call.Error) bool {
	return errors.Is(err, call.ErrCompacted) || errors.Is(err, call.ErrFutureRevision)
}

// pausing reports whether calls go alone for now.
func (r *refusals) pausing() bool {
	if r.until.IsZero() {
		return false
	}
	if r.never || time.Now().Before(r.until) {
		return true
	}
	r.until = time.Time{}
	return false
}

// excluded holds the keys whose calls share no request for a while, because the
// server refused one or an answer was large. It is a small table in which a key may
// displace another one, which then shares again. Guarded by queue.mu.
type excluded struct {
	keys *[64]excludedKey // nil until there is a key
}

type excludedKey struct {
	key   uint64
	until time.Time
}

// excludedFor is how long a key stays out of batches.
const excludedFor = 10 * time.Second

func (a *excluded) add(key uint64) {
	if a.keys == nil {
		a.keys = new([64]excludedKey)
	}
	a.keys[key%uint64(len(a.keys))] = excludedKey{key, time.Now().Add(excludedFor)}
}

func (a *excluded) has(key uint64) bool {
	if a.keys == nil {
		return false
	}
	k := &a.keys[key%uint64(len(a.keys))]
	return k.key == key && time.Now().Before(k.until)
}
