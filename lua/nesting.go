package lua

import glua "github.com/yuin/gopher-lua"

// maxNesting is how deep protected calls and coroutines may nest in a task. Each level takes
// some of the goroutine's stack, whose end would be that of the process, and an error that
// ends many levels takes gopher-lua a time that grows with the third power of their number.
const maxNesting = 150

// limitNesting bounds how deep pcall and xpcall nest, and has yield refuse what gopher-lua
// cannot do: leave a coroutine from within them.
func (r *runtime) limitNesting(L *glua.LState) {
	globals := L.Get(glua.GlobalsIndex).(*glua.LTable)
	coroutines := globals.RawGetString("coroutine").(*glua.LTable)
	for _, name := range []string{"pcall", "xpcall"} {
		protected := goFunction(globals, name)
		globals.RawSetString(name, L.NewFunction(func(L *glua.LState) int { return r.protect(L, protected) }))
	}
	yield := goFunction(coroutines, "yield")
	replace(L, "coroutine", map[string]glua.LGFunction{"yield": func(L *glua.LState) int {
		if r.protected[L] > 0 {
			L.RaiseError("attempt to yield from within pcall or xpcall")
		}
		return yield(L)
	}})
}

// protect calls pcall, xpcall or what is like them.
func (r *runtime) protect(L *glua.LState, call glua.LGFunction) int {
	r.protected[L]++
	defer func() {
		if r.protected[L]--; r.protected[L] == 0 {
			delete(r.protected, L)
		}
	}()
	return r.nest(L, call)
}

// nest calls a function that calls into Lua again, unless that is too deep already.
func (r *runtime) nest(L *glua.LState, call glua.LGFunction) int {
	t := r.current(L)
	if t.nesting >= maxNesting {
		L.RaiseError("stack overflow: more than %d nested calls of pcall or coroutines", maxNesting)
	}
	t.nesting++
	defer func() { t.nesting-- }()
	return call(L)
}
