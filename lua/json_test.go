package lua

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	glua "github.com/yuin/gopher-lua"
)

func TestJSON(t *testing.T) {
	expect(t, `
local json = require "silly.encoding.json"
local function show(...) print(...) end
show(json.encode {})
show(json.encode {b = 1, a = {x = true}, c = {1, 2.5, "s"}})
show(json.encode {[10] = "ten", ["x"] = false})
show(json.encode {"\1\n\"\\/ü\127"})
show(json.encode {1e15, 2^53, 1e300, 0.1, -0.0, tonumber "9223372036854775807"})
show(json.encode {json.null, 1})
show(json.encode {1, nil, 3})
show(json.encode {1, name = 2})
show(json.encode {f = print})
show(json.encode {0 / 0})
show(json.encode {math.huge})
show(json.encode {"\255"})
show(json.encode {[1.5] = 1, ["1.5"] = 2})
local loop = {} loop.loop = loop
show(json.encode(loop))
show(pcall(json.encode, 5))
show(json.decode "5 rest")
show(json.decode '"ü\\u00fc\\ud83d\\ude00"')
local text = '{"a": [1, null, {"b": null}], "n": 9223372036854775807, "m": 9223372036854775808, "f": 1e2}'
local v, at = json.decode(text)
show(#v.a, v.a[2] == json.null, v.a[3].b, v.n, v.m, v.f, at - #text)
for _, bad in ipairs {"", "{", "[1,", '{"a" 1}', "tru", "[1 2]", "nul", '"\255"', "1e999", "[9223372036854775809]", "-18446744073709551617", "{1: 2}", ("["):rep(1001)} do
	show(json.decode(bad))
end
show(json.decode(("["):rep(999) .. ("]"):rep(999)) ~= nil)
`, `[]
{"a":{"x":true},"b":1,"c":[1,2.5,"s"]}
{"10":"ten","x":false}
["\u0001\n\"\\/ü\u007f"]
[1000000000000000,9007199254740992,1e+300,0.1,0,9223372036854775807]
[null,1]
nil	json: a list of 3 values has 2 members: it has holes or names as well
nil	json: a list of 1 values has 2 members: it has holes or names as well
nil	json: cannot encode a function
nil	json: cannot encode the number NaN
nil	json: cannot encode the number +Inf
nil	json: the string "\xff" is not UTF-8
nil	json: two members have the name "1.5"
nil	json: nested deeper than 1000
false	script:19: bad argument #1 to (anonymous) (table expected, got number)
5	2
üü😀	23
3	true	nil	9223372036854775807	9.223372036854776e+18	100	1
nil	json: the text ends too early
nil	json: the text ends too early
nil	json: the text ends too early
nil	json: invalid character '1' after object key near position 5
nil	json: the text ends too early
nil	json: invalid character '2' after array element near position 3
nil	json: the text ends too early
nil	json: the text is not UTF-8
nil	json: the number 1e999 is too large near position 5
nil	json: the integer 9223372036854775809 is beyond 2^63 and would lose digits near position 20
nil	json: the integer -18446744073709551617 is beyond 2^63 and would lose digits near position 21
nil	json: invalid character '1' near position 1
nil	json: nested deeper than 1000 near position 1001
true
`)
}

// FuzzJSON compares with encoding/json: what it accepts, this decodes, and what this
// encodes of that means the same to it.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{`{}`, `[]`, `{"a":[1,2.5,true,null,"x"],"b":{"c":-9223372036854775808}}`, `"\ud800"`, `[[[]]]`, `1e400`, `{"":0}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, end, err := decodeJSON(text)
		if err != nil {
			if wellFormed(text) && !strings.ContainsAny(text, "eE") && !long.MatchString(text) && len(text) < maxJSONDepth {
				t.Errorf("%q is refused: %v", text, err)
			}
			return
		}
		table, ok := value.(*glua.LTable)
		if !ok {
			return
		}
		encoded, err := appendTable(nil, table, maxJSONDepth)
		if err != nil {
			t.Fatalf("%q cannot be encoded again: %v", text, err)
		}
		if was, is := plain(t, text[:end]), plain(t, string(encoded)); !reflect.DeepEqual(was, is) {
			t.Errorf("%q has become %q", text[:end], encoded)
		}
	})
}

// long finds integers that may be refused because they would lose digits.
var long = regexp.MustCompile("[0-9]{19}")

func wellFormed(text string) bool {
	return json.Valid([]byte(text)) && strings.ToValidUTF8(text, "") == text
}

// plain is the meaning of a text as floats, without the nulls and the emptiness that Lua
// tables cannot express.
func plain(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return withoutNulls(value)
}

func withoutNulls(value any) any {
	switch v := value.(type) {
	case map[string]any:
		members := map[string]any{}
		for name, member := range v {
			if member != nil {
				members[name] = withoutNulls(member)
			}
		}
		if len(members) == 0 {
			return []any{} // Lua has one empty table
		}
		return members
	case []any:
		list := []any{}
		for _, member := range v {
			list = append(list, withoutNulls(member))
		}
		return list
	}
	return value
}
