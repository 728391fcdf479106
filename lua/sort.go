package lua

import (
	"slices"

	glua "github.com/yuin/gopher-lua"
)

// tableSort is table.sort. It sorts a copy, since the function that compares may wait, and
// other tasks may change the table meanwhile: they then lose their changes of the list.
func tableSort(L *glua.LState) int {
	table := L.CheckTable(1)
	less := L.LessThan
	if L.Get(2) != glua.LNil {
		less = lessBy(L, L.CheckFunction(2))
	}
	values := make([]glua.LValue, table.Len())
	for i := range values {
		values[i] = table.RawGetInt(i + 1)
	}
	slices.SortFunc(values, func(a, b glua.LValue) int {
		switch {
		case less(a, b):
			return -1
		case less(b, a):
			return 1
		}
		return 0
	})
	for i, value := range values {
		table.RawSetInt(i+1, value)
	}
	return 0
}

func lessBy(L *glua.LState, f *glua.LFunction) func(a, b glua.LValue) bool {
	return func(a, b glua.LValue) bool {
		L.Push(f)
		L.Push(a)
		L.Push(b)
		L.Call(2, 1)
		less := glua.LVAsBool(L.Get(-1))
		L.Pop(1)
		return less
	}
}
