package main

import (
	"go/ast"
	"maps"
	"slices"
)

// enums emits the String methods of the exported enums.
func (e *emitter) enums(s *schema) {
	for _, name := range slices.Sorted(maps.Keys(s.enums)) {
		if ast.IsExported(name) {
			e.stringer(s.enums[name])
		}
	}
}

func (e *emitter) stringer(enum *enum) {
	names := enum.sorted()
	e.printf("// String returns etcd's name, like %q, or \"%s(7)\" for a value that\n// etcd does not have.\n", names[0], enum.goName)
	e.printf("func (v %s) String() string {\nswitch v {\n", enum.goName)
	for _, proto := range names {
		e.printf("case %s:\nreturn %q\n", enum.values[proto].goName, proto)
	}
	e.printf("}\nreturn \"%s(\" + strconv.Itoa(int(v)) + \")\"\n}\n\n", enum.goName)
}
