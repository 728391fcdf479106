package wire

import "math/bits"

// AppendVarint appends v to b.
func AppendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// AppendTag appends the tag of field num with wire type typ to b.
func AppendTag(b []byte, num, typ int) []byte {
	return AppendVarint(b, uint64(num)<<3|uint64(typ))
}

// AppendBytes appends the length of v and v itself to b.
func AppendBytes(b, v []byte) []byte {
	return append(AppendVarint(b, uint64(len(v))), v...)
}

// AppendString is [AppendBytes] for a string.
func AppendString(b []byte, v string) []byte {
	return append(AppendVarint(b, uint64(len(v))), v...)
}

// AppendStrings is [AppendString] for a string that comes in two parts.
func AppendStrings(b []byte, v, w string) []byte {
	return append(append(AppendVarint(b, uint64(len(v)+len(w))), v...), w...)
}

// SizeVarint returns how many bytes [AppendVarint] appends for v: 1 to 10.
func SizeVarint(v uint64) int {
	// Each started group of 7 bits takes a byte; 9/64 is just above 1/7 and exact
	// for lengths of 1 to 64 bits.
	return (9*bits.Len64(v) + 64) / 64
}

// SizeBytes returns how many bytes [AppendBytes] appends for a value of n
// bytes.
func SizeBytes(n int) int {
	return SizeVarint(uint64(n)) + n
}
