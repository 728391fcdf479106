package lua

import (
	"fmt"
	"io"
	"math"
	goruntime "runtime"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// openLibraries opens Lua's own libraries and replaces what does not fit: what would stop
// the process or keep the interpreter lock while it waits, and what does not know Int64.
// gopher-lua's channel is left out, since it waits with the lock held.
func (r *runtime) openLibraries(L *glua.LState) {
	for _, library := range []struct {
		name string
		open glua.LGFunction
	}{
		{glua.LoadLibName, glua.OpenPackage}, // the others need these two
		{glua.BaseLibName, glua.OpenBase},
		{glua.TabLibName, glua.OpenTable},
		{glua.IoLibName, glua.OpenIo},
		{glua.OsLibName, glua.OpenOs},
		{glua.StringLibName, glua.OpenString},
		{glua.MathLibName, glua.OpenMath},
		{glua.DebugLibName, glua.OpenDebug},
		{glua.CoroutineLibName, glua.OpenCoroutine},
	} {
		openLibrary(L, library.name, library.open)
	}
	registerInt64(L)
	L.SetField(L.GetGlobal("math"), "huge", glua.LNumber(math.Inf(1))) // gopher-lua's is finite
	replace(L, "_G", map[string]glua.LGFunction{
		"print": r.print, "tonumber": toNumber, "load": load, "collectgarbage": collectGarbage, "unpack": tableUnpack,
	})
	replace(L, "io", map[string]glua.LGFunction{"write": r.ioWrite})
	replace(L, "os", map[string]glua.LGFunction{"exit": r.exit, "setenv": nil})
	replace(L, "math", map[string]glua.LGFunction{"type": mathType})
	replace(L, "string", map[string]glua.LGFunction{
		"format": func(L *glua.LState) int { return give(L, glua.LString(formatted(L))) }, "rep": r.stringRep,
	})
	replace(L, "table", map[string]glua.LGFunction{"concat": tableConcat, "sort": tableSort, "pack": tablePack, "unpack": tableUnpack})
	r.replaceCoroutines(L)
	r.limitNesting(L)
}

func openLibrary(L *glua.LState, name string, open glua.LGFunction) {
	L.Push(L.NewFunction(open))
	L.Push(glua.LString(name))
	L.Call(1, 0)
}

// replace puts functions into a library; nil takes one out.
func replace(L *glua.LState, library string, functions map[string]glua.LGFunction) {
	table, ok := L.GetGlobal(library).(*glua.LTable)
	if !ok {
		return
	}
	for name, f := range functions {
		if f == nil {
			table.RawSetString(name, glua.LNil)
		} else {
			table.RawSetString(name, L.NewFunction(f))
		}
	}
}

func (r *runtime) print(L *glua.LState) int {
	_, _ = io.WriteString(r.stdout, line(L, "\t")+"\n") // like C's, print has no errors
	return 0
}

func (r *runtime) ioWrite(L *glua.LState) int {
	for i := 1; i <= L.GetTop(); i++ {
		if _, err := io.WriteString(r.stdout, L.CheckString(i)); err != nil {
			return refuse(L, glua.LNil, err.Error())
		}
	}
	return give(L, glua.LTrue)
}

// toNumber is tonumber, which returns an Int64 for digits that stand for one.
func toNumber(L *glua.LState) int {
	switch v := L.CheckAny(1).(type) {
	case glua.LNumber, Int64:
		return give(L, v)
	case glua.LString:
		if L.Get(2) != glua.LNil {
			return give(L, inBase(string(v), L.CheckInt(2)))
		}
		return give(L, parseNumber(string(v)))
	}
	return give(L, glua.LNil)
}

func inBase(text string, base int) glua.LValue {
	if base < 2 || base > 36 {
		return glua.LNil
	}
	text = strings.ToLower(strings.TrimSpace(text))
	if n, err := strconv.ParseInt(text, base, 64); err == nil {
		return IntegerValue(n)
	}
	if n, err := strconv.ParseUint(text, base, 64); err == nil {
		return IntegerValue(int64(n)) // as %x writes it
	}
	return glua.LNil
}

// parseNumber reads a number as Lua writes them: decimal or hexadecimal, and no names.
func parseNumber(text string) glua.LValue {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return IntegerValue(n)
	}
	lower := strings.ToLower(text)
	digits := strings.TrimLeft(lower, "+-")
	hexadecimal := strings.HasPrefix(digits, "0x")
	if strings.Contains(lower, "_") || !hexadecimal && strings.ContainsAny(lower, "nipx") { // inf, nan, 0b1p3
		return glua.LNil
	}
	if hexadecimal {
		if n := inBase(strings.Replace(lower, "0x", "", 1), 16); n != glua.LNil && !strings.ContainsAny(digits, "+-") {
			return n
		}
		if !strings.Contains(lower, "p") {
			lower += "p0"
		}
	}
	f, err := strconv.ParseFloat(lower, 64)
	if err != nil {
		return glua.LNil
	}
	return glua.LNumber(f)
}

