package lua

import (
	"fmt"
	"math"
	"strconv"

	glua "github.com/yuin/gopher-lua"
)

// Int64 is an integer that a Lua number, a float64, cannot hold: IDs of leases, members and
// clusters beyond 2^53. Smaller ones are numbers. Scripts can compare them with each other,
// print them ("%d", tostring, ..), use them as keys of tables, calculate with them and pass
// them back without losing a bit. Their type is "userdata", they cannot be ordered beside
// a number, and == of one and a number is false.
type Int64 int64

// maxExact is the largest integer up to which a float64 holds every one.
const maxExact = 1 << 53

// String is the integer in decimal.
func (v Int64) String() string { return strconv.FormatInt(int64(v), 10) }

// Type makes an Int64 a value of Lua.
func (v Int64) Type() glua.LValueType { return glua.LTUserData }

// IntegerValue is v as a value of Lua: a number if that is exact, else an [Int64].
func IntegerValue(v int64) glua.LValue {
	if -maxExact <= v && v <= maxExact {
		return glua.LNumber(v)
	}
	return Int64(v)
}

// ToInteger is the integer that a value of Lua stands for: a whole number, an [Int64], or a
// string from which tonumber makes one. The error says what else it is.
func ToInteger(value glua.LValue) (int64, error) {
	switch v := value.(type) {
	case Int64:
		return int64(v), nil
	case glua.LNumber:
		return wholeNumber(float64(v))
	case glua.LString:
		if number := parseNumber(string(v)); number != glua.LNil {
			if n, err := ToInteger(number); err == nil {
				return n, nil
			}
		}
		return 0, fmt.Errorf("must be an integer, not the string %s", quoted(string(v)))
	default:
		return 0, fmt.Errorf("must be an integer, not a %s", value.Type())
	}
}

func wholeNumber(f float64) (int64, error) {
	switch {
	case f != math.Trunc(f): // also NaN
		return 0, fmt.Errorf("must be an integer, not %v", f)
	case f < -(1<<63) || f >= 1<<63: // also infinity
		return 0, fmt.Errorf("must be an integer of 64 bits, not %v", f)
	}
	return int64(f), nil
}

// quoted is a string for an error text, cut when it is long.
func quoted(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}

// registerInt64 gives all Int64 their operators. gopher-lua keeps one metatable for all
// values of type userdata that are not its own *LUserData, and there are no others.
func registerInt64(L *glua.LState) {
	mt := L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
		"__lt":       func(L *glua.LState) int { return give(L, glua.LBool(checkInt64(L, 1) < checkInt64(L, 2))) },
		"__le":       func(L *glua.LState) int { return give(L, glua.LBool(checkInt64(L, 1) <= checkInt64(L, 2))) },
		"__tostring": func(L *glua.LState) int { return give(L, glua.LString(L.Get(1).String())) },
		"__concat":   int64Concat,
		"__unm":      func(L *glua.LState) int { return give(L, IntegerValue(-checkInt64(L, 1))) },
		"__add":      arithmetic(func(a, b int64) int64 { return a + b }, func(a, b float64) float64 { return a + b }),
		"__sub":      arithmetic(func(a, b int64) int64 { return a - b }, func(a, b float64) float64 { return a - b }),
		"__mul":      arithmetic(func(a, b int64) int64 { return a * b }, func(a, b float64) float64 { return a * b }),
		"__div":      arithmetic(nil, func(a, b float64) float64 { return a / b }),
		"__mod":      arithmetic(moduloInteger, func(a, b float64) float64 { return a - math.Floor(a/b)*b }),
		"__pow":      arithmetic(nil, math.Pow),
	})
	mt.RawSetString("__metatable", glua.LString("integer"))
	L.SetMetatable(Int64(0), mt)
}

func checkInt64(L *glua.LState, n int) int64 {
	v, ok := L.Get(n).(Int64)
	if !ok {
		L.RaiseError("attempt to compare an integer beyond 2^53 with a %s", L.Get(n).Type())
	}
	return int64(v)
}

func int64Concat(L *glua.LState) int {
	var text string
	for n := 1; n <= 2; n++ {
		switch v := L.Get(n).(type) {
		case Int64, glua.LString, glua.LNumber:
			text += v.String()
		default:
			L.RaiseError("attempt to concatenate a %s value", v.Type())
		}
	}
	return give(L, glua.LString(text))
}

// arithmetic is an operator that is exact, modulo 2^64, when both sides are integers and
// there is an exact function, and is calculated with floats otherwise.
func arithmetic(exact func(a, b int64) int64, approximate func(a, b float64) float64) glua.LGFunction {
	return func(L *glua.LState) int {
		a, aErr := ToInteger(L.Get(1))
		b, bErr := ToInteger(L.Get(2))
		if exact != nil && aErr == nil && bErr == nil {
			return give(L, IntegerValue(exact(a, b)))
		}
		return give(L, glua.LNumber(approximate(checkFloat(L, 1), checkFloat(L, 2))))
	}
}

func checkFloat(L *glua.LState, n int) float64 {
	if v, ok := L.Get(n).(Int64); ok {
		return float64(v)
	}
	return float64(L.CheckNumber(n))
}

// moduloInteger has the sign of b, as in Lua. b is not 0 where a is beyond 2^53, or else the
// result is 0.
func moduloInteger(a, b int64) int64 {
	if b == 0 || b == -1 {
		return 0
	}
	if m := a % b; m != 0 && (m < 0) != (b < 0) {
		return m + b
	} else {
		return m
	}
}
