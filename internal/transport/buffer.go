package transport

import "sync/atomic"

// Buffer is memory for the answer to a Call, of a caller that does not keep the answer and
// wants its memory for the next one. At most one answer takes it, so that attempts at several
// members may have the same Buffer, and an attempt that nobody waits for anymore.
type Buffer struct {
	bytes []byte
	taken atomic.Bool
}

// NewBuffer makes a Buffer of the capacity of b, which belongs to it then.
func NewBuffer(b []byte) *Buffer { return &Buffer{bytes: b[:0]} }

// take returns the memory, empty, for an answer of n bytes. It returns nil if that needs
// other memory, and for a nil Buffer.
func (b *Buffer) take(n int) []byte {
	if b == nil || cap(b.bytes) < n || !b.taken.CompareAndSwap(false, true) {
		return nil
	}
	return b.bytes
}
