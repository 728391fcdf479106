package main

import "fmt"

// decode emits decodeWire and, for messages that allocate from the arena, decodeIn,
// which does the work.
func (e *emitter) decode(m *message) {
	if m.arena {
		e.printf("func (m *%s) decodeWire(b []byte) error {\nvar a %s\nreturn m.decodeIn(b, &a)\n}\n\n", m.goName, e.arena)
		e.printf("func (m *%s) decodeIn(b []byte, a *%s) error {\n", m.goName, e.arena)
		if m.cyclic {
			e.printf("if a.depth++; a.depth > wire.MaxDepth {\nreturn wire.ErrDepth\n}\n")
		}
	} else {
		e.printf("func (%s) decodeWire(b []byte) error {\n", e.receiver(m))
	}
	e.printf("for i := 0; i < len(b); {\n")
	e.printf("tag := uint64(b[i])\n")
	e.printf("if i++; tag >= 0x80 {\nif tag, i = wire.Varint(b, i-1); i < 0 {\nreturn wire.Error(i)\n}\n}\n")
	e.printf("switch tag {\n")
	for _, f := range m.fields {
		if f.shape == list && f.enum != nil {
			e.decodeEnums(f)
			continue
		}
		e.printf("case %#02x: // %s\n", f.tag(f.wireType()), f.goName)
		if f.wireType() == typeBytes {
			e.printf("var v []byte\nif v, i = wire.Bytes(b, i); i < 0 {\nreturn wire.Error(i)\n}\n")
		} else {
			e.varint("b")
		}
		e.decodeField(m, f)
	}
	e.printf("default:\n")
	e.printf("if i = wire.Skip(tag, b, i); i < 0 {\nreturn wire.Error(i)\n}\n")
	e.printf("}\n}\n")
	if m.cyclic {
		// A failure ends the whole decoding, so it needs no decrement.
		e.printf("a.depth--\n")
	}
	e.printf("return nil\n}\n\n")
}

// varint emits code that reads a varint v from the bytes named b. Varints of one
// byte, the most common, take no call.
func (e *emitter) varint(b string) {
	e.printf("var v uint64\nif i < len(%[1]s) && %[1]s[i] < 0x80 {\nv = uint64(%[1]s[i])\ni++\n", b)
	e.printf("} else if v, i = wire.Varint(%s, i); i < 0 {\nreturn wire.Error(i)\n}\n", b)
}

// decodeEnums emits the two encodings of a list of enums.
func (e *emitter) decodeEnums(f *field) {
	e.printf("case %#02x: // %s, one\n", f.tag(typeVarint), f.goName)
	e.varint("b")
	e.printf("m.%s = append(m.%s, %s(v))\n", f.goName, f.goName, f.elem)
	e.printf("case %#02x: // %s, packed\n", f.tag(typeBytes), f.goName)
	e.printf("var list []byte\nif list, i = wire.Bytes(b, i); i < 0 {\nreturn wire.Error(i)\n}\n")
	e.printf("for i := 0; i < len(list); {\n")
	e.varint("list")
	e.printf("m.%s = append(m.%s, %s(v))\n}\n", f.goName, f.goName, f.elem)
}

// decodeField emits the code that stores the value v of f.
func (e *emitter) decodeField(m *message, f *field) {
	dst := "m." + f.goName
	switch {
	case f.shape == list && f.msg == nil: // strings
		e.printf("if len(%[1]s) == cap(%[1]s) {\n%[1]s = wire.Grow(%[1]s, 1+wire.Count(b, i, %[2]d))\n}\n", dst, f.num)
		e.printf("%[1]s = append(%[1]s, wire.String(v))\n", dst)
	case f.shape == list:
		e.grow(m, f, dst)
		e.printf("if len(%s)%%wire.AheadEvery == 0 {\n_ = wire.Ahead(b, i, 1+wire.SizeBytes(len(v)))\n}\n", dst)
		e.printf("%[1]s = %[1]s[:len(%[1]s)+1]\n", dst)
		e.decodeMessage(f, fmt.Sprintf("%[1]s[len(%[1]s)-1]", dst))
	case f.shape == pointer:
		e.printf("if %s == nil {\n", dst)
		e.clearOthers(m, f)
		e.printf("%s = a.%s.One()\n}\n", dst, slab(f.msg.goName))
		e.decodeMessage(f, dst)
	case f.msg != nil:
		e.decodeMessage(f, dst)
	default:
		e.clearOthers(m, f)
		e.printf("%s = %s\n", dst, f.fromWire("v"))
	}
}

// grow emits code that makes room for all occurrences of f at once.
func (e *emitter) grow(m *message, f *field, dst string) {
	e.printf("if len(%[1]s) == cap(%[1]s) {\n", dst)
	// The values below the elements can be counted beforehand too.
	var pointers []*field
	highest := 0
	for _, sub := range f.msg.fields {
		if sub.shape == pointer {
			pointers = append(pointers, sub)
			highest = max(highest, sub.num)
		}
	}
	switch {
	case len(pointers) != 0:
		e.printf("var sub [%d]int\n", highest+1)
		e.printf("n := wire.CountNested(v, b, i, %d, sub[:])\n", f.num)
		for _, sub := range pointers {
			e.printf("a.%s.Expect(sub[%d])\n", slab(sub.msg.goName), sub.num)
			// One value per field below is a fair guess: a get for a
			// key, a put with its previous value.
			for _, below := range sub.msg.fields {
				if below.msg != nil && below.shape != single {
					e.printf("a.%s.Expect(sub[%d])\n", slab(below.msg.goName), sub.num)
				}
			}
		}
	default:
		e.printf("n := 1+wire.Count(b, i, %d)\n", f.num)
	}
	if m.arena {
		e.printf("%[1]s = a.%[2]s.Grow(%[1]s, n)\n}\n", dst, slab(f.msg.goName))
	} else {
		e.printf("%[1]s = wire.Grow(%[1]s, n)\n}\n", dst)
	}
}

func (e *emitter) decodeMessage(f *field, dst string) {
	if f.msg.arena {
		e.printf("if err := %s.decodeIn(v, a); err != nil {\nreturn err\n}\n", dst)
	} else {
		e.printf("if err := %s.decodeWire(v); err != nil {\nreturn err\n}\n", dst)
	}
}

// clearOthers emits code that clears the other members of f's oneof: the last
// member on the wire wins.
func (e *emitter) clearOthers(m *message, f *field) {
	if f.oneof == "" {
		return
	}
	for _, other := range m.fields {
		if other.oneof != f.oneof || other == f {
			continue
		}
		zero := "0"
		switch {
		case other.shape == pointer || other.elem == "bytes":
			zero = "nil"
		case other.elem == "string":
			zero = `""`
		case other.elem == "bool":
			zero = "false"
		}
		e.printf("m.%s = %s\n", other.goName, zero)
	}
}

// fromWire returns the expression that turns v, as read, into the type of f.
func (f *field) fromWire(v string) string {
	switch f.elem {
	case "bytes", "uint64":
		return v
	case "string":
		return "wire.String(" + v + ")"
	case "bool":
		return v + " != 0"
	default:
		return f.elem + "(" + v + ")"
	}
}
