//go:build codectest

package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	_ "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"silly.store/etcd"
)

// official returns a new official message of the given name.
func official(t testing.TB, name string) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return mt.New().Interface()
}

// ours returns our message type of the given name.
func ours(t testing.TB, name string) etcd.CodecMessage {
	t.Helper()
	for _, m := range etcd.CodecMessages() {
		if m.Proto == name {
			return m
		}
	}
	t.Fatalf("%s: not carried", name)
	panic("unreachable")
}

// filled returns our message with the contents of m.
func filled(t testing.TB, m proto.Message) etcd.CodecValue {
	t.Helper()
	v := ours(t, string(m.ProtoReflect().Descriptor().FullName())).New()
	mirror(reflect.ValueOf(v.Value()).Elem(), m.ProtoReflect())
	return v
}

// mirror sets dst, one of our structs, to the contents of src. It uses only the
// field numbers in the tags, and so is independent of the codec.
func mirror(dst reflect.Value, src protoreflect.Message) {
	dst.SetZero()
	for i := range dst.NumField() {
		if dst.Type().Field(i).Tag.Get("etcd") == "-" {
			continue // the message does not have it
		}
		fd := src.Descriptor().Fields().ByNumber(number(dst.Type().Field(i)))
		if !src.Has(fd) {
			continue
		}
		v := src.Get(fd)
		f := dst.Field(i)
		if fd.IsList() {
			list := reflect.MakeSlice(f.Type(), v.List().Len(), v.List().Len())
			for j := range v.List().Len() {
				mirrorValue(list.Index(j), v.List().Get(j))
			}
			f.Set(list)
			continue
		}
		mirrorValue(f, v)
	}
}

func mirrorValue(dst reflect.Value, v protoreflect.Value) {
	switch x := v.Interface().(type) {
	case bool:
		dst.SetBool(x)
	case int64:
		dst.SetInt(x)
	case protoreflect.EnumNumber:
		dst.SetInt(int64(x))
	case uint64:
		dst.SetUint(x)
	case uint32:
		dst.SetUint(uint64(x))
	case string:
		dst.SetString(x)
	case []byte:
		if dst.Kind() == reflect.String {
			dst.SetString(string(x))
		} else {
			dst.SetBytes(bytes.Clone(x))
		}
	case protoreflect.Message:
		if dst.Kind() == reflect.Pointer {
			dst.Set(reflect.New(dst.Type().Elem()))
			dst = dst.Elem()
		}
		mirror(dst, x)
	default:
		panic(fmt.Sprintf("kind %T", x))
	}
}

func number(f reflect.StructField) protoreflect.FieldNumber {
	digits, _, _ := strings.Cut(f.Tag.Get("etcd"), ",")
	n, err := strconv.Atoi(digits)
	if err != nil {
		panic(err)
	}
	return protoreflect.FieldNumber(n)
}

// diff returns where two of our values differ, "" if they don't. Nil and
// empty lists are the same.
func diff(a, b reflect.Value) string {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if d := diff(a.Field(i), b.Field(i)); d != "" {
				return "." + a.Type().Field(i).Name + d
			}
		}
	case reflect.Slice:
		if a.Len() != b.Len() {
			return fmt.Sprintf(": %d elements, %d elements", a.Len(), b.Len())
		}
		for i := range a.Len() {
			if d := diff(a.Index(i), b.Index(i)); d != "" {
				return fmt.Sprintf("[%d]%s", i, d)
			}
		}
	case reflect.Pointer:
		if a.IsNil() != b.IsNil() {
			return fmt.Sprintf(": nil %v, nil %v", a.IsNil(), b.IsNil())
		}
		if !a.IsNil() {
			return diff(a.Elem(), b.Elem())
		}
	default:
		if !a.Equal(b) {
			return fmt.Sprintf(": %v, %v", a, b)
		}
	}
	return ""
}

// byValue lists the embedded messages that our structs hold by value, so that an
// empty one equals a missing one.
var byValue = map[protoreflect.Name]bool{
	"header":         true,
	"kv":             true,
	"member":         true,
	"range_response": true,
	"downgradeInfo":  true,
}

// normalize removes from m everything that our structs don't distinguish: unknown
// fields, the presence of empty messages that are held by value, and values of a
// comparison other than the one its target selects.
func normalize(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				normalize(v.List().Get(i).Message())
			}
		default:
			normalize(v.Message())
			if byValue[fd.Name()] && proto.Size(v.Message().Interface()) == 0 {
				m.Clear(fd)
			}
		}
		return true
	})
	if m.Descriptor().FullName() == "etcdserverpb.Compare" {
		normalizeCompare(m)
	}
}

func normalizeCompare(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	target := m.Get(fields.ByName("target")).Enum()
	union := m.Descriptor().Oneofs().ByName("target_union")
	have := m.WhichOneof(union)
	if target < 0 || target > 4 {
		if have != nil {
			m.Clear(have)
		}
		return
	}
	if want := fields.ByNumber(4 + protoreflect.FieldNumber(target)); have != want {
		m.Set(want, want.Default())
	}
}

// checkMemory fails unless all strings and bytes of v point into buf, and
// the capacities of the latter are clipped, so that no append to one can
// change another.
func checkMemory(t testing.TB, v reflect.Value, buf []byte) {
	t.Helper()
	inside := func(p unsafe.Pointer, n int) bool {
		start := uintptr(unsafe.Pointer(unsafe.SliceData(buf)))
		return n == 0 || uintptr(p) >= start && uintptr(p)+uintptr(n) <= start+uintptr(len(buf))
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			checkMemory(t, v.Field(i), buf)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			checkMemory(t, v.Elem(), buf)
		}
	case reflect.String:
		s := v.String()
		if !inside(unsafe.Pointer(unsafe.StringData(s)), len(s)) {
			t.Errorf("%s was copied", v.Type())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				checkMemory(t, v.Index(i), buf)
			}
			return
		}
		if v.Cap() != v.Len() {
			t.Errorf("bytes of length %d have capacity %d", v.Len(), v.Cap())
		}
		if !inside(v.UnsafePointer(), v.Len()) {
			t.Errorf("%s was copied", v.Type())
		}
	}
}
