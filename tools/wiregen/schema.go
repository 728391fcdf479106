package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A schema is what the sources declare.
type schema struct {
	messages []*message
	byGo     map[string]*message
	enums    map[string]*enum
	ints     map[string]bool // other types with underlying type int64
}

// A message is a struct with an etcd:message directive.
type message struct {
	pos    string
	goName string
	proto  string
	fields []*field // by number

	// What follows is filled in by check and by emit.

	request  bool // sent by the client: appended in normal builds
	response bool // decoded in normal builds
	cyclic   bool // may contain itself
	arena    bool // its decoder takes the arena
}

// An enum is an integer type with an etcd:enum directive.
type enum struct {
	pos    string
	goName string
	proto  string
	values map[string]enumValue // by proto name
}

type enumValue struct {
	goName string
	number int64
}

type shape int

const (
	single shape = iota
	pointer
	list
)

// A field is a field of a message.
type field struct {
	pos    string
	goName string
	proto  string
	num    int
	oneof  string
	// whenField and whenValue say, for a oneof whose members are plain
	// fields, which value of which field chooses this one.
	whenField, whenValue string

	shape shape
	elem  string   // the Go type, without * or []; "bytes" for []byte
	msg   *message // if elem is one
	enum  *enum    // if elem is one
}

var scalars = []string{"int64", "uint64", "uint32", "bool", "string"}

// parse reads the declarations of the sources.
func parse(sources map[string][]byte) (*schema, error) {
	s := &schema{
		byGo:  make(map[string]*message),
		enums: make(map[string]*enum),
		ints:  make(map[string]bool),
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		f, err := parser.ParseFile(fset, name, sources[name], parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	var errs []error
	at := func(n ast.Node) string { return fset.Position(n.Pos()).String() }
	eachSpec(files, func(d *ast.GenDecl, spec ast.Spec) {
		if ts, ok := spec.(*ast.TypeSpec); ok {
			doc := ts.Doc
			if doc == nil {
				doc = d.Doc
			}
			errs = append(errs, s.addType(at, ts, doc))
		}
	})
	eachSpec(files, func(d *ast.GenDecl, spec ast.Spec) {
		if vs, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.CONST {
			errs = append(errs, s.addConst(at, vs))
		}
	})
	for _, m := range s.messages {
		for _, f := range m.fields {
			errs = append(errs, s.resolve(m, f))
		}
	}
	return s, errors.Join(errs...)
}

func eachSpec(files []*ast.File, do func(*ast.GenDecl, ast.Spec)) {
	for _, f := range files {
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.GenDecl); ok {
				for _, spec := range d.Specs {
					do(d, spec)
				}
			}
		}
	}
}

// directive returns the argument of the comment //etcd:name in the groups.
func directive(name string, groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if g == nil {
			continue
		}
		for _, c := range g.List {
			if arg, ok := strings.CutPrefix(c.Text, "//etcd:"+name+" "); ok {
				return strings.TrimSpace(arg)
			}
		}
	}
	return ""
}

func (s *schema) addType(at func(ast.Node) string, ts *ast.TypeSpec, doc *ast.CommentGroup) error {
	name := ts.Name.Name
	switch t := ts.Type.(type) {
	case *ast.StructType:
		proto := directive("message", doc)
		if proto == "" {
			return fmt.Errorf("%s: struct %s has no etcd:message directive", at(ts), name)
		}
		m := &message{pos: at(ts), goName: name, proto: proto}
		s.messages = append(s.messages, m)
		s.byGo[name] = m
		for _, af := range t.Fields.List {
			f, err := newField(at, af)
			if err != nil {
				return err
			}
			m.fields = append(m.fields, f)
		}
		slices.SortFunc(m.fields, func(a, b *field) int { return a.num - b.num })
	case *ast.Ident:
		proto := directive("enum", doc)
		switch {
		case proto != "" && t.Name == "int32":
			s.enums[name] = &enum{pos: at(ts), goName: name, proto: proto, values: make(map[string]enumValue)}
		case proto == "" && t.Name == "int64":
			s.ints[name] = true
		default:
			return fmt.Errorf("%s: type %s is neither an int32 with an etcd:enum directive nor an int64", at(ts), name)
		}
	default:
		return fmt.Errorf("%s: type %s is of no kind that wiregen knows", at(ts), name)
	}
	return nil
}

