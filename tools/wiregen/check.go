package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	_ "go.etcd.io/etcd/api/v3/etcdserverpb" // the descriptors
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// apiFiles lists the files of etcd's API, by their registered paths, that declare
// the services and all messages they use.
var apiFiles = []string{"rpc.proto", "kv.proto", "auth.proto"}

// services lists the services that package etcd calls.
var services = []protoreflect.FullName{
	"etcdserverpb.KV",
	"etcdserverpb.Lease",
	"etcdserverpb.Watch",
	"etcdserverpb.Cluster",
	"etcdserverpb.Maintenance",
	"etcdserverpb.Auth",
}

// check compares s with the descriptors of etcd and marks the messages of s as
// requests and responses.
func check(s *schema) error {
	c := checker{schema: s, byProto: make(map[string]*message)}
	for _, m := range s.messages {
		if other := c.byProto[m.proto]; other != nil {
			c.errorf("%s: %s is also the message of %s", m.pos, m.proto, other.goName)
		}
		c.byProto[m.proto] = m
		c.message(m)
	}
	for _, name := range slices.Sorted(maps.Keys(s.enums)) {
		c.enum(s.enums[name])
	}
	c.services()
	c.complete()
	return errors.Join(c.errs...)
}

type checker struct {
	schema  *schema
	byProto map[string]*message
	errs    []error
}

func (c *checker) errorf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// message compares the fields of m with those of etcd's message.
func (c *checker) message(m *message) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(m.proto))
	md, ok := d.(protoreflect.MessageDescriptor)
	if err != nil || !ok {
		c.errorf("%s: etcd has no message %s", m.pos, m.proto)
		return
	}
	seen := make(map[int]bool)
	for _, f := range m.fields {
		fd := md.Fields().ByNumber(protoreflect.FieldNumber(f.num))
		switch {
		case fd == nil:
			c.errorf("%s: %s has no field %d", f.pos, m.proto, f.num)
			continue
		case seen[f.num]:
			c.errorf("%s: field %d occurs twice", f.pos, f.num)
		}
		seen[f.num] = true
		c.field(f, fd)
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		_, waived := waivedFields[string(fd.FullName())]
		switch carried := seen[int(fd.Number())]; {
		case !carried && !waived:
			c.errorf("%s: field %s (%d) is neither carried nor waived", m.pos, fd.FullName(), fd.Number())
		case carried && waived:
			c.errorf("%s: field %s is waived but carried", m.pos, fd.FullName())
		}
	}
}

// field compares f with the descriptor of the field with its number.
func (c *checker) field(f *field, fd protoreflect.FieldDescriptor) {
	bad := func(format string, args ...any) {
		c.errorf("%s: %s (%s): %s", f.pos, f.goName, fd.FullName(), fmt.Sprintf(format, args...))
	}
	if f.proto != normal(string(fd.Name())) {
		bad("the name differs")
	}
	if (f.shape == list) != fd.IsList() {
		bad("repeated in one but not in the other")
	}
	if fd.IsMap() || fd.HasOptionalKeyword() {
		bad("maps and optional fields are not supported")
	}
	if f.shape == list && f.enum != nil && !fd.IsPacked() {
		bad("wiregen packs lists of enums, etcd doesn't")
	}
	oneof := ""
	if fd.ContainingOneof() != nil {
		oneof = string(fd.ContainingOneof().Name())
	}
	if f.oneof != oneof {
		bad("is in oneof %q, want %q", f.oneof, oneof)
	}
	want := ""
	switch kind := fd.Kind(); kind {
	case protoreflect.MessageKind:
		want = string(fd.Message().FullName())
	case protoreflect.EnumKind:
		want = string(fd.Enum().FullName())
	case protoreflect.BytesKind:
		// A Go string may hold any bytes.
		want = "bytes"
		if f.elem == "string" {
			want = "string"
		}
	default:
		want = kind.String()
	}
	if have := c.kind(f); have != want {
		bad("is %s, want %s", have, want)
	}
}

// kind returns the kind of f in protobuf's terms.
func (c *checker) kind(f *field) string {
	switch {
	case f.msg != nil:
		return f.msg.proto
	case f.enum != nil:
		return f.enum.proto
	case c.schema.ints[f.elem]:
		return "int64"
	default:
		return f.elem
	}
}

// enum compares the constants of e with the values of etcd's enum.
func (c *checker) enum(e *enum) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(e.proto))
	ed, ok := d.(protoreflect.EnumDescriptor)
	if err != nil || !ok {
		c.errorf("%s: etcd has no enum %s", e.pos, e.proto)
		return
	}
	for i := range ed.Values().Len() {
		v := ed.Values().Get(i)
		have, ok := e.values[string(v.Name())]
		switch {
		case !ok:
			c.errorf("%s: %s lacks %s (%d)", e.pos, e.goName, v.Name(), v.Number())
		case have.number != int64(v.Number()):
			c.errorf("%s: %s is %d, want %d", e.pos, have.goName, have.number, v.Number())
		}
	}
	for proto, v := range e.values {
		if ed.Values().ByName(protoreflect.Name(proto)) == nil {
			c.errorf("%s: %s: etcd has no %s.%s", e.pos, v.goName, e.proto, proto)
		}
	}
}

// services marks the messages that the methods of the services take and return.
func (c *checker) services() {
	for _, name := range services {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
		sd, ok := d.(protoreflect.ServiceDescriptor)
		if err != nil || !ok {
			c.errorf("etcd has no service %s", name)
			continue
		}
		for i := range sd.Methods().Len() {
			method := sd.Methods().Get(i)
			c.mark(method.Input(), method.FullName(), func(m *message) *bool { return &m.request })
			c.mark(method.Output(), method.FullName(), func(m *message) *bool { return &m.response })
		}
	}
	for _, m := range c.schema.messages {
		if !m.request && !m.response {
			c.errorf("%s: no service uses %s", m.pos, m.proto)
		}
	}
}

func (c *checker) mark(md protoreflect.MessageDescriptor, method protoreflect.FullName, flag func(*message) *bool) {
	m := c.byProto[string(md.FullName())]
	if m == nil {
		c.errorf("%s needs %s, which no struct carries", method, md.FullName())
		return
	}
	markReachable(m, flag)
}

func markReachable(m *message, flag func(*message) *bool) {
	if *flag(m) {
		return
	}
	*flag(m) = true
	for _, f := range m.fields {
		if f.msg != nil {
			markReachable(f.msg, flag)
		}
	}
}

// complete compares the files of the services with s: every message is carried or
// waived, every service is known, and every waiver names something that exists.
func (c *checker) complete() {
	found := make(map[string]bool)
	for _, path := range apiFiles {
		fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil {
			c.errorf("etcd has no file %s: %w", path, err)
			continue
		}
		for i := range fd.Services().Len() {
			if name := fd.Services().Get(i).FullName(); !slices.Contains(services, name) {
				c.errorf("service %s is not known to wiregen", name)
			}
		}
		for i := range fd.Messages().Len() {
			name := string(fd.Messages().Get(i).FullName())
			found[name] = true
			_, waived := waivedMessages[name]
			switch carried := c.byProto[name] != nil; {
			case !carried && !waived:
				c.errorf("message %s is neither carried nor waived", name)
			case carried && waived:
				c.errorf("message %s is waived but carried", name)
			}
		}
	}
	for name := range waivedMessages {
		if !found[name] {
			c.errorf("message %s is waived, but etcd doesn't have it", name)
		}
	}
	for name := range waivedFields {
		if _, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name)); err != nil {
			c.errorf("field %s is waived, but etcd doesn't have it", name)
		}
	}
}
