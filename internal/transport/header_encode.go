package transport

import (
	"bytes"
	"slices"
	"strconv"
	"time"
)

// headerEncoder writes the request header blocks of one connection. conn.mu guards
// it, because both ends must update HPACK's table in the order in which the blocks
// cross the wire.
//
// A request's headers are the same for every call of a method, so once all its
// fields are in the dynamic table its block is constant and is cached. That holds
// until the next insertion moves the table's indices, hence generation. The encoder
// never lets HPACK evict: if fields would not fit, it empties the table first. So
// every inserted field is still in the table, which is a list without an index: it is
// searched only for blocks that are not cached, and a connection has few fields.
type headerEncoder struct {
	scheme, authority, userAgent string

	limit      uint32   // the dynamic table's size
	used       uint32   // of that
	table      []Header // the dynamic table, the oldest field first
	generation int
	blocks     []headerBlock // the ones that are used often move to the front
	// pendingUpdate: the next block says that the table has been emptied, and its size.
	pendingUpdate bool
}

// headerField is a field of a request. static is the index in HPACK's static table of its
// name, 0 if it is not there; whole: and of its value.
type headerField struct {
	Header
	static uint8
	whole  bool
}

// size is that of RFC 7541 section 4.1.
func (f *headerField) size() uint32 { return uint32(len(f.Name) + len(f.Value) + 32) }

// blockKey is everything that a cached header block depends on.
type blockKey struct {
	path, token   string
	requireLeader bool
}

type headerBlock struct {
	key        blockKey
	generation int
	bytes      []byte
}

const (
	// maxHeaderTable is the largest dynamic table that we use, even if the peer
	// allows more.
	maxHeaderTable = 4096
	// maxBlocks bounds the number of cached blocks. Each token in use needs one
	// block per method, or two if the method is used with and without hasleader.
	maxBlocks = 32
	// firstFields is how many fields a connection has for a method or two.
	firstFields = 8
)

// clientAPIVersion is the version of etcd's API that this client is written for. The
// servers count requests by it.
const clientAPIVersion = "3.7"

