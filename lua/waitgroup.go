package lua

import glua "github.com/yuin/gopher-lua"

// waitGroup waits for the tasks that it has forked, also for those that an error ends. The
// interpreter lock guards it.
type waitGroup struct {
	r       *runtime
	count   int
	waiters []*task
}

// waitGroupModule is silly.sync.waitgroup.
func (r *runtime) waitGroupModule(L *glua.LState) *glua.LTable {
	groups := newClass(L, "waitgroup", map[string]func(*waitGroup, *glua.LState) int{
		"fork": (*waitGroup).fork, "wait": (*waitGroup).wait,
	})
	return L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
		"new": func(L *glua.LState) int { return give(L, groups.object(&waitGroup{r: r})) },
	})
}

func (g *waitGroup) fork(L *glua.LState) int {
	f, ok := L.Get(2).(*glua.LFunction)
	if !ok {
		L.ArgError(1, "a function expected, got "+typeName(L, 2))
	}
	g.count++
	return give(L, g.r.fork(f, g.done).thread)
}

func (g *waitGroup) done() {
	g.count--
	if g.count > 0 {
		return
	}
	for _, t := range g.waiters {
		g.r.wake(t, glua.LNil)
	}
	g.waiters = nil
}

func (g *waitGroup) wait(L *glua.LState) int {
	if g.count > 0 {
		g.waiters = append(g.waiters, g.r.current(L))
		g.r.park(L)
	}
	return 0
}
