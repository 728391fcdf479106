package main

import (
	"fmt"
	"strings"
)

const (
	typeVarint = 0
	typeBytes  = 2
)

// wireType returns the wire type of an element of f.
func (f *field) wireType() int {
	if f.msg != nil || f.elem == "bytes" || f.elem == "string" {
		return typeBytes
	}
	return typeVarint
}

// tag returns the tag of f, for elements of the given wire type.
func (f *field) tag(typ int) uint64 {
	return uint64(f.num)<<3 | uint64(typ)
}

// tagBytes returns the tag encoded, as the arguments of an append.
func tagBytes(tag uint64) (args string, size int) {
	var list []string
	for ; tag >= 0x80; tag >>= 7 {
		list = append(list, fmt.Sprintf("%#02x", tag&0x7f|0x80))
	}
	list = append(list, fmt.Sprintf("%#02x", tag))
	return strings.Join(list, ", "), len(list)
}

// isSet returns the condition for writing a field of plain type.
func (f *field) isSet(v string) string {
	switch f.elem {
	case "bool":
		return v
	case "string", "bytes":
		return "len(" + v + ") != 0"
	default:
		return v + " != 0"
	}
}

// varint returns the expression that turns v into the varint to write.
func (f *field) varint(v string) string {
	if f.elem == "uint64" {
		return v
	}
	// Negative enums are sign-extended, as in protobuf.
	return "uint64(" + v + ")"
}

func (e *emitter) receiver(m *message) string {
	if len(m.fields) == 0 {
		return "*" + m.goName
	}
	return "m *" + m.goName
}

func (e *emitter) size(m *message) {
	e.printf("func (%s) sizeWire() int {\n", e.receiver(m))
	if len(m.fields) == 0 {
		e.printf("return 0\n}\n\n")
		return
	}
	e.printf("n := 0\n")
	e.fields(m, e.sizeField)
	e.printf("return n\n}\n\n")
}

func (e *emitter) append(m *message) {
	e.printf("func (%s) appendWire(b []byte) []byte {\n", e.receiver(m))
	e.fields(m, e.appendField)
	e.printf("return b\n}\n\n")
}

// fields calls write for each field of m, in the order of numbers. The members of a
// oneof become cases of one switch, at the place of the first.
func (e *emitter) fields(m *message, write func(f *field, v string)) {
	done := make(map[string]bool)
	for _, f := range m.fields {
		v := "m." + f.goName
		switch {
		case f.oneof == "":
			e.guarded(f, v, write)
		case !done[f.oneof]:
			done[f.oneof] = true
			e.oneof(m, f, write)
		}
	}
}

func (e *emitter) oneof(m *message, first *field, write func(f *field, v string)) {
	if first.whenField != "" {
		e.printf("switch m.%s {\n", first.whenField)
	} else {
		e.printf("switch {\n")
	}
	for _, f := range m.fields {
		if f.oneof != first.oneof {
			continue
		}
		v := "m." + f.goName
		if f.whenField != "" {
			e.printf("case %s:\n", f.whenValue)
		} else {
			e.printf("case %s != nil:\n", v)
		}
		write(f, v)
	}
	e.printf("}\n")
}

// guarded calls write inside the condition or loop that f needs.
func (e *emitter) guarded(f *field, v string, write func(f *field, v string)) {
	switch {
	case f.shape == list && f.enum != nil:
		e.printf("if len(%s) != 0 {\n", v)
	case f.shape == list:
		e.printf("for i := range %s {\n", v)
		v += "[i]"
	case f.shape == pointer:
		e.printf("if %s != nil {\n", v)
	case f.msg != nil:
		// A message held by value is written unless it is empty.
		e.printf("if s := %s.sizeWire(); s != 0 {\n", v)
	case f.after != "":
		e.printf("if len(m.%s)+len(%s) != 0 {\n", f.after, v)
	default:
		e.printf("if %s {\n", f.isSet(v))
	}
	write(f, v)
	e.printf("}\n")
}

// sized returns the size of the message v: for a message held by value, the
// variable that its guard has set.
func (f *field) sized(v string) string {
	if f.shape == single {
		return "s"
	}
	return v + ".sizeWire()"
}

func (e *emitter) sizeField(f *field, v string) {
	_, n := tagBytes(f.tag(f.wireType()))
	switch {
	case f.shape == list && f.enum != nil:
		e.printf("s := 0\nfor _, v := range %s {\ns += wire.SizeVarint(uint64(v))\n}\n", v)
		e.printf("n += %d + wire.SizeBytes(s)\n", n)
	case f.msg != nil:
		e.printf("n += %d + wire.SizeBytes(%s)\n", n, f.sized(v))
	case f.after != "":
		e.printf("n += %d + wire.SizeBytes(len(m.%s)+len(%s))\n", n, f.after, v)
	case f.wireType() == typeBytes:
		e.printf("n += %d + wire.SizeBytes(len(%s))\n", n, v)
	case f.elem == "bool":
		e.printf("n += %d\n", n+1)
	default:
		e.printf("n += %d + wire.SizeVarint(%s)\n", n, f.varint(v))
	}
}

func (e *emitter) appendField(f *field, v string) {
	tag, _ := tagBytes(f.tag(f.wireType()))
	switch {
	case f.shape == list && f.enum != nil:
		tag, _ = tagBytes(f.tag(typeBytes))
		e.printf("s := 0\nfor _, v := range %s {\ns += wire.SizeVarint(uint64(v))\n}\n", v)
		e.printf("b = wire.AppendVarint(append(b, %s), uint64(s))\n", tag)
		e.printf("for _, v := range %s {\nb = wire.AppendVarint(b, uint64(v))\n}\n", v)
	case f.msg != nil:
		e.printf("b = wire.AppendVarint(append(b, %s), uint64(%s))\n", tag, f.sized(v))
		e.printf("b = %s.appendWire(b)\n", v)
	case f.after != "":
		e.printf("b = wire.AppendStrings(append(b, %s), m.%s, %s)\n", tag, f.after, v)
	case f.elem == "string":
		e.printf("b = wire.AppendString(append(b, %s), %s)\n", tag, v)
	case f.elem == "bytes":
		e.printf("b = wire.AppendBytes(append(b, %s), %s)\n", tag, v)
	case f.elem == "bool":
		e.printf("b = append(b, %s, 1)\n", tag)
	default:
		e.printf("b = wire.AppendVarint(append(b, %s), %s)\n", tag, f.varint(v))
	}
}