// load compiles a string or what a function returns piece by piece.
func load(L *glua.LState) int {
	var source strings.Builder
	name := L.OptString(2, "=(load)")
	switch chunk := L.CheckAny(1).(type) {
	case glua.LString:
		source.WriteString(string(chunk))
	case *glua.LFunction:
		for piece := callForString(L, chunk); piece != ""; piece = callForString(L, chunk) {
			source.WriteString(piece)
		}
	default:
		L.ArgError(1, "a string or a function expected, got "+chunk.Type().String())
	}
	f, err := L.Load(strings.NewReader(source.String()), strings.TrimLeft(name, "=@"))
	if err != nil {
		return refuse(L, glua.LNil, strings.TrimSpace(err.Error()))
	}
	if env, ok := L.Get(4).(*glua.LTable); ok {
		f.Env = env
	}
	return give(L, f)
}

func callForString(L *glua.LState, f *glua.LFunction) string {
	L.Push(f)
	L.Call(0, 1)
	piece := L.Get(-1)
	L.Pop(1)
	if piece == glua.LNil {
		return ""
	}
	return piece.String()
}

// collectGarbage knows "count"; whatever else is asked for, memory is collected by Go.
func collectGarbage(L *glua.LState) int {
	switch L.OptString(1, "collect") {
	case "count":
		const kilobyte = 1024
		return give(L, glua.LNumber(float64(heapBytes())/kilobyte))
	case "collect":
		goruntime.GC()
	}
	return give(L, glua.LNumber(0))
}

func mathType(L *glua.LState) int {
	switch v := L.CheckAny(1).(type) {
	case Int64:
		return give(L, glua.LString("integer"))
	case glua.LNumber:
		if _, err := wholeNumber(float64(v)); err == nil {
			return give(L, glua.LString("integer"))
		}
		return give(L, glua.LString("float"))
	}
	return give(L, glua.LNil)
}

// stringRep is string.rep, held to the script's memory.
func (r *runtime) stringRep(L *glua.LState) int {
	text, n, separator := L.CheckString(1), L.CheckNumber(2), L.OptString(3, "")
	if n < 1 || len(text)+len(separator) == 0 {
		return give(L, glua.LString(""))
	}
	most := glua.LNumber(maxString)
	if r.script.MaxMemory > 0 {
		most = min(most, glua.LNumber(r.script.MaxMemory))
	}
	if size := n * glua.LNumber(len(text)+len(separator)); !(size <= most) { // also NaN
		L.RaiseError("resulting string too large")
	}
	return give(L, glua.LString(strings.Repeat(text+separator, int(n)-1)+text))
}

// maxString bounds what one call of string.rep makes.
const maxString = 1 << 30

func tableConcat(L *glua.LState) int {
	table, separator := L.CheckTable(1), L.OptString(2, "")
	first, last := L.OptInt(3, 1), L.OptInt(4, table.Len())
	var b strings.Builder
	for i := first; i <= last; i++ {
		switch v := table.RawGet(glua.LNumber(i)).(type) {
		case glua.LString, glua.LNumber, Int64:
			b.WriteString(v.String())
		default:
			L.RaiseError("invalid value (a %s) at index %d in table for 'concat'", v.Type(), i)
		}
		if i < last {
			b.WriteString(separator)
		}
	}
	return give(L, glua.LString(b.String()))
}

func tablePack(L *glua.LState) int {
	n := L.GetTop()
	table := newTable(n, 1)
	for i := 1; i <= n; i++ {
		table.RawSetInt(i, L.Get(i))
	}
	table.RawSetString("n", glua.LNumber(n))
	return give(L, table)
}

// tableUnpack refuses more values than a stack holds.
func tableUnpack(L *glua.LState) int {
	table := L.CheckTable(1)
	first, last := L.OptInt(2, 1), L.OptInt(3, table.Len())
	if first > last {
		return 0
	}
	if n := last - first + 1; n < 0 || n > maxStack/2 {
		L.RaiseError("too many results to unpack")
	}
	for i := first; i <= last; i++ {
		L.Push(table.RawGet(glua.LNumber(i)))
	}
	return last - first + 1
}

// errorText is what RaiseError makes of an argument error, without the position.
func errorText(n int, function, text string) string {
	return fmt.Sprintf("bad argument #%d to '%s' (%s)", n, function, text)
}
