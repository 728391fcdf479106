//go:build codectest

package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"silly.store/etcd"
)

// marshal returns the official encoding of m.
func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkDecode fails unless our decoder reads b like the official one, whose result
// is want, and our encoder writes it back.
func checkDecode(t testing.TB, msg etcd.CodecMessage, b []byte, want proto.Message) {
	t.Helper()
	before := bytes.Clone(b)
	got := msg.New()
	if err := got.Decode(b); err != nil {
		t.Fatalf("%s: decode: %v", msg.Proto, err)
	}
	if !bytes.Equal(b, before) {
		t.Fatalf("%s: decode changed its input", msg.Proto)
	}
	gotValue := reflect.ValueOf(got.Value()).Elem()
	wantValue := reflect.ValueOf(filled(t, want).Value()).Elem()
	if d := diff(gotValue, wantValue); d != "" {
		t.Fatalf("%s%s (decoded, official)", msg.Proto, d)
	}
	checkMemory(t, gotValue, b)
	checkAppend(t, got, want)
}

// checkAppend fails unless our encoding of v equals the encoding of want.
func checkAppend(t testing.TB, v etcd.CodecValue, want proto.Message) {
	t.Helper()
	const prefix = "prefix"
	enc := v.Append([]byte(prefix))
	if !bytes.HasPrefix(enc, []byte(prefix)) {
		t.Fatalf("%T: append overwrote what was there", v.Value())
	}
	enc = enc[len(prefix):]
	if len(enc) != v.Size() {
		t.Fatalf("%T: size is %d, encoded in %d bytes", v.Value(), v.Size(), len(enc))
	}
	back := want.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(enc, back); err != nil {
		t.Fatalf("%T: our encoding: %v", v.Value(), err)
	}
	want = proto.Clone(want)
	normalize(want.ProtoReflect())
	normalize(back.ProtoReflect())
	if !proto.Equal(back, want) {
		t.Fatalf("%T: our encoding means\n%v\nwant\n%v", v.Value(), back, want)
	}
}

// eachMessage runs a subtest for every message that we carry.
func eachMessage(t *testing.T, do func(t *testing.T, msg etcd.CodecMessage, rnd *rand.Rand)) {
	for i, msg := range etcd.CodecMessages() {
		t.Run(msg.Proto, func(t *testing.T) {
			do(t, msg, rand.New(rand.NewPCG(7, uint64(i))))
		})
	}
}

// rounds is how often something random is tried: a tenth with -short, for a run with -race.
func rounds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

func TestEveryMessage(t *testing.T) {
	if n := len(etcd.CodecMessages()); n < 80 {
		t.Fatalf("only %d messages", n)
	}
	eachMessage(t, func(t *testing.T, msg etcd.CodecMessage, rnd *rand.Rand) {
		for i := range rounds(200) {
			want := official(t, msg.Proto)
			f := filler{Rand: rnd, sparse: i%2 == 1, unknown: i%4 >= 2}
			f.message(want.ProtoReflect())
			checkDecode(t, msg, marshal(t, want), want)

			// The other way, without our decoder.
			checkAppend(t, filled(t, want), want)
		}
	})
}

// Each field alone, so that none can hide behind another.
func TestEveryField(t *testing.T) {
	eachMessage(t, func(t *testing.T, msg etcd.CodecMessage, rnd *rand.Rand) {
		fields := official(t, msg.Proto).ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			for range rounds(20) {
				want := official(t, msg.Proto)
				f := filler{Rand: rnd}
				f.field(want.ProtoReflect(), fields.Get(i))
				checkDecode(t, msg, marshal(t, want), want)
			}
		}
	})
}

// An embedded message that comes in parts is merged, the last member of a oneof
// wins, and lists continue.
func TestMerge(t *testing.T) {
	eachMessage(t, func(t *testing.T, msg etcd.CodecMessage, rnd *rand.Rand) {
		for range rounds(100) {
			var b []byte
			f := filler{Rand: rnd, sparse: true, unknown: true}
			for range 2 + rnd.IntN(3) {
				part := official(t, msg.Proto)
				f.message(part.ProtoReflect())
				b = append(b, marshal(t, part)...)
			}
			want := official(t, msg.Proto)
			if err := proto.Unmarshal(b, want); err != nil {
				t.Fatal(err)
			}
			checkDecode(t, msg, b, want)
		}
	})
}

