package transport

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Header is a header of one request.
type Header struct {
	Name, Value string
}

// reserved are the names that requests have anyway, or that HTTP/2 forbids.
var reserved = []string{
	"client-api-version", "connection", "content-length", "content-type", "hasleader", "host", "keep-alive",
	"proxy-connection", "te", "token", "trailer", "transfer-encoding", "upgrade", "user-agent", "authorization",
}

// Check refuses what may not be sent: a name that is not in lower case, that gRPC or etcd use
// themselves, and a value that is not printable.
func (h *Header) Check() error {
	if h.Name == "" {
		return errors.New("the name is empty")
	}
	if i := strings.IndexFunc(h.Name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}); i >= 0 {
		return fmt.Errorf("name %q: use lower-case letters, digits, '-', '_' and '.'", h.Name)
	}
	if strings.HasPrefix(h.Name, "grpc-") || slices.Contains(reserved, h.Name) {
		return fmt.Errorf("name %q is reserved", h.Name)
	}
	if i := strings.IndexFunc(h.Value, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		return fmt.Errorf("the value of %q is not printable ASCII", h.Name)
	}
	return nil
}

// append appends the header as a literal that no table ever takes in: each request may have
// another value.
func (h *Header) append(b []byte) []byte {
	b = appendHeaderString(append(b, 0x10), h.Name)
	return appendHeaderString(b, h.Value)
}

// appendHeaderString appends a string as HPACK writes one that is not Huffman-coded: its
// length and itself.
func appendHeaderString(b []byte, s string) []byte {
	return append(appendHeaderInt(b, 0, 7, len(s)), s...)
}

// appendHuffman appends a string Huffman-coded, unless that is no shorter.
func appendHuffman(b []byte, s string) []byte {
	n := hpack.HuffmanEncodeLength(s)
	if n >= uint64(len(s)) {
		return appendHeaderString(b, s)
	}
	return hpack.AppendHuffmanString(appendHeaderInt(b, 0x80, 7, int(n)), s)
}

// appendHeaderInt appends an integer of RFC 7541 section 5.1: in the lowest bits of its
// first byte, whose others are kind, and in as many bytes of seven bits as more are needed.
func appendHeaderInt(b []byte, kind byte, bits uint, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, kind|byte(n))
	}
	b = append(b, kind|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
