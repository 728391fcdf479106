package transport

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/net/http2/hpack"
)

// headerEncoder writes the request header blocks of one connection. conn.mu guards
// it, because both ends must update HPACK's table in the order in which the blocks
// cross the wire.
//
// A request's headers are the same for every call of a method, so once all its
// fields are in the dynamic table its block is constant and is cached. That holds
// until the next insertion moves the table's indices, hence generation. The encoder
// never lets HPACK evict: if fields would not fit, it empties the table first. So
// every inserted field is still in the table.
type headerEncoder struct {
	scheme, authority, userAgent string

	enc        *hpack.Encoder
	buf        bytes.Buffer
	limit      uint32 // the dynamic table's size
	used       uint32
	inTable    map[hpack.HeaderField]struct{}
	generation int
	blocks     map[blockKey]headerBlock
	fields     []hpack.HeaderField
	// pendingUpdate: the next block starts with a table size update.
	pendingUpdate bool
}

// blockKey is everything that a cached header block depends on.
type blockKey struct {
	path, token   string
	requireLeader bool
}

type headerBlock struct {
	generation int
	bytes      []byte
}

const (
	// maxHeaderTable is the largest dynamic table that we use, even if the peer
	// allows more.
	maxHeaderTable = 4096
	// maxBlocks bounds the number of cached blocks. Each token in use needs one
	// block per method, or two if the method is used with and without hasleader.
	maxBlocks = 256
)

// clientAPIVersion is the version of etcd's API that this client is written for. The
// servers count requests by it.
const clientAPIVersion = "3.7"

func newHeaderEncoder(scheme, authority, userAgent string) *headerEncoder {
	e := &headerEncoder{
		scheme: scheme, authority: authority, userAgent: userAgent,
		limit:   maxHeaderTable,
		inTable: make(map[hpack.HeaderField]struct{}),
		blocks:  make(map[blockKey]headerBlock),
	}
	e.enc = hpack.NewEncoder(&e.buf)
	return e
}

// listSize returns the size of the headers of req, counted as in RFC 9113 section
// 6.5.2, with room for a timeout.
func (e *headerEncoder) listSize(req *Request) uint64 {
	const perField = 32
	constant := len(":method") + len("POST") + len(":scheme") + len(e.scheme) + len(":path") +
		len(":authority") + len(e.authority) + len("content-type") + len("application/grpc") +
		len("te") + len("trailers") + len("user-agent") + len(e.userAgent) +
		len("client-api-version") + len(clientAPIVersion) + len("grpc-timeout") + maxTimeoutLen + 9*perField
	size := constant + len(req.Path)
	if req.RequireLeader {
		size += len("hasleader") + len("true") + perField
	}
	if req.Token != "" {
		size += len("token") + len(req.Token) + perField
	}
	for _, h := range req.Headers {
		size += len(h.Name) + len(h.Value) + perField
	}
	return uint64(size)
}

// maxTimeoutLen is eight digits and a unit.
const maxTimeoutLen = 9

// setTableSize follows the peer's SETTINGS_HEADER_TABLE_SIZE.
func (e *headerEncoder) setTableSize(size uint32) {
	limit := min(size, maxHeaderTable)
	if limit == e.limit {
		return
	}
	e.limit = limit
	e.resetTable()
}

// resetTable empties the dynamic table. The encoder announces it (size 0, then the
// limit) before the next block.
func (e *headerEncoder) resetTable() {
	e.enc.SetMaxDynamicTableSize(0)
	e.enc.SetMaxDynamicTableSize(e.limit)
	e.used = 0
	e.generation++
	e.pendingUpdate = true
	clear(e.inTable)
	clear(e.blocks)
}

// append appends the header block of a request to b. A timeout of zero sends no
// grpc-timeout.
func (e *headerEncoder) append(b []byte, key blockKey, timeout time.Duration) []byte {
	if block, ok := e.blocks[key]; ok && block.generation == e.generation {
		b = append(b, block.bytes...)
	} else {
		b = append(b, e.encode(key)...)
	}
	if timeout > 0 {
		b = appendTimeoutField(b, timeout)
	}
	return b
}

