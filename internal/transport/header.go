package transport

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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
// length, in seven bits and as many bytes of seven bits as more are needed, and itself.
func appendHeaderString(b []byte, s string) []byte {
	n := len(s)
	if n < 0x7f {
		return append(append(b, byte(n)), s...)
	}
	b = append(b, 0x7f)
	for n -= 0x7f; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), s...)
}
