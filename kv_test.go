package etcd

import (
	"strings"
	"testing"

	"silly.store/etcd/internal/wire"
)

// encodedRange is an answer with n pairs whose values have these sizes in turn, in a range
// of count keys.
func encodedRange(n, count int, sizes ...int) []byte {
	b := wire.AppendBytes([]byte{0x0a}, wire.AppendVarint([]byte{0x18}, 100))
	for i := range n {
		kv := wire.AppendString([]byte{0x0a}, "key")
		kv = wire.AppendString(append(kv, 0x2a), strings.Repeat("v", sizes[i%len(sizes)]))
		b = wire.AppendBytes(append(b, 0x12), kv)
	}
	return wire.AppendVarint(append(b, 0x20), uint64(count))
}

// A large answer is decoded in full whatever its end says, and into a list of its size when
// that is true.
func TestLargeRange(t *testing.T) {
	const n = 10_000
	for name, test := range map[string]struct {
		count, most int
		sizes       []int
	}{
		"all pairs":             {n, n, []int{300}},
		"nearly the same sizes": {n, n, []int{300, 301, 299}},
		"a limit":               {50 * n, n, []int{300}},
		"a count that is small": {n - 100, 2 * n, []int{300}},
		"a count of none":       {0, n, []int{300}},
		"other sizes":           {n, n, []int{1, 1000}},
		"small":                 {n, n, []int{10}},
	} {
		b := encodedRange(n, test.count, test.sizes...)
		var r GetResponse
		if err := decode(getMethod(&rangeRequest{}), b, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.KVs) != n || cap(r.KVs) > test.most || r.Count != int64(test.count) || r.Header.Revision != 100 {
			t.Errorf("%s: %d pairs of %d, room for %d, header %+v", name, len(r.KVs), r.Count, cap(r.KVs), r.Header)
		}
		for i := range r.KVs {
			if kv := &r.KVs[i]; kv.Key != "key" || len(kv.Value) != test.sizes[i%len(test.sizes)] {
				t.Fatalf("%s: pair %d is %q with %d bytes", name, i, kv.Key, len(kv.Value))
			}
		}
		if test.sizes[0] == 300 && len(test.sizes) == 1 && test.count == n {
			var sized GetResponse
			if sized.reserve(b); cap(sized.KVs) != n {
				t.Errorf("%s: room for %d pairs before they are decoded", name, cap(sized.KVs))
			}
		}
	}
	// Answers that are not what they seem.
	for _, b := range [][]byte{
		make([]byte, largeRange), []byte(strings.Repeat("\x20\x01", largeRange)), []byte("\x0a\x01" + strings.Repeat("\x12", largeRange)),
	} {
		var r GetResponse
		r.reserve(b)
		if cap(r.KVs) > largeRange {
			t.Errorf("room for %d pairs", cap(r.KVs))
		}
	}
}
