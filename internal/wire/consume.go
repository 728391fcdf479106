package wire

import "unsafe"

// Varint reads the varint at b[i:] and returns where it ends. It accepts
// encodings that are longer than needed, up to ten bytes, as protobuf does.
//
// It is too large to be inlined, so loops check for one-byte varints themselves.
func Varint(b []byte, i int) (v uint64, end int) {
	if i < 0 || i >= len(b) {
		return 0, codeTruncated
	}
	if b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	b = b[i:]
	// Revisions have three to five bytes. Adding whole bytes and subtracting their
	// continuation bits afterwards is faster than masking each byte.
	if len(b) >= 5 {
		v = uint64(b[0]) + uint64(b[1])<<7 - 1<<7
		if b[1] < 0x80 {
			return v, i + 2
		}
		v += uint64(b[2])<<14 - 1<<14
		if b[2] < 0x80 {
			return v, i + 3
		}
		v += uint64(b[3])<<21 - 1<<21
		if b[3] < 0x80 {
			return v, i + 4
		}
		v += uint64(b[4])<<28 - 1<<28
		if b[4] < 0x80 {
			return v, i + 5
		}
		v = 0
	}
	// Ten bytes hold 70 bits, so in the last byte only the lowest bit may be set.
	for n, c := range b {
		if n == 9 && c > 1 {
			return 0, codeOverflow
		}
		v |= uint64(c&0x7f) << (7 * uint(n))
		if c < 0x80 {
			return v, i + n + 1
		}
	}
	return 0, codeTruncated
}

// Bytes reads the length at b[i:] and that many bytes after it, and returns where
// they end. The result points into b; its capacity is its length.
func Bytes(b []byte, i int) (v []byte, end int) {
	var size uint64
	if i < len(b) && b[i] < 0x80 {
		size = uint64(b[i])
		i++
	} else if size, i = Varint(b, i); i < 0 {
		return nil, i
	}
	if size > uint64(len(b)-i) {
		return nil, codeTruncated
	}
	end = i + int(size)
	return b[i:end:end], end
}

// String returns the bytes of v as a string without copying them. The caller must
// never write to v again.
func String(v []byte) string {
	//nolint:G103 // the copy is what costs; the doc comment says who may still write
	return unsafe.String(unsafe.SliceData(v), len(v))
}

// Skip returns where the value at b[i:] ends; tag is the tag before it. A decoder
// uses it to pass over unknown fields, and over known fields of an unexpected wire
// type, as protobuf requires.
func Skip(tag uint64, b []byte, i int) (end int) {
	return skip(tag, b, i, MaxDepth)
}

func skip(tag uint64, b []byte, i, depth int) (end int) {
	if num := tag >> 3; num == 0 || num > MaxFieldNumber {
		return codeFieldNumber
	}
	switch tag & 7 {
	case TypeVarint:
		_, end = Varint(b, i)
		return end
	case TypeFixed64:
		if len(b)-i < 8 {
			return codeTruncated
		}
		return i + 8
	case TypeBytes:
		_, end = Bytes(b, i)
		return end
	case TypeStartGroup:
		return skipGroup(tag>>3, b, i, depth-1)
	case TypeEndGroup:
		return codeGroup
	case TypeFixed32:
		if len(b)-i < 4 {
			return codeTruncated
		}
		return i + 4
	default:
		return codeWireType
	}
}

// skipGroup returns where group num ends, including its end tag.
func skipGroup(num uint64, b []byte, i, depth int) (end int) {
	if depth < 0 {
		return codeDepth
	}
	for {
		var tag uint64
		if tag, i = Varint(b, i); i < 0 {
			return i
		}
		if tag == num<<3|TypeEndGroup {
			return i
		}
		if i = skip(tag, b, i, depth); i < 0 {
			return i
		}
	}
}

// Count returns how many complete length-delimited fields with number num b[i:]
// holds at its top level, so that a slice for them can get its exact size. It stops
// at the first malformed field, where the decoder fails too.
func Count(b []byte, i, num int) int {
	count := 0
	for i < len(b) {
		begin := i
		tag := uint64(b[i])
		if i++; tag >= 0x80 {
			if tag, i = Varint(b, i-1); i < 0 {
				break
			}
		}
		if i = Skip(tag, b, i); i < 0 {
			break
		}
		if tag == uint64(num)<<3|TypeBytes {
			if count++; count%AheadEvery == 0 {
				_ = Ahead(b, i, i-begin)
			}
		}
	}
	return count
}

// AheadEvery is after how many elements of a list Ahead is due.
const AheadEvery = 8

// Ahead loads a byte of each of AheadEvery elements of a list of messages, so that the
// decoder finds them in the CPU's cache. b[i:] begins with the next element, and the loads
// begin AheadEvery elements later. They assume that all elements have the size of the last
// one, with its tag and length. Where an element begins is known only from the one before, so
// without Ahead each element of a large answer waits for the memory in turn.
//
//go:noinline // the compiler leaves out loads whose value is not used
func Ahead(b []byte, i, size int) (loaded byte) {
	at := i + AheadEvery*size
	for range AheadEvery {
		if uint(at) >= uint(len(b)) {
			break
		}
		loaded |= b[at]
		at += size
	}
	return loaded
}

// CountNested is [Count] for a field whose messages hold further messages: first is
// the content of the occurrence that was just read, and b[i:] follows it. It
// returns the number of occurrences, including first, and adds to sub[k] the number
// of length-delimited fields k in all of them.
func CountNested(first, b []byte, i, num int, sub []int) int {
	countFields(first, sub)
	count := 1
	for i < len(b) {
		tag := uint64(b[i])
		if i++; tag >= 0x80 {
			if tag, i = Varint(b, i-1); i < 0 {
				break
			}
		}
		if tag != uint64(num)<<3|TypeBytes {
			if i = Skip(tag, b, i); i < 0 {
				break
			}
			continue
		}
		var v []byte
		if v, i = Bytes(b, i); i < 0 {
			break
		}
		countFields(v, sub)
		count++
	}
	return count
}

// countFields adds to sub[k] the number of length-delimited fields k of b.
func countFields(b []byte, sub []int) {
	for i := 0; i < len(b); {
		tag := uint64(b[i])
		if i++; tag >= 0x80 {
			if tag, i = Varint(b, i-1); i < 0 {
				return
			}
		}
		if i = Skip(tag, b, i); i < 0 {
			return
		}
		if num := tag >> 3; tag&7 == TypeBytes && num < uint64(len(sub)) {
			sub[num]++
		}
	}
}
