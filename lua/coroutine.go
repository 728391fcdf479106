package lua

import glua "github.com/yuin/gopher-lua"

// replaceCoroutines puts functions in the place of gopher-lua's that know of tasks: a
// coroutine that waits inside one task must not be resumed by another, nor a task by anyone.
func (r *runtime) replaceCoroutines(L *glua.LState) {
	library, ok := L.GetGlobal("coroutine").(*glua.LTable)
	if !ok {
		return
	}
	create, resume := goFunction(library, "create"), goFunction(library, "resume")
	replace(L, "coroutine", map[string]glua.LGFunction{
		"create": func(L *glua.LState) int { return give(L, r.createCoroutine(L, create)) },
		"resume": func(L *glua.LState) int {
			if reason := r.cannotResume(L.CheckThread(1)); reason != "" {
				return refuse(L, glua.LFalse, reason)
			}
			return r.nest(L, resume)
		},
		"wrap": func(L *glua.LState) int {
			thread := r.createCoroutine(L, create)
			return give(L, L.NewFunction(func(L *glua.LState) int { return r.resumeWrapped(L, thread, resume) }))
		},
		"status": func(L *glua.LState) int { return give(L, glua.LString(r.coroutineStatus(L, L.CheckThread(1)))) },
	})
}

func goFunction(library *glua.LTable, name string) glua.LGFunction {
	return library.RawGetString(name).(*glua.LFunction).GFunction
}

// createCoroutine makes a coroutine that ends with the script. gopher-lua would give it a
// child of the context, which a coroutine that is never finished would leave behind.
func (r *runtime) createCoroutine(L *glua.LState, create glua.LGFunction) *glua.LState {
	L.CheckFunction(1)
	ctx := L.RemoveContext()
	create(L)
	L.SetContext(ctx)
	thread := L.CheckThread(-1)
	L.Pop(1)
	thread.SetContext(r.ctx)
	return thread
}

// cannotResume is why a coroutine cannot be resumed now; empty if it can.
func (r *runtime) cannotResume(thread *glua.LState) string {
	switch {
	case thread.Dead:
		return "cannot resume dead coroutine"
	case r.tasks[thread] != nil:
		return "cannot resume a task; task.wakeup wakes one that waits"
	case thread.Parent != nil:
		return "cannot resume non-suspended coroutine"
	}
	return ""
}

// resumeWrapped is what the function that wrap returns does: its errors are the caller's.
func (r *runtime) resumeWrapped(L *glua.LState, thread *glua.LState, resume glua.LGFunction) int {
	if reason := r.cannotResume(thread); reason != "" {
		L.RaiseError("%s", reason)
	}
	L.Insert(thread, 1)
	n := r.nest(L, resume)
	first := L.GetTop() - n + 1
	if L.Get(first) == glua.LFalse {
		L.Error(L.Get(first+1), 0)
	}
	return n - 1
}

func (r *runtime) coroutineStatus(L, thread *glua.LState) string {
	switch {
	case thread.Dead:
		return "dead"
	case thread == L:
		return "running"
	case thread.Parent != nil || r.tasks[thread] != nil:
		return "normal"
	}
	return "suspended"
}
