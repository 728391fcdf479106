package coalesce

import (
	"sync"
	"sync/atomic"

	"silly.store/etcd/internal/transport"
)

// memory is that of the answer to a batch. Each call copies its part of the answer, so that
// none keeps the memory of all, and the last to do so leaves it for the answer of another
// batch.
type memory struct {
	pool *sync.Pool
	// bytes is nil while it is lent, and when one of the calls keeps the answer.
	bytes []byte
	// unread is how many calls have not copied their parts yet. A call that has left before
	// the answer came does not.
	unread atomic.Int32
}

// maxMemory keeps a few large answers from making the memory of all batches large.
const maxMemory = 256 << 10

func (c *Coalescer) memory() *memory {
	m, _ := c.memories.Get().(*memory)
	if m == nil {
		m = &memory{pool: &c.memories}
	}
	return m
}

// lend gives the memory away for the answer to a request. It returns nil if there is none.
func (m *memory) lend() *transport.Buffer {
	if m.bytes == nil {
		return nil
	}
	b := transport.NewBuffer(m.bytes)
	m.bytes = nil
	return b
}

// copied notes that a call has copied its part.
func (m *memory) copied() {
	if m.unread.Add(-1) == 0 && cap(m.bytes) <= maxMemory {
		m.pool.Put(m)
	}
}
