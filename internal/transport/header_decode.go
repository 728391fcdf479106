package transport

import (
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

const (
	// maxHeaderBlock bounds one header block on the wire, CONTINUATIONs included.
	maxHeaderBlock = 64 << 10
	// maxHeaderList bounds the decoded block, counted as in RFC 9113 section 6.5.2.
	// We announce it in SETTINGS_MAX_HEADER_LIST_SIZE.
	maxHeaderList = 256 << 10
	// maxContinuations bounds the frames of one block: a peer must not keep the
	// reader busy with empty ones.
	maxContinuations = 64
)

// responseHeader holds the fields that we read from a response's header or trailer
// block.
type responseHeader struct {
	httpStatus  int // 0: absent
	grpcStatus  int // -1: absent
	message     string
	contentType string
}

// headerDecoder decodes the header blocks of one connection, in order. Only the
// reader uses it.
type headerDecoder struct {
	dec  *hpack.Decoder
	cur  responseHeader
	size uint32
	err  error

	// known are blocks that were decoded before, and the table has not changed since: a
	// server sends the same two with each answer. next is the one to be replaced.
	known [2]knownBlock
	next  int
}

// knownBlock is a block with what it says. Its bytes are those of an indexedBlock; 0: none.
type knownBlock struct {
	bytes  uint64
	header responseHeader
}

// indexedBlock returns the bytes of a block that consists only of a few indices into
// HPACK's table, and so leaves the table as it is; 0 for any other block.
func indexedBlock(block []byte) (bytes uint64) {
	if len(block) > 8 {
		return 0
	}
	for _, b := range block {
		if b <= 0x80 || b == 0xff { // no index, index 0, or the beginning of a longer one
			return 0
		}
		bytes = bytes<<8 | uint64(b)
	}
	return bytes
}

func newHeaderDecoder() *headerDecoder {
	d := &headerDecoder{}
	d.dec = hpack.NewDecoder(4096, d.field)
	d.dec.SetMaxStringLength(maxHeaderBlock)
	return d
}

// decode decodes a complete block. Every block must pass through here, even those
// of forgotten streams, because HPACK's table depends on it.
func (d *headerDecoder) decode(block []byte) (responseHeader, error) {
	bytes := indexedBlock(block)
	if bytes == 0 {
		d.known = [2]knownBlock{}
	}
	for i := range d.known {
		if bytes != 0 && d.known[i].bytes == bytes {
			return d.known[i].header, nil
		}
	}
	d.cur = responseHeader{grpcStatus: -1}
	d.size, d.err = 0, nil
	if _, err := d.dec.Write(block); err != nil {
		return d.cur, protocolError(codeCompressionError, "%v", err)
	}
	if err := d.dec.Close(); err != nil {
		return d.cur, protocolError(codeCompressionError, "%v", err)
	}
	if bytes != 0 && d.err == nil {
		d.known[d.next] = knownBlock{bytes, d.cur}
		d.next = 1 - d.next
	}
	return d.cur, d.err
}

func (d *headerDecoder) field(f hpack.HeaderField) {
	d.size += f.Size()
	if d.size > maxHeaderList {
		d.err = protocolError(codeEnhanceYourCalm, "response headers of more than %d bytes", maxHeaderList)
		return
	}
	switch f.Name {
	case ":status":
		n, err := strconv.Atoi(f.Value)
		if err != nil || n < 100 || n > 999 {
			d.err = protocolError(codeProtocolError, ":status %q", f.Value)
			return
		}
		d.cur.httpStatus = n
	case "grpc-status":
		n, err := strconv.ParseUint(f.Value, 10, 31)
		if err != nil {
			n = uint64(Unknown)
		}
		d.cur.grpcStatus = int(n)
	case "grpc-message":
		d.cur.message = percentDecode(f.Value)
	case "content-type":
		d.cur.contentType = f.Value
	}
}

// status returns the status as an error, or nil if it is OK.
func (h *responseHeader) status() *Error {
	switch {
	case h.grpcStatus == int(OK):
		return nil
	case h.grpcStatus > 0:
		return &Error{Code: Code(h.grpcStatus), Message: h.message, Outcome: Answered}
	}
	return &Error{Code: Internal, Message: "response ended without a grpc-status; a proxy between client and etcd may drop trailers"}
}

// percentDecode undoes gRPC's encoding of grpc-message. Broken sequences stay
// as they are: a text is better than none.
func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
