package lua

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	glua "github.com/yuin/gopher-lua"
)

// maxJSONDepth is how deep tables and JSON texts may nest. A table that contains itself
// is deeper.
const maxJSONDepth = 1000

// jsonNull stands for a null inside an array, which would end a Lua list.
var jsonNull = &glua.LUserData{Value: "json.null", Metatable: glua.LNil}

var errTooDeep = fmt.Errorf("nested deeper than %d", maxJSONDepth)

// jsonModule is silly.encoding.json.
func (r *runtime) jsonModule(L *glua.LState) *glua.LTable {
	module := L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{"encode": jsonEncode, "decode": jsonDecode})
	module.RawSetString("null", jsonNull)
	return module
}

// jsonEncode returns the text of a table, or nil and what of it JSON cannot express.
func jsonEncode(L *glua.LState) int {
	text, err := appendTable(nil, L.CheckTable(1), maxJSONDepth)
	if err != nil {
		return refuse(L, glua.LNil, "json: "+err.Error())
	}
	return give(L, glua.LString(text))
}

// jsonDecode returns a value and the position after it, or nil and what is wrong with the
// text.
func jsonDecode(L *glua.LState) int {
	value, end, err := decodeJSON(L.CheckString(1))
	if err != nil {
		return refuse(L, glua.LNil, "json: "+err.Error())
	}
	L.Push(value)
	L.Push(glua.LNumber(end + 1))
	return 2
}

func appendValue(text []byte, value glua.LValue, depth int) ([]byte, error) {
	switch v := value.(type) {
	case glua.LBool:
		return strconv.AppendBool(text, bool(v)), nil
	case Int64:
		return strconv.AppendInt(text, int64(v), 10), nil
	case glua.LNumber:
		return appendNumber(text, float64(v))
	case glua.LString:
		return appendString(text, string(v))
	case *glua.LTable:
		if depth == 0 {
			return nil, errTooDeep
		}
		return appendTable(text, v, depth)
	}
	if value == jsonNull {
		return append(text, "null"...), nil
	}
	return nil, fmt.Errorf("cannot encode a %s", value.Type())
}

func appendNumber(text []byte, f float64) ([]byte, error) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, fmt.Errorf("cannot encode the number %v", f)
	case f == math.Trunc(f) && math.Abs(f) <= maxExact:
		return strconv.AppendInt(text, int64(f), 10), nil
	}
	return strconv.AppendFloat(text, f, 'g', -1, 64), nil
}

// appendTable writes a table with [1], or an empty one, as an array, and any other as an
// object with sorted names.
func appendTable(text []byte, table *glua.LTable, depth int) ([]byte, error) {
	if table.RawGetInt(1) != glua.LNil || isEmpty(table) {
		return appendArray(text, table, table.Len(), depth)
	}
	return appendObject(text, table, depth)
}

func isEmpty(table *glua.LTable) bool {
	key, _ := table.Next(glua.LNil)
	return key == glua.LNil
}

func appendArray(text []byte, table *glua.LTable, n, depth int) (_ []byte, err error) {
	members := 0
	table.ForEach(func(glua.LValue, glua.LValue) { members++ })
	if members != n {
		return nil, fmt.Errorf("a list of %d values has %d members: it has holes or names as well", n, members)
	}
	text = append(text, '[')
	for i := 1; i <= n; i++ {
		if i > 1 {
			text = append(text, ',')
		}
		if text, err = appendValue(text, table.RawGetInt(i), depth-1); err != nil {
			return nil, err
		}
	}
	return append(text, ']'), nil
}

func appendObject(text []byte, table *glua.LTable, depth int) (_ []byte, err error) {
	members := map[string]glua.LValue{}
	table.ForEach(func(key, value glua.LValue) {
		switch key.(type) {
		case glua.LString, glua.LNumber, Int64:
			if _, twice := members[key.String()]; twice {
				err = cmp.Or(err, fmt.Errorf("two members have the name %s", quoted(key.String())))
			}
			members[key.String()] = value
		default:
			err = cmp.Or(err, fmt.Errorf("cannot encode a %s as a name", key.Type()))
		}
	})
	if err != nil {
		return nil, err
	}
	text = append(text, '{')
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			text = append(text, ',')
		}
		if text, err = appendString(text, name); err != nil {
			return nil, err
		}
		text = append(text, ':')
		if text, err = appendValue(text, members[name], depth-1); err != nil {
			return nil, err
		}
	}
	return append(text, '}'), nil
}

func appendString(text []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("the string %s is not UTF-8", quoted(s))
	}
	const hex = "0123456789abcdef"
	text = append(text, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			text = append(text, '\\', c)
		case c == '\n':
			text = append(text, '\\', 'n')
		case c == '\r':
			text = append(text, '\\', 'r')
		case c == '\t':
			text = append(text, '\\', 't')
		case c < ' ' || c == 0x7f:
			text = append(text, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			text = append(text, c)
		}
	}
	return append(text, '"'), nil
}
