package lua

import glua "github.com/yuin/gopher-lua"

// mutex is locks by key, among the tasks of the script. A task that has a lock may take it
// again. The interpreter lock guards it.
type mutex struct {
	r    *runtime
	held map[glua.LValue]*heldKey
	mine *class[hold]
}

// heldKey is a key that a task holds.
type heldKey struct {
	owner   *task
	holds   int
	waiters []*task
}

// hold is what lock returns: one hold on a key.
type hold struct {
	m   *mutex
	key glua.LValue
}

// mutexModule is silly.sync.mutex.
func (r *runtime) mutexModule(L *glua.LState) *glua.LTable {
	mutexes := newClass(L, "mutex", map[string]func(*mutex, *glua.LState) int{"lock": (*mutex).lock})
	holds := newClass(L, "lock", map[string]func(*hold, *glua.LState) int{"unlock": (*hold).unlock})
	return L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
		"new": func(L *glua.LState) int {
			return give(L, mutexes.object(&mutex{r: r, held: map[glua.LValue]*heldKey{}, mine: holds}))
		},
	})
}

// lock waits until no other task has the key, and returns an object with a method unlock.
func (m *mutex) lock(L *glua.LState) int {
	key, t := L.Get(2), m.r.current(L)
	if key == glua.LNil {
		L.ArgError(1, "a key expected, got nil")
	}
	h := m.held[key]
	switch {
	case h == nil:
		m.held[key] = &heldKey{owner: t, holds: 1}
	case h.owner == t:
		h.holds++
	default:
		h.waiters = append(h.waiters, t)
		m.r.park(L) // unlock has made t the owner
	}
	return give(L, m.mine.object(&hold{m: m, key: key}))
}

// unlock gives a hold up. Further calls do nothing.
func (o *hold) unlock(*glua.LState) int {
	if o.m == nil {
		return 0
	}
	m := o.m
	o.m = nil
	h := m.held[o.key]
	h.holds--
	switch {
	case h.holds > 0:
	case len(h.waiters) == 0:
		delete(m.held, o.key)
	default:
		h.owner, h.holds = h.waiters[0], 1
		h.waiters = h.waiters[1:]
		m.r.wake(h.owner, glua.LNil)
	}
	return 0
}
