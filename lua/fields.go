package lua

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// fields reads the table of a request or of a configuration, field by field. It keeps the
// first error, which names the field, and reads on, so that callers ask for it once.
type fields struct {
	op    string // the function that was given the table, for the error
	table *glua.LTable
	err   error
}

// requestError is a request that was refused before it reached the client.
type requestError struct{ op, text string }

func (e *requestError) Error() string { return e.op + ": " + e.text }

// readFields reads a table that may have the known fields and no others.
func readFields(op string, table *glua.LTable, known []string) *fields {
	f := &fields{op: op, table: table}
	var unknown []string
	for key, _ := table.Next(glua.LNil); key != glua.LNil; key, _ = table.Next(key) {
		name, isName := key.(glua.LString)
		switch {
		case !isName:
			unknown = append(unknown, fmt.Sprintf("a %s as the name of a field", key.Type()))
		case !slices.Contains(known, string(name)):
			unknown = append(unknown, "unknown field "+quoted(string(name))+hint(string(name), known))
		}
	}
	if len(unknown) > 0 {
		f.fail("%s", slices.Min(unknown))
	}
	return f
}

// hint is what the field was most likely meant to be.
func hint(name string, known []string) string {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	for _, k := range known {
		if plain(k) == plain(name) || plain(k)+"s" == plain(name) || plain(k) == plain(name)+"s" {
			return ", did you mean " + k + "?"
		}
	}
	return "; there are " + strings.Join(known, ", ")
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = &requestError{f.op, fmt.Sprintf(format, args...)}
	}
}

func (f *fields) has(name string) bool { return f.table.RawGetString(name) != glua.LNil }

// require fails when the field is missing.
func (f *fields) require(name string) {
	if !f.has(name) {
		f.fail("%s is required", name)
	}
}

// str reads a string, which may be written as a number, as everywhere in Lua.
func (f *fields) str(name string) string {
	value := f.table.RawGetString(name)
	if value == glua.LNil {
		return ""
	}
	return f.toString(name, value)
}

func (f *fields) toString(name string, value glua.LValue) string {
	switch value.(type) {
	case glua.LString, glua.LNumber, Int64:
		return value.String()
	}
	f.fail("%s must be a string, not a %s", name, value.Type())
	return ""
}

func (f *fields) boolean(name string) bool {
	switch v := f.table.RawGetString(name).(type) {
	case glua.LBool:
		return bool(v)
	case *glua.LNilType:
		return false
	default:
		f.fail("%s must be true or false, not a %s", name, v.Type())
		return false
	}
}

func (f *fields) integer(name string) int64 {
	value := f.table.RawGetString(name)
	if value == glua.LNil {
		return 0
	}
	n, err := ToInteger(value)
	if err != nil {
		f.fail("%s %s", name, err)
	}
	return n
}

// number reads a number that need not be whole.
func (f *fields) number(name string) float64 {
	value := f.table.RawGetString(name)
	if text, ok := value.(glua.LString); ok {
		if value = parseNumber(string(text)); value == glua.LNil {
			f.fail("%s must be a number, not the string %s", name, quoted(string(text)))
			return 0
		}
	}
	switch v := value.(type) {
	case glua.LNumber:
		return float64(v)
	case Int64:
		return float64(v)
	case *glua.LNilType:
	default:
		f.fail("%s must be a number, not a %s", name, v.Type())
	}
	return 0
}

// list reads a table of values from 1 on.
func (f *fields) list(name string) (values []glua.LValue) {
	switch v := f.table.RawGetString(name).(type) {
	case *glua.LTable:
		n := v.Len()
		for i := 1; i <= n; i++ {
			values = append(values, v.RawGetInt(i))
		}
		v.ForEach(func(key, _ glua.LValue) {
			if i, err := ToInteger(key); err != nil || i < 1 || i > int64(n) {
				f.fail("%s must be a list, and has the field %s", name, quoted(key.String()))
			}
		})
	case *glua.LNilType:
	default:
		f.fail("%s must be a list, not a %s", name, v.Type())
	}
	return values
}

// strings reads a list of strings.
func (f *fields) strings(name string) (list []string) {
	for i, value := range f.list(name) {
		list = append(list, f.toString(name+"["+strconv.Itoa(i+1)+"]", value))
	}
	return list
}

// enum reads the name of a constant, in any case, and returns its index in names.
func (f *fields) enum(name string, names ...string) int {
	value := f.table.RawGetString(name)
	if value == glua.LNil {
		return 0
	}
	text, ok := value.(glua.LString)
	i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, string(text)) })
	if !ok || i < 0 {
		f.fail("%s must be one of %s, not %s", name, strings.Join(names, ", "), quoted(value.String()))
		return 0
	}
	return i
}
