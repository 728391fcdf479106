package etcdtest

import (
	"bytes"
	"encoding/binary"
)

// frames follows the HTTP/2 frames that a client sends. The zero value is ready for
// the start of a connection.
type frames struct {
	prefaced int    // bytes of the preface seen so far
	other    bool   // it is not HTTP/2
	header   []byte // of the next frame, as far as seen
	left     int    // bytes of this frame's payload still to come
	drop     bool   // this frame is discarded
}

const (
	http2Preface    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeaderSize = 9

	frameData         = 0x0
	frameHeaders      = 0x1
	frameContinuation = 0x9
)

// filter returns the part of the next bytes to forward: all of them, or with
// discard those that neither open a stream nor belong to a message on one. lost
// reports whether it discarded any.
func (f *frames) filter(b []byte, discard bool) (kept []byte, lost bool) {
	all := b
	if n := min(len(http2Preface)-f.prefaced, len(b)); n > 0 {
		f.other = f.other || !bytes.HasPrefix([]byte(http2Preface[f.prefaced:]), b[:n])
		f.prefaced += n
		kept, b = append(kept, b[:n]...), b[n:]
	}
	if f.other {
		return all, false
	}
	for len(b) > 0 {
		if f.left == 0 {
			b = f.begin(b, discard, &kept)
			lost = lost || f.drop
			continue
		}
		n := min(f.left, len(b))
		if !f.drop {
			kept = append(kept, b[:n]...)
		}
		f.left, b = f.left-n, b[n:]
	}
	return kept, lost
}

// begin takes bytes of a frame's header from b and returns the rest. It appends a
// complete header to kept, unless the frame must be dropped.
func (f *frames) begin(b []byte, discard bool, kept *[]byte) []byte {
	n := min(frameHeaderSize-len(f.header), len(b))
	f.header, b = append(f.header, b[:n]...), b[n:]
	f.drop = false
	if len(f.header) < frameHeaderSize {
		return b
	}
	f.left = int(binary.BigEndian.Uint32(f.header) >> 8)
	kind := f.header[3]
	f.drop = discard && (kind == frameHeaders || kind == frameContinuation || kind == frameData)
	if !f.drop {
		*kept = append(*kept, f.header...)
	}
	f.header = f.header[:0]
	return b
}
