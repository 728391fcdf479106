package etcd

import (
	"fmt"
	"testing"

	"silly.store/etcd/internal/wire"
)

// BenchmarkDecodeRange decodes 100,000 pairs that are not in the CPU's cache, as those of an
// answer of 28 MB are not when it is complete. Pairs of one size are what wire.Ahead is for.
func BenchmarkDecodeRange(b *testing.B) {
	for _, bb := range []struct {
		name  string
		value func(i int) int // the size of a value
	}{
		{"equal", func(int) int { return 256 }},
		{"varied", func(i int) int { return i * 7919 % 512 }},
		{"small", func(int) int { return 8 }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			reply := rangeReply(100_000, bb.value)
			other := make([]byte, 128<<20)
			for b.Loop() {
				b.StopTimer()
				for i := 0; i < len(other); i += 64 {
					other[i]++
				}
				b.StartTimer()
				var r GetResponse
				if err := r.decodeWire(reply); err != nil || len(r.KVs) != 100_000 {
					b.Fatal(len(r.KVs), err)
				}
			}
		})
	}
}

// rangeReply returns a reply with that many pairs.
func rangeReply(pairs int, value func(i int) int) []byte {
	var reply []byte
	for i := range pairs {
		kv := wire.AppendString(wire.AppendTag(nil, 1, wire.TypeBytes), fmt.Sprintf("range/%08d", i))
		for num := 2; num <= 4; num++ {
			kv = wire.AppendVarint(wire.AppendTag(kv, num, wire.TypeVarint), uint64(100_000+i))
		}
		kv = wire.AppendBytes(wire.AppendTag(kv, 5, wire.TypeBytes), make([]byte, value(i)))
		reply = wire.AppendBytes(wire.AppendTag(reply, 2, wire.TypeBytes), kv)
	}
	return reply
}
