package etcd

import (
	"errors"
	"time"
)

const (
	// maxParts is etcd's --max-txn-ops unless configured otherwise.
	maxParts = 128
	// maxBatchBytes bounds the requests of a batch. etcd's --max-request-bytes is
	// 1.5 MiB unless configured otherwise.
	maxBatchBytes = 256 << 10
	// maxAnswerBytes is about how much a batch's answer may weigh: the first of its
	// calls waits for the last one's.
	maxAnswerBytes = 256 << 10
	// largePart is from where on a request or an answer shares with no other.
	largePart = 32 << 10
)

// batchLimits are how large a batch may be.
type batchLimits struct {
	parts, bytes int
}

// limits are what the servers take and what is of use. Guarded by line.mu.
type limits struct {
	batchLimits     // what they take, as far as is known
	weight      int // the average size of answers, of late
}

func (m *limits) init() { m.parts, m.bytes = maxParts, maxBatchBytes }

// batch is how large the next batch may be.
func (m *limits) batch() batchLimits {
	light := maxAnswerBytes / max(m.weight, 1)
	return batchLimits{max(1, min(m.parts, light)), m.bytes}
}

// heavy: the answers are so large that sharing is of no use.
func (m *limits) heavy() bool { return m.weight > largePart }

// tooLarge: the request is so large that it goes alone.
func (m *limits) tooLarge(msg []byte) bool { return len(msg) > largePart }

// weigh notes the size of an answer; it reports whether the next one from there is
// better asked for alone.
func (m *limits) weigh(size int) (large bool) {
	m.weight += (size - m.weight) / 16
	return size > largePart
}

// refused notes that a batch, or its answer, was too large. It reports whether
// batches will be smaller now, so that the next one may fare better.
func (m *limits) refused(b *batch, err *Error) (smaller bool) {
	before := m.batchLimits
	switch {
	case errors.Is(err, ErrTooManyOps), errors.Is(err, ErrResponseTooLarge):
		m.parts = max(1, min(m.parts, len(b.parts)/2))
	case errors.Is(err, ErrRequestTooLarge):
		m.bytes = max(1, min(m.bytes, b.size/2))
	}
	return m.batchLimits != before
}

// refusals says when batches are tried again after servers have refused some: at
// first soon, then later each time, until one is accepted. Guarded by line.mu.
type refusals struct {
	row   int
	until time.Time // zero: now
	never bool      // the servers take no transactions at all
}

const (
	firstRefusalPause = 20 * time.Millisecond
	maxRefusalPause   = 10 * time.Second
)

func (r *refusals) note(err *Error) {
	r.never = err.Code == CodeUnimplemented
	r.until = time.Now().Add(min(firstRefusalPause<<min(r.row, 20), maxRefusalPause))
	r.row++
}

func (r *refusals) accepted(parts int) {
	if parts > 1 {
		r.row = 0
	}
}

// pausing: calls go alone for now.
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

// apart holds the keys whose calls share with no others for a while: the server
// has refused one, or its answer was large. It is a small table in which a key may
// take the place of another one, which then shares again. Guarded by line.mu.
type apart struct {
	keys *[64]apartKey // nil until there is one
}

type apartKey struct {
	key   uint64
	until time.Time
}

// apartFor is how long a key stays out of batches.
const apartFor = 10 * time.Second

func (a *apart) add(key uint64) {
	if a.keys == nil {
		a.keys = new([64]apartKey)
	}
	a.keys[key%uint64(len(a.keys))] = apartKey{key, time.Now().Add(apartFor)}
}

func (a *apart) has(key uint64) bool {
	if a.keys == nil {
		return false
	}
	k := &a.keys[key%uint64(len(a.keys))]
	return k.key == key && time.Now().Before(k.until)
}