func newField(at func(ast.Node) string, af *ast.Field) (*field, error) {
	if len(af.Names) != 1 || af.Tag == nil {
		return nil, fmt.Errorf("%s: want one name and an etcd tag", at(af))
	}
	raw, err := strconv.Unquote(af.Tag.Value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at(af), err)
	}
	f := &field{pos: at(af), goName: af.Names[0].Name}
	f.proto = normal(f.goName)
	num, rest, _ := strings.Cut(reflect.StructTag(raw).Get("etcd"), ",")
	if f.num, err = strconv.Atoi(num); err != nil {
		return nil, fmt.Errorf("%s: %s: no field number in the etcd tag", f.pos, f.goName)
	}
	for rest != "" {
		var option string
		option, rest, _ = strings.Cut(rest, ",")
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "name":
			f.proto = normal(value)
		case "oneof":
			f.oneof = value
		case "when":
			f.whenField, f.whenValue, _ = strings.Cut(value, ":")
		default:
			return nil, fmt.Errorf("%s: %s: unknown option %q in the etcd tag", f.pos, f.goName, key)
		}
	}
	t := af.Type
	switch x := t.(type) {
	case *ast.StarExpr:
		f.shape, t = pointer, x.X
	case *ast.ArrayType:
		if id, ok := x.Elt.(*ast.Ident); ok && id.Name == "byte" {
			f.elem = "bytes"
			return f, nil
		}
		f.shape, t = list, x.Elt
	}
	id, ok := t.(*ast.Ident)
	if !ok {
		return nil, fmt.Errorf("%s: %s: unsupported type", f.pos, f.goName)
	}
	f.elem = id.Name
	return f, nil
}

// normal maps the name of a field in Go and in protobuf to the same string.
func normal(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, "_", ""))
}

func (s *schema) addConst(at func(ast.Node) string, vs *ast.ValueSpec) error {
	id, ok := vs.Type.(*ast.Ident)
	if !ok || s.enums[id.Name] == nil {
		return fmt.Errorf("%s: constant of a type that is no enum", at(vs))
	}
	proto := directive("value", vs.Comment, vs.Doc)
	if proto == "" || len(vs.Names) != 1 || len(vs.Values) != 1 {
		return fmt.Errorf("%s: want one constant with its value and an etcd:value directive", at(vs))
	}
	lit, ok := vs.Values[0].(*ast.BasicLit)
	if !ok {
		return fmt.Errorf("%s: want a literal number", at(vs))
	}
	n, err := strconv.ParseInt(lit.Value, 0, 32)
	if err != nil {
		return fmt.Errorf("%s: %w", at(vs), err)
	}
	e := s.enums[id.Name]
	if _, dup := e.values[proto]; dup {
		return fmt.Errorf("%s: %s is there twice", at(vs), proto)
	}
	e.values[proto] = enumValue{vs.Names[0].Name, n}
	return nil
}

// resolve finds the message or enum of a field's type.
func (s *schema) resolve(m *message, f *field) error {
	bad := func(why string) error {
		return fmt.Errorf("%s: %s.%s: %s", f.pos, m.goName, f.goName, why)
	}
	f.msg, f.enum = s.byGo[f.elem], s.enums[f.elem]
	known := f.msg != nil || f.enum != nil || s.ints[f.elem] ||
		f.elem == "bytes" || slices.Contains(scalars, f.elem)
	switch {
	case !known:
		return bad("unknown type " + f.elem)
	case f.shape == pointer && f.msg == nil:
		return bad("only messages may be pointers")
	case f.shape == list && f.msg == nil && f.enum == nil && f.elem != "string":
		return bad("lists hold messages, enums or strings")
	case f.oneof != "" && f.shape != pointer && f.whenField == "":
		return bad("a oneof's member is a pointer or has a when")
	case f.whenField != "" && (f.oneof == "" || f.shape != single || f.msg != nil):
		return bad("when is for the plain members of a oneof")
	}
	if f.whenField != "" {
		for _, other := range m.fields {
			if other.goName == f.whenField && s.hasConst(other.elem, f.whenValue) {
				return nil
			}
		}
		return bad("when names no field of an enum with that value")
	}
	return nil
}

func (s *schema) hasConst(enum, name string) bool {
	e := s.enums[enum]
	if e == nil {
		return false
	}
	for _, v := range e.values {
		if v.goName == name {
			return true
		}
	}
	return false
}