// A known field of another wire type counts as unknown, in protobuf and here.
func TestOtherWireType(t *testing.T) {
	eachMessage(t, func(t *testing.T, msg etcd.CodecMessage, _ *rand.Rand) {
		fields := official(t, msg.Proto).ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			num := fields.Get(i).Number()
			for _, b := range [][]byte{
				protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), 300),
				protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), 1),
				protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), 1),
				protowire.AppendGroup(protowire.AppendTag(nil, num, protowire.StartGroupType), num, []byte{0x0a, 0}),
				protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), nil),
			} {
				compareDecoders(t, msg, b)
			}
		}
	})
}

// Wherever the input is cut off, we fail if the official decoder fails.
func TestTruncated(t *testing.T) {
	eachMessage(t, func(t *testing.T, msg etcd.CodecMessage, rnd *rand.Rand) {
		want := official(t, msg.Proto)
		f := filler{Rand: rnd, unknown: true, depth: maxFill - 3}
		f.message(want.ProtoReflect())
		b := marshal(t, want)
		step := max(1, len(b)/rounds(2000))
		for n := 0; n < len(b); n += step {
			compareDecoders(t, msg, b[:n:n])
		}
	})
}

// compareDecoders fails unless both decoders accept b and agree on it, or
// both refuse it.
func compareDecoders(t testing.TB, msg etcd.CodecMessage, b []byte) {
	t.Helper()
	want := official(t, msg.Proto)
	err := proto.Unmarshal(b, want)
	switch {
	case err == nil:
		if ourErr := msg.New().Decode(b); ourErr != nil && !stricter(ourErr) {
			t.Fatalf("%s: we refuse %x, which is valid: %v", msg.Proto, b, ourErr)
		} else if ourErr == nil {
			checkDecode(t, msg, b, want)
		}
	case strings.Contains(err.Error(), "UTF-8"):
		// We do not validate the bytes of strings. Whether b has other errors too
		// is not known.
		_ = msg.New().Decode(b)
	default:
		if ourErr := msg.New().Decode(b); ourErr == nil {
			t.Fatalf("%s: we accept %x, which is malformed: %v", msg.Proto, b, err)
		}
	}
}

// stricter reports whether err is one of the two errors that only our decoder
// returns: for deep nesting that the official one still allows, and for field
// numbers out of range inside unknown groups.
func stricter(err error) bool {
	return strings.HasSuffix(err.Error(), "nested too deep") ||
		strings.HasSuffix(err.Error(), "invalid field number")
}

func TestDepth(t *testing.T) {
	txn := func(depth int) []byte {
		var b []byte
		for range depth {
			op := protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), b)
			b = protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), op)
		}
		return b
	}
	for depth, ok := range map[int]bool{0: true, 1: true, 200: true, 1000: false, 9000: false} {
		var resp etcd.TxnResponse
		err := etcd.CodecOf(&resp).Decode(txn(depth))
		if (err == nil) != ok {
			t.Errorf("%d transactions in each other: %v", depth, err)
		}
		n := 0
		for r := &resp; ok && len(r.Responses) == 1; r = r.Responses[0].Txn {
			n++
		}
		if ok && n != depth {
			t.Errorf("%d transactions in each other, want %d", n, depth)
		}
	}
	// Siblings are not deep.
	var wide []byte
	for range 5000 {
		wide = append(wide, txn(3)...)
	}
	if err := etcd.CodecOf(new(etcd.TxnResponse)).Decode(wide); err != nil {
		t.Errorf("many transactions: %v", err)
	}
}

// An error from our decoder can be identified and names its subject.
func TestErrors(t *testing.T) {
	for in, want := range map[string]string{
		"\x12":                              "wire: truncated message",
		"\x12\x05a":                         "wire: truncated message",
		"\x18" + strings.Repeat("\xff", 10): "wire: varint overflows 64 bits",
		"\x12\x0b\x10" + strings.Repeat("\xff", 10): "wire: varint overflows 64 bits",
		"\x00\x00": "wire: invalid field number",
		"\x0f":     "wire: invalid wire type",
		"\x0c":     "wire: mismatched end of group",
	} {
		err := etcd.CodecOf(new(etcd.GetResponse)).Decode([]byte(in))
		if err == nil || errors.Unwrap(err) != nil || err.Error() != want {
			t.Errorf("%x: %v, want %s", in, err, want)
		}
	}
}

// Our messages and the official ones can be registered in one program.
func TestLinkable(t *testing.T) {
	for _, msg := range etcd.CodecMessages() {
		if _, ok := msg.New().Value().(protoreflect.ProtoMessage); ok {
			t.Errorf("%s is registered with protobuf", msg.Proto)
		}
		if name := fmt.Sprintf("%T", msg.New().Value()); !strings.HasPrefix(name, "*etcd.") {
			t.Errorf("%s is carried by %s", msg.Proto, name)
		}
	}
}
