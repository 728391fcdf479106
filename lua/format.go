package lua

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// directive is one of the directives of string.format: flags, width, precision, verb.
var directive = regexp.MustCompile(`^%([-+ #0]*)([0-9]{0,2})(\.[0-9]{0,2})?(.)`)

// formatted is string.format, which is C's printf with %q and without %n and %*.
func formatted(L *glua.LState) string {
	format := L.CheckString(1)
	var b strings.Builder
	for n := 2; ; {
		at := strings.IndexByte(format, '%')
		if at < 0 {
			b.WriteString(format)
			return b.String()
		}
		b.WriteString(format[:at])
		format = format[at:]
		parts := directive.FindStringSubmatch(format)
		switch {
		case parts == nil:
			L.RaiseError("invalid conversion '%s' to 'format'", cut(format))
		case parts[0] == "%%":
			b.WriteByte('%')
		default:
			b.WriteString(formatOne(L, n, parts))
			n++
		}
		format = format[len(parts[0]):]
	}
}

// formatOne formats argument n.
func formatOne(L *glua.LState, n int, parts []string) string {
	flags, width, precision, verb := parts[1], parts[2], parts[3], parts[4]
	spec := "%" + flags + width + precision
	switch verb {
	case "d", "i":
		return fmt.Sprintf(spec+"d", formatInteger(L, n))
	case "u":
		return fmt.Sprintf(spec+"d", uint64(formatInteger(L, n)))
	case "x", "X", "o":
		return fmt.Sprintf(spec+verb, uint64(formatInteger(L, n)))
	case "c":
		return pad(string([]byte{byte(formatInteger(L, n))}), flags, width)
	case "e", "E", "f", "F", "g", "G", "a", "A":
		return formatFloat(L, n, flags, width, precision, verb)
	case "s":
		text := L.ToStringMeta(L.CheckAny(n)).String()
		if precision != "" {
			most, _ := strconv.Atoi(precision[1:]) // "." alone is 0
			text = text[:min(most, len(text))]
		}
		return pad(text, flags, width)
	case "q":
		return quoteLua(L.CheckString(n))
	}
	L.RaiseError("invalid conversion '%s' to 'format'", parts[0])
	return ""
}

func formatInteger(L *glua.LState, n int) int64 {
	value := L.Get(n)
	if f, ok := value.(glua.LNumber); ok && f != glua.LNumber(math.Trunc(float64(f))) {
		L.RaiseError("%s", errorText(n, "format", "number has no integer representation"))
	}
	v, err := ToInteger(value)
	if err != nil {
		L.RaiseError("%s", errorText(n, "format", "number expected, got "+typeName(L, n)))
	}
	return v
}

func typeName(L *glua.LState, n int) string {
	if n > L.GetTop() {
		return "no value"
	}
	return L.Get(n).Type().String()
}

func formatFloat(L *glua.LState, n int, flags, width, precision, verb string) string {
	f, isInt64 := L.Get(n).(Int64)
	v := float64(f)
	if !isInt64 {
		if L.Get(n).Type() != glua.LTNumber && L.Get(n).Type() != glua.LTString {
			L.RaiseError("%s", errorText(n, "format", "number expected, got "+typeName(L, n)))
		}
		v = float64(L.CheckNumber(n))
	}
	if math.IsInf(v, 0) || math.IsNaN(v) {
		text := strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(v, 'g', -1, 64)), "+")
		return pad(text, strings.ReplaceAll(flags, "0", ""), width)
	}
	switch verb {
	case "a":
		verb = "x"
	case "A":
		verb = "X"
	case "g", "G":
		if precision == "" {
			precision = ".6"
		}
	}
	return fmt.Sprintf("%"+flags+width+precision+verb, v)
}

// pad fills a text up to a width in bytes.
func pad(text, flags, width string) string {
	n, _ := strconv.Atoi(width) // none is 0
	fill := strings.Repeat(" ", max(0, n-len(text)))
	if strings.Contains(flags, "-") {
		return text + fill
	}
	return fill + text
}

// quoteLua is a string as Lua reads it back.
func quoteLua(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\', '\n':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\r':
			b.WriteString(`\r`)
		case 0:
			b.WriteString(`\000`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func cut(s string) string {
	const most = 10
	return s[:min(most, len(s))]
}