// encode encodes the constant fields of key and keeps the block if it changed
// nothing in the table. The result is valid until the next call.
func (e *headerEncoder) encode(key blockKey) []byte {
	fields := e.fieldsOf(key)
	if e.used+e.newBytes(fields) > e.limit {
		// Now, not between two fields: HPACK allows a table size update only at the
		// start of a block.
		e.resetTable()
	}
	e.buf.Reset()
	before := e.generation
	for _, f := range fields {
		e.writeField(f)
	}
	block := e.buf.Bytes()
	if e.generation == before && !e.pendingUpdate {
		if len(e.blocks) >= maxBlocks {
			clear(e.blocks) // drops blocks of tokens that are too long for the table
		}
		e.blocks[key] = headerBlock{generation: before, bytes: bytes.Clone(block)}
	}
	e.pendingUpdate = false
	return block
}

// newBytes returns how much the fields would add to the dynamic table.
func (e *headerEncoder) newBytes(fields []hpack.HeaderField) uint32 {
	var n uint32
	for _, f := range fields {
		if _, ok := e.inTable[f]; !ok && f.Size() <= e.limit/2 {
			n += f.Size()
		}
	}
	return n
}

func (e *headerEncoder) fieldsOf(key blockKey) []hpack.HeaderField {
	f := append(e.fields[:0],
		hpack.HeaderField{Name: ":method", Value: "POST"},
		hpack.HeaderField{Name: ":scheme", Value: e.scheme},
		hpack.HeaderField{Name: ":path", Value: key.path},
		hpack.HeaderField{Name: ":authority", Value: e.authority},
		hpack.HeaderField{Name: "content-type", Value: "application/grpc"},
		hpack.HeaderField{Name: "te", Value: "trailers"},
		hpack.HeaderField{Name: "user-agent", Value: e.userAgent},
		hpack.HeaderField{Name: "client-api-version", Value: clientAPIVersion},
	)
	if key.requireLeader {
		f = append(f, hpack.HeaderField{Name: "hasleader", Value: "true"})
	}
	if key.token != "" {
		f = append(f, hpack.HeaderField{Name: "token", Value: key.token})
	}
	e.fields = f
	return f
}

func (e *headerEncoder) writeField(f hpack.HeaderField) {
	if _, ok := e.inTable[f]; !ok {
		size := f.Size()
		if size > e.limit/2 || e.used+size > e.limit {
			f.Sensitive = true // no room: a literal, and no insertion
		} else {
			e.used += size
			e.inTable[f] = struct{}{}
			e.generation++
		}
	}
	// Writing into a bytes.Buffer does not fail.
	_ = e.enc.WriteField(f)
}

// appendTimeoutField appends grpc-timeout as a literal that is not added to the
// table, because it differs from call to call.
func appendTimeoutField(b []byte, d time.Duration) []byte {
	const name = "grpc-timeout"
	var digits [24]byte
	value := appendTimeout(digits[:0], d)
	b = append(b, 0x00, byte(len(name)))
	b = append(b, name...)
	b = append(b, byte(len(value)))
	return append(b, value...)
}

// appendTimeout writes d as gRPC's TimeoutValue and TimeoutUnit: at most eight
// digits, rounded up, so that the server never gives up before we do.
func appendTimeout(b []byte, d time.Duration) []byte {
	const most = 99_999_999
	for _, u := range [...]struct {
		unit   time.Duration
		letter byte
	}{{time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}, {time.Minute, 'M'}} {
		if n := (d-1)/u.unit + 1; n <= most {
			return append(strconv.AppendInt(b, int64(n), 10), u.letter)
		}
	}
	return append(strconv.AppendInt(b, int64(min((d-1)/time.Hour+1, most)), 10), 'H')
}
