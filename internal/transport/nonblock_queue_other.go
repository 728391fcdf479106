//go:build unix && !linux

package transport

// drained cannot be asked here: over TLS the writer makes all writes.
func (c *nonblockConn) drained() bool { return false }
