package etcd

import "silly.store/etcd/internal/wire"

// largeRange is the size of an answer from which counting its pairs before they are decoded
// costs as much as decoding them: each is a cache miss.
const largeRange = 1 << 20

// reserve makes room for the pairs of a large answer. The server ends it with the number of
// keys in the range. That is how many pairs there are if all have about the size of the
// first one and no limit has cut them; otherwise the decoder counts them.
func (r *GetResponse) reserve(b []byte) {
	if len(b) < largeRange {
		return
	}
	if n, size := lastCount(b), firstPair(b); size > 0 && n > 0 && n < len(b) {
		if all := n * size; all > len(b)-len(b)/16 && all < len(b)+len(b)/16 {
			r.KVs = make([]KeyValue, 0, n)
		}
	}
}

// firstPair is how many bytes the first pair of an encoded answer takes; 0 if it does not
// begin with a header and a pair.
func firstPair(b []byte) int {
	if b[0] != 0x0a {
		return 0
	}
	_, i := wire.Bytes(b, 1)
	if i < 0 || i >= len(b) || b[i] != 0x12 {
		return 0
	}
	_, end := wire.Bytes(b, i+1)
	return max(end-i, 0)
}

// lastCount is the count at the end of an encoded answer; 0 if there is none. Bytes of a
// value may look like one, so it may be any number.
func lastCount(b []byte) int {
	const longest = 10
	for i := len(b) - 2; i >= len(b)-1-longest; i-- {
		if b[i] != 0x20 {
			continue
		}
		if n, end := wire.Varint(b, i+1); end == len(b) && n < 1<<31 {
			return int(n)
		}
	}
	return 0
}