func newHeaderEncoder(scheme, authority, userAgent string) *headerEncoder {
	return &headerEncoder{scheme: scheme, authority: authority, userAgent: userAgent, limit: maxHeaderTable}
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

// resetTable empties the dynamic table.
func (e *headerEncoder) resetTable() {
	e.used = 0
	e.generation++
	e.pendingUpdate = true
	e.table, e.blocks = nil, nil
}

// append appends the header block of a request to b. A timeout of zero sends no
// grpc-timeout.
func (e *headerEncoder) append(b []byte, key blockKey, timeout time.Duration) []byte {
	if block := e.cached(&key); block != nil {
		b = append(b, block...)
	} else {
		b = e.encode(b, key)
	}
	if timeout > 0 {
		b = appendTimeoutField(b, timeout)
	}
	return b
}

// cached is the block of key, if one is kept and still true. It comes one place to the
// front.
func (e *headerEncoder) cached(key *blockKey) []byte {
	for i := range e.blocks {
		if e.blocks[i].key != *key {
			continue
		}
		if e.blocks[i].generation != e.generation {
			e.blocks = slices.Delete(e.blocks, i, i+1)
			return nil
		}
		block := e.blocks[i].bytes
		if i > 0 {
			e.blocks[i], e.blocks[i-1] = e.blocks[i-1], e.blocks[i]
		}
		return block
	}
	return nil
}

// encode appends the constant fields of key to b and keeps the block if it changed
// nothing in the table.
func (e *headerEncoder) encode(b []byte, key blockKey) []byte {
	var room [10]headerField
	fields := e.fieldsOf(room[:0], &key)
	if e.used+e.newBytes(fields) > e.limit {
		// Now, not between two fields: HPACK allows a table size update only at the
		// start of a block.
		e.resetTable()
	}
	at, before, update := len(b), e.generation, e.pendingUpdate
	if update {
		b = e.appendUpdate(b)
	}
	for i := range fields {
		b = e.appendField(b, &fields[i])
	}
	if e.generation == before && !update {
		if len(e.blocks) >= maxBlocks {
			e.blocks = e.blocks[:maxBlocks/2] // drops those of former tokens, and of tokens that are too long for the table
		}
		e.blocks = append(e.blocks, headerBlock{key: key, generation: before, bytes: bytes.Clone(b[at:])})
	}
	return b
}

// appendUpdate appends that the table has been emptied, and its size.
func (e *headerEncoder) appendUpdate(b []byte) []byte {
	e.pendingUpdate = false
	b = appendHeaderInt(b, 0x20, 5, 0)
	if e.limit > 0 {
		b = appendHeaderInt(b, 0x20, 5, int(e.limit))
	}
	return b
}

// newBytes returns how much the fields would add to the dynamic table.
func (e *headerEncoder) newBytes(fields []headerField) uint32 {
	var n uint32
	for i := range fields {
		f := &fields[i]
		if !f.whole && e.find(f) < 0 && f.size() <= e.limit/2 {
			n += f.size()
		}
	}
	return n
}

// find returns where f is in the table, -1 if it is not.
func (e *headerEncoder) find(f *headerField) int {
	return slices.Index(e.table, f.Header)
}

// findName returns where a field of that name is in the table, -1 if there is none.
func (e *headerEncoder) findName(name string) int {
	return slices.IndexFunc(e.table, func(h Header) bool { return h.Name == name })
}

// index is the index, for HPACK, of the table's field at i: the newest field is the first
// behind the static table.
func (e *headerEncoder) index(i int) int { return staticFields + len(e.table) - i }

// staticFields is how many fields HPACK's static table has (RFC 7541 appendix A).
const staticFields = 61

func (e *headerEncoder) fieldsOf(f []headerField, key *blockKey) []headerField {
	scheme := headerField{Header: Header{":scheme", e.scheme}, static: 6, whole: true}
	if e.scheme == "https" {
		scheme.static = 7
	}
	f = append(f,
		headerField{Header: Header{":method", "POST"}, static: 3, whole: true},
		scheme,
		headerField{Header: Header{":path", key.path}, static: 4},
		headerField{Header: Header{":authority", e.authority}, static: 1},
		headerField{Header: Header{"content-type", "application/grpc"}, static: 31},
		headerField{Header: Header{"te", "trailers"}},
		headerField{Header: Header{"user-agent", e.userAgent}, static: 58},
		headerField{Header: Header{"client-api-version", clientAPIVersion}},
	)
	if key.requireLeader {
		f = append(f, headerField{Header: Header{"hasleader", "true"}})
	}
	if key.token != "" {
		f = append(f, headerField{Header: Header{"token", key.token}})
	}
	return f
}

// appendField appends f: by its index, or as a literal, which is inserted into the table
// if there is room.
func (e *headerEncoder) appendField(b []byte, f *headerField) []byte {
	if f.whole {
		return appendHeaderInt(b, 0x80, 7, int(f.static))
	}
	if i := e.find(f); i >= 0 {
		return appendHeaderInt(b, 0x80, 7, e.index(i))
	}
	name := int(f.static)
	if i := e.findName(f.Name); name == 0 && i >= 0 {
		name = e.index(i)
	}
	size := f.size()
	insert := size <= e.limit/2 && e.used+size <= e.limit
	if insert {
		b = appendHeaderInt(b, 0x40, 6, name)
	} else {
		b = appendHeaderInt(b, 0x10, 4, name) // a literal that is never to be indexed
	}
	if name == 0 {
		b = appendHuffman(b, f.Name)
	}
	b = appendHuffman(b, f.Value)
	if insert {
		if e.table == nil {
			e.table = make([]Header, 0, firstFields)
		}
		e.table = append(e.table, f.Header)
		e.used += size
		e.generation++
	}
	return b
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
