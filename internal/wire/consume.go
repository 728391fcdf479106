package wire

import "unsafe"

// Varint reads a varint from the beginning of b. It accepts encodings that
// are longer than needed, up to ten bytes, as protobuf does.
func Varint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return longVarint(b)
}

func longVarint(b []byte) (v uint64, n int) {
	// Ten bytes hold 70 bits: of the last one only the lowest may be set.
	for n < len(b) {
		c := b[n]
		if n == 9 && c > 1 {
			return 0, codeOverflow
		}
		v |= uint64(c&0x7f) << (7 * uint(n))
		n++
		if c < 0x80 {
			return v, n
		}
	}
	return 0, codeTruncated
}

// Bytes reads a length and as many bytes from the beginning of b. The result
// points into b; its capacity is its length.
func Bytes(b []byte) (v []byte, n int) {
	size, n := Varint(b)
	if n < 0 {
		return nil, n
	}
	if size > uint64(len(b)-n) {
		return nil, codeTruncated
	}
	end := n + int(size)
	return b[n:end:end], end
}

// String returns the bytes of v as a string without copying them. Whoever
// calls it must never write to v again.
func String(v []byte) string {
	return unsafe.String(unsafe.SliceData(v), len(v))
}

// Skip returns the length of the value at the beginning of b whose tag was
// read just before. It is how a decoder passes over fields that it doesn't
// know, and over known ones of an unexpected wire type, as protobuf asks.
func Skip(tag uint64, b []byte) int {
	return skip(tag, b, MaxDepth)
}

func skip(tag uint64, b []byte, depth int) int {
	if num := tag >> 3; num == 0 || num > MaxFieldNumber {
		return codeFieldNumber
	}
	switch tag & 7 {
	case TypeVarint:
		_, n := Varint(b)
		return n
	case TypeFixed64:
		if len(b) < 8 {
			return codeTruncated
		}
		return 8
	case TypeBytes:
		_, n := Bytes(b)
		return n
	case TypeStartGroup:
		return skipGroup(tag>>3, b, depth-1)
	case TypeEndGroup:
		return codeGroup
	case TypeFixed32:
		if len(b) < 4 {
			return codeTruncated
		}
		return 4
	default:
		return codeWireType
	}
}

// skipGroup returns the length of the fields of group num and of the tag that
// ends it.
func skipGroup(num uint64, b []byte, depth int) int {
	if depth < 0 {
		return codeDepth
	}
	for used := 0; ; {
		tag, n := Varint(b[used:])
		if n < 0 {
			return n
		}
		used += n
		if tag == num<<3|TypeEndGroup {
			return used
		}
		n = skip(tag, b[used:], depth)
		if n < 0 {
			return n
		}
		used += n
	}
}

// Count returns how many complete length-delimited fields of number num b
// holds at its top level, so that a slice for them can be made at its exact
// size. It stops at the first malformed field: the decoder fails there too.
func Count(b []byte, num int) int {
	count := 0
	for len(b) > 0 {
		tag, n := Varint(b)
		if n < 0 {
			break
		}
		b = b[n:]
		if n = Skip(tag, b); n < 0 {
			break
		}
		b = b[n:]
		if tag == uint64(num)<<3|TypeBytes {
			count++
		}
	}
	return count
}

// CountNested is [Count] for a field whose messages hold messages in turn:
// first is the content of an occurrence that was just read, rest what follows
// it. It returns the number of occurrences, first included, and adds to
// sub[i] the number of length-delimited fields i in all of them.
func CountNested(first, rest []byte, num int, sub []int) int {
	countFields(first, sub)
	count := 1
	for len(rest) > 0 {
		tag, n := Varint(rest)
		if n < 0 {
			break
		}
		rest = rest[n:]
		if tag == uint64(num)<<3|TypeBytes {
			var v []byte
			if v, n = Bytes(rest); n < 0 {
				break
			}
			countFields(v, sub)
			count++
		} else if n = Skip(tag, rest); n < 0 {
			break
		}
		rest = rest[n:]
	}
	return count
}

func countFields(b []byte, sub []int) {
	for len(b) > 0 {
		tag, n := Varint(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if n = Skip(tag, b); n < 0 {
			return
		}
		b = b[n:]
		if num := tag >> 3; tag&7 == TypeBytes && num < uint64(len(sub)) {
			sub[num]++
		}
	}
}
