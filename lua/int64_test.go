package lua

import (
	"math"
	"testing"

	glua "github.com/yuin/gopher-lua"
)

func TestIntegerValue(t *testing.T) {
	for _, n := range []int64{0, 1, -1, maxExact - 1, maxExact, -maxExact} {
		if v, ok := IntegerValue(n).(glua.LNumber); !ok || int64(v) != n {
			t.Errorf("IntegerValue(%d) is %v of type %T, want the number", n, v, IntegerValue(n))
		}
	}
	for _, n := range []int64{maxExact + 1, -maxExact - 1, math.MaxInt64, math.MinInt64} {
		if v := IntegerValue(n); v != Int64(n) {
			t.Errorf("IntegerValue(%d) is %v of type %T, want an Int64", n, v, v)
		}
	}
}

func TestToInteger(t *testing.T) {
	for _, tt := range []struct {
		value glua.LValue
		want  int64
		err   string
	}{
		{glua.LNumber(5), 5, ""},
		{glua.LNumber(-(1 << 63)), math.MinInt64, ""},
		{glua.LNumber(1 << 63), 0, "must be an integer of 64 bits, not 9.223372036854776e+18"},
		{glua.LNumber(math.Inf(1)), 0, "must be an integer of 64 bits, not +Inf"},
		{glua.LNumber(math.NaN()), 0, "must be an integer, not NaN"},
		{glua.LNumber(0.5), 0, "must be an integer, not 0.5"},
		{Int64(math.MaxInt64), math.MaxInt64, ""},
		{glua.LString(" 9223372036854775807 "), math.MaxInt64, ""},
		{glua.LString("9223372036854775808"), 0, `must be an integer, not the string "9223372036854775808"`},
		{glua.LString("0x10"), 16, ""},
		{glua.LString("3e2"), 300, ""},
		{glua.LString("5.0"), 5, ""},
		{glua.LString("5 x"), 0, `must be an integer, not the string "5 x"`},
		{glua.LString("1.5"), 0, `must be an integer, not the string "1.5"`},
		{glua.LTrue, 0, "must be an integer, not a boolean"},
		{glua.LNil, 0, "must be an integer, not a nil"},
	} {
		got, err := ToInteger(tt.value)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tt.want || text != tt.err {
			t.Errorf("ToInteger(%v): %d, %q; want %d, %q", tt.value, got, text, tt.want, tt.err)
		}
	}
}

// FuzzInteger: every integer of 64 bits survives being a Lua value, alone and as text.
func FuzzInteger(f *testing.F) {
	for _, n := range []int64{0, 1, -1, maxExact, maxExact + 1, math.MaxInt64, math.MinInt64} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		value := IntegerValue(n)
		if got, err := ToInteger(value); got != n || err != nil {
			t.Errorf("ToInteger(IntegerValue(%d)) is %d, %v", n, got, err)
		}
		if got := parseNumber(value.String()); got != value {
			t.Errorf("tonumber(tostring(%d)) is %v", n, got)
		}
	})
}

func TestInt64InScripts(t *testing.T) {
	expect(t, `
local big, same, other = tonumber "9223372036854775807", tonumber "9223372036854775807", tonumber "-9007199254740993"
print(big, big == same, big ~= other, big == 5, rawequal(big, same))
print(other < big, big <= same, big > other, pcall(function() return big > 0 end))
print(big .. "/" .. other, #tostring(big), "n" .. big, big .. 1)
print(string.format("%d %x %s %i %5.1f", big, other, big, other, big))
local t = {[big] = "big", [other] = "other"}
print(t[same], t[tonumber "-9007199254740993"], next({[big] = 1}) == big)
print(math.type(big), math.type(1), math.type(1.5), math.type "1", type(big), getmetatable(big))
print(big - 1, big - big, other + 1, -other, big * 1, big % 10, big / 1 > 9e18, other % 4)
print(tonumber(big), tonumber "1e3", tonumber "0x10", tonumber "0x7fffffffffffffff", tonumber "inf", tonumber "", tonumber "1 2")
print(tonumber("ff", 16), tonumber("9", 8), tonumber("7fffffffffffffff", 16), tonumber(nil))
print(tonumber(string.format("%x", other), 16) == other, tonumber "0xffffffffffffffff", tonumber "-0x10", tonumber "0x-10")
print(pcall(setmetatable, big, {}))
table.sort(t)
print(table.concat({big, other, 1, "x"}, " "))
`, `9223372036854775807	true	true	false	true
true	true	true	false	script:4: attempt to compare number with userdata
9223372036854775807/-9007199254740993	19	n9223372036854775807	9223372036854775807`+"1"+`
9223372036854775807 ffdfffffffffffff 9223372036854775807 -9007199254740993 9223372036854775808.0
big	other	true
integer	integer	float	nil	userdata	integer
9223372036854775806	0	-9007199254740992	9007199254740993	9223372036854775807	7	true	3
9223372036854775807	1000	16	9223372036854775807	nil	nil	nil
255	nil	9223372036854775807	nil
true	-1	-16	nil
false	script:14: cannot change a protected metatable
9223372036854775807 -9007199254740993 1 x
`)
}
