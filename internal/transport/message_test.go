package transport

import "testing"

// What uncleared saves of a message of 30 MB: a make that zeroes, and the same bytes without.
func BenchmarkLargeMessage(b *testing.B) {
	const size = 30 << 20
	for name, room := range map[string]func() []byte{
		"zeroed":    func() []byte { return make([]byte, 0, size) },
		"uncleared": func() []byte { return uncleared(size) },
	} {
		b.Run(name, func(b *testing.B) {
			piece := make([]byte, 16<<10)
			b.SetBytes(size)
			for b.Loop() {
				for m := room(); len(m) < size; {
					m = append(m, piece...)
				}
			}
		})
	}
}
