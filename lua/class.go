package lua

import (
	glua "github.com/yuin/gopher-lua"
)

// class is a kind of objects of Go that scripts can call methods of.
type class[T any] struct {
	name string
	meta *glua.LTable
}

// newClass makes a class. A method finds its first argument at index 2.
func newClass[T any](L *glua.LState, name string, methods map[string]func(*T, *glua.LState) int) *class[T] {
	c := &class[T]{name: name, meta: L.NewTable()}
	index := L.NewTable()
	for method, f := range methods {
		index.RawSetString(method, L.NewFunction(func(L *glua.LState) int { return f(c.self(L, method), L) }))
	}
	c.meta.RawSetString("__index", index)
	c.meta.RawSetString("__metatable", glua.LString(name))
	c.meta.RawSetString("__tostring", L.NewFunction(func(L *glua.LState) int { return give(L, glua.LString(name)) }))
	return c
}

// object is a value of the class for scripts.
func (c *class[T]) object(value *T) *glua.LUserData {
	return &glua.LUserData{Value: value, Metatable: c.meta}
}

// self is the object that a method was called on.
func (c *class[T]) self(L *glua.LState, method string) *T {
	if object, ok := L.Get(1).(*glua.LUserData); ok {
		if value, ok := object.Value.(*T); ok {
			return value
		}
	}
	L.RaiseError("%s: no %s before it; call it with a colon, like object:%s(…)", method, c.name, method)
	return nil
}
