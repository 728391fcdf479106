package main

import (
	"cmp"
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

// A schema holds the declarations of the sources.
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

	// check and emit set the fields below.

	request  bool // sent by the client: appended in normal builds
	response bool // decoded in normal builds
	cyclic   bool // may contain itself
	arena    bool // its decoder takes the arena
}

// An enum is an integer type with an etcd:enum directive, and an etcd:value
// directive for each constant.
type enum struct {
	pos    string
	goName string
	proto  string
	protos map[string]string    // the directives: proto names by Go name
	values map[string]enumValue // by proto name
}

type enumValue struct {
	goName string
	number int64
}

// sorted returns the proto names of e by number.
func (e *enum) sorted() []string {
	return slices.SortedFunc(maps.Keys(e.values), func(a, b string) int {
		return cmp.Compare(e.values[a].number, e.values[b].number)
	})
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
	// In a oneof of plain fields, this member is chosen if whenField has the value
	// whenValue.
	whenField, whenValue string
	// after is a field of the struct that the message does not have: a string that is
	// written before the value of this one, as if it were part of it.
	after string

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
	for _, name := range slices.Sorted(maps.Keys(s.enums)) {
		errs = append(errs, s.enums[name].complete())
	}
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

// directives returns the arguments of the comments //etcd:name in doc.
func directives(name string, doc *ast.CommentGroup) (args []string) {
	if doc == nil {
		return nil
	}
	for _, c := range doc.List {
		if arg, ok := strings.CutPrefix(c.Text, "//etcd:"+name+" "); ok {
			args = append(args, strings.TrimSpace(arg))
		}
	}
	return args
}

// directive returns the argument of the first comment //etcd:name in doc.
func directive(name string, doc *ast.CommentGroup) string {
	if args := directives(name, doc); len(args) != 0 {
		return args[0]
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
			if f == nil {
				continue
			}
			m.fields = append(m.fields, f)
		}
		slices.SortFunc(m.fields, func(a, b *field) int { return a.num - b.num })
	case *ast.Ident:
		proto := directive("enum", doc)
		switch {
		case proto != "" && t.Name == "int32":
			e, err := newEnum(at(ts), name, proto, directives("value", doc))
			if err != nil {
				return err
			}
			s.enums[name] = e
		case proto == "" && t.Name == "int64":
			s.ints[name] = true
		default:
			return fmt.Errorf("%s: type %s is neither an int32 with an etcd:enum directive nor an int64", at(ts), name)
		}
	default:
		return fmt.Errorf("%s: wiregen does not support the kind of type %s", at(ts), name)
	}
	return nil
}

// options reads what follows the number in the etcd tag.
func (f *field) options(rest string) error {
	for rest != "" {
		var option string
		option, rest, _ = strings.Cut(rest, ",")
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "name":
			f.proto = normal(value)
		case "oneof":
			f.oneof = value
		case "after":
			f.after = value
		case "when":
			f.whenField, f.whenValue, _ = strings.Cut(value, ":")
		default:
			return fmt.Errorf("%s: %s: unknown option %q in the etcd tag", f.pos, f.goName, key)
		}
	}
	return nil
}

// newField reads a field; it returns nil for one that the message does not have.
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
	if num == "-" {
		return nil, nil
	}
	if f.num, err = strconv.Atoi(num); err != nil {
		return nil, fmt.Errorf("%s: %s: no field number in the etcd tag", f.pos, f.goName)
	}
	if err := f.options(rest); err != nil {
		return nil, err
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

// normal maps a field's names in Go and in protobuf to the same string.
func normal(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, "_", ""))
}

// newEnum returns an enum without its constants. Each of values is a constant's name
// in Go and in protobuf.
func newEnum(pos, goName, proto string, values []string) (*enum, error) {
	e := &enum{pos: pos, goName: goName, proto: proto, protos: make(map[string]string), values: make(map[string]enumValue)}
	taken := make(map[string]bool)
	for _, v := range values {
		name, protoName, ok := strings.Cut(v, " ")
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: etcd:value %q: want a constant and its name in etcd", pos, v)
		case e.protos[name] != "":
			return nil, fmt.Errorf("%s: etcd:value %s occurs twice", pos, name)
		case taken[protoName]:
			return nil, fmt.Errorf("%s: etcd:value %s occurs twice", pos, protoName)
		}
		e.protos[name] = protoName
		taken[protoName] = true
	}
	return e, nil
}

// complete rejects directives without a constant.
func (e *enum) complete() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(e.protos)) {
		if _, ok := e.values[e.protos[name]]; !ok {
			errs = append(errs, fmt.Errorf("%s: etcd:value %s: %s has no such constant", e.pos, name, e.goName))
		}
	}
	return errors.Join(errs...)
}

func (s *schema) addConst(at func(ast.Node) string, vs *ast.ValueSpec) error {
	id, ok := vs.Type.(*ast.Ident)
	if !ok || s.enums[id.Name] == nil {
		return fmt.Errorf("%s: constant of a type that is not an enum", at(vs))
	}
	if len(vs.Names) != 1 || len(vs.Values) != 1 {
		return fmt.Errorf("%s: want one constant with its value", at(vs))
	}
	lit, ok := vs.Values[0].(*ast.BasicLit)
	if !ok {
		return fmt.Errorf("%s: want a literal number", at(vs))
	}
	n, err := strconv.ParseInt(lit.Value, 0, 32)
	if err != nil {
		return fmt.Errorf("%s: %w", at(vs), err)
	}
	e, name := s.enums[id.Name], vs.Names[0].Name
	proto, ok := e.protos[name]
	if !ok {
		return fmt.Errorf("%s: %s has no etcd:value directive for %s", at(vs), e.goName, name)
	}
	e.values[proto] = enumValue{name, n}
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
		return bad("a member of a oneof must be a pointer or have a when")
	case f.after != "" && (f.elem != "string" || f.shape != single):
		return bad("only a string may come after another field")
	case f.whenField != "" && (f.oneof == "" || f.shape != single || f.msg != nil):
		return bad("only plain members of a oneof may have a when")
	}
	if f.whenField != "" {
		for _, other := range m.fields {
			if other.goName == f.whenField && s.hasConst(other.elem, f.whenValue) {
				return nil
			}
		}
		return bad("when must name an enum field and one of its values")
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
