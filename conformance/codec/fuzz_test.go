//go:build codectest

package codec

import (
	"math/rand/v2"
	"testing"

	"silly.store/etcd"
)

// seed adds starting points for a message to f: official encodings that are full,
// sparse or have unknown fields, and some malformed bytes.
func seed(t testing.TB, name string, add func([]byte)) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 4 {
		m := official(t, name)
		f := filler{Rand: rnd, sparse: i%2 == 1, unknown: i >= 2, depth: maxFill - 3 - i/2}
		f.message(m.ProtoReflect())
		add(marshal(t, m))
	}
	add([]byte("\x0b\x0c"))
	add([]byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
}

// FuzzMessage fuzzes the decoder of every message; the first argument selects the
// message.
func FuzzMessage(f *testing.F) {
	messages := etcd.CodecMessages()
	for i, msg := range messages {
		seed(f, msg.Proto, func(b []byte) { f.Add(uint8(i), b) })
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		compareDecoders(t, messages[int(i)%len(messages)], b)
	})
}

func fuzzOne(f *testing.F, name string) {
	msg := ours(f, name)
	seed(f, name, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) { compareDecoders(t, msg, b) })
}

// Decoders that are more than a loop have their own targets.

func FuzzRangeResponse(f *testing.F)       { fuzzOne(f, "etcdserverpb.RangeResponse") }
func FuzzRangeStreamResponse(f *testing.F) { fuzzOne(f, "etcdserverpb.RangeStreamResponse") }
func FuzzPutResponse(f *testing.F)         { fuzzOne(f, "etcdserverpb.PutResponse") }
func FuzzDeleteRangeResponse(f *testing.F) { fuzzOne(f, "etcdserverpb.DeleteRangeResponse") }
func FuzzTxnResponse(f *testing.F)         { fuzzOne(f, "etcdserverpb.TxnResponse") }
func FuzzTxnRequest(f *testing.F)          { fuzzOne(f, "etcdserverpb.TxnRequest") }
func FuzzWatchRequest(f *testing.F)        { fuzzOne(f, "etcdserverpb.WatchRequest") }
func FuzzWatchResponse(f *testing.F)       { fuzzOne(f, "etcdserverpb.WatchResponse") }
func FuzzMemberAddResponse(f *testing.F)   { fuzzOne(f, "etcdserverpb.MemberAddResponse") }
func FuzzAuthRoleGetResponse(f *testing.F) { fuzzOne(f, "etcdserverpb.AuthRoleGetResponse") }
