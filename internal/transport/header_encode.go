package transport

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/net/http2/hpack"
)

// headerEncoder writes the request header blocks of one connection. It is
// guarded by conn.mu: HPACK's table is state that both ends change in the order
// in which the blocks cross the wire.
//
// A request's headers are the same for every call of a method, so once all its
// fields stand in the dynamic table its block is a constant and is kept. That
// holds until the next insertion moves the table's indices, hence generation.
// The encoder never lets HPACK evict: what would not fit empties the table
// first, so "inserted" and "still in the table" are the same thing.
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
	// maxHeaderTable is the most dynamic table we use, however much is offered.
	maxHeaderTable = 4096
	// maxBlocks bounds the blocks that are kept. There is one for each method,
	// twice as many with and without hasleader, for each token in use.
	maxBlocks = 256
)

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

// listSize is how large the headers of req are, counted as RFC 9113 section
// 6.5.2 does, with room for a timeout.
func (e *headerEncoder) listSize(req *Request) uint64 {
	const perField = 32
	constant := len(":method") + len("POST") + len(":scheme") + len(e.scheme) + len(":path") +
		len(":authority") + len(e.authority) + len("content-type") + len("application/grpc") +
		len("te") + len("trailers") + len("user-agent") + len(e.userAgent) + len("grpc-timeout") + maxTimeoutLen + 8*perField
	size := constant + len(req.Path)
	if req.RequireLeader {
		size += len("hasleader") + len("true") + perField
	}
	if req.Token != "" {
		size += len("token") + len(req.Token) + perField
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

// resetTable empties the dynamic table. The encoder announces it (size 0, then
// the limit) in front of the next block.
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
		// Now, not between two fields: HPACK allows a table size update only in
		// front of a block.
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
			clear(e.blocks) // tokens that are too long for the table have gone by
		}
		e.blocks[key] = headerBlock{generation: before, bytes: bytes.Clone(block)}
	}
	e.pendingUpdate = false
	return block
}

// newBytes is what the fields would add to the dynamic table.
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

// appendTimeoutField appends grpc-timeout as a literal that enters no table: it
// differs from call to call.
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
