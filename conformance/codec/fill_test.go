//go:build codectest

package codec

import (
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A filler fills official messages with random values.
type filler struct {
	*rand.Rand
	sparse  bool // leave out half of the fields, use zeros too
	unknown bool // add fields that no descriptor has
	depth   int
}

// maxFill is how deep recursive messages are filled.
const maxFill = 5

func (f *filler) message(m protoreflect.Message) {
	f.depth++
	defer func() { f.depth-- }()
	oneofs := m.Descriptor().Oneofs()
	for i := range oneofs.Len() {
		members := oneofs.Get(i).Fields()
		f.field(m, members.Get(f.IntN(members.Len())))
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.ContainingOneof() == nil && !(f.sparse && f.IntN(2) == 0) {
			f.field(m, fd)
		}
	}
	if m.Descriptor().FullName() == "etcdserverpb.Compare" {
		union := m.WhichOneof(oneofs.Get(0))
		m.Set(fields.ByName("target"), protoreflect.ValueOfEnum(protoreflect.EnumNumber(union.Number()-4)))
	}
	if f.unknown {
		m.SetUnknown(f.unknownFields())
	}
}

func (f *filler) field(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	if fd.Message() != nil && f.depth >= maxFill {
		return
	}
	switch {
	case fd.IsList():
		list := m.Mutable(fd).List()
		for range 1 + f.IntN(3) {
			if fd.Message() != nil {
				f.message(list.AppendMutable().Message())
			} else {
				list.Append(f.value(fd))
			}
		}
	case fd.Message() != nil:
		f.message(m.Mutable(fd).Message())
	default:
		m.Set(fd, f.value(fd))
	}
}

func (f *filler) value(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(!f.sparse || f.IntN(2) == 0)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(f.number()))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(f.number())
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(max(1, uint32(f.number())))
	case protoreflect.EnumKind:
		// Including values that the enum doesn't have, and negative ones.
		return protoreflect.ValueOfEnum([]protoreflect.EnumNumber{1, 2, 3, 77, -1, math.MinInt32}[f.IntN(6)])
	case protoreflect.StringKind:
		return protoreflect.ValueOfString([]string{"a", "grüße", "\x00", string(make([]byte, 200))}[f.IntN(4)])
	case protoreflect.BytesKind:
		b := make([]byte, 1+f.IntN([]int{4, 300}[f.IntN(2)]))
		for i := range b {
			b[i] = byte(f.Uint32())
		}
		return protoreflect.ValueOfBytes(b)
	default:
		panic(fd.Kind())
	}
}

// number returns a number of any size, not 0.
func (f *filler) number() uint64 {
	switch f.IntN(8) {
	case 0:
		return math.MaxUint64
	case 1:
		return 1 << 63
	case 2:
		return math.MaxInt64
	default:
		return max(1, f.Uint64()>>f.IntN(64))
	}
}

func (f *filler) unknownFields() []byte {
	var b []byte
	for range f.IntN(4) {
		num := protowire.Number(100 + f.IntN(3000))
		switch f.IntN(5) {
		case 0:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), f.Uint64())
		case 1:
			b = protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), f.Uint64())
		case 2:
			b = protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), f.Uint32())
		case 3:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), make([]byte, f.IntN(200)))
		case 4:
			b = protowire.AppendTag(b, num, protowire.StartGroupType)
			b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), []byte("x"))
			b = protowire.AppendTag(b, num, protowire.EndGroupType)
		}
	}
	return b
}
