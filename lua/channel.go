package lua

import (
	"slices"

	glua "github.com/yuin/gopher-lua"
)

// channel passes values between tasks, in order, as many as the reader leaves waiting. The
// interpreter lock guards it.
type channel struct {
	r       *runtime
	values  []glua.LValue
	waiters []*task
	closed  bool
}

// channelModule is silly.sync.channel.
func (r *runtime) channelModule(L *glua.LState) *glua.LTable {
	channels := newClass(L, "channel", map[string]func(*channel, *glua.LState) int{
		"push": (*channel).push, "pop": (*channel).pop, "clear": (*channel).clear, "close": (*channel).close,
	})
	return L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
		"new": func(L *glua.LState) int { return give(L, channels.object(&channel{r: r})) },
	})
}

func (c *channel) push(L *glua.LState) int {
	value := L.Get(2)
	switch {
	case c.closed:
		return refuse(L, glua.LFalse, "channel closed")
	case glua.LVIsFalse(value):
		return refuse(L, glua.LFalse, "nil data")
	}
	for len(c.waiters) > 0 {
		t := c.waiters[0]
		c.waiters = c.waiters[1:]
		if c.r.wake(t, value) {
			return give(L, glua.LTrue)
		}
	}
	c.values = append(c.values, value)
	return give(L, glua.LTrue)
}

// pop waits for a value. It returns nil and a text when the channel is closed and empty.
func (c *channel) pop(L *glua.LState) int {
	if len(c.values) > 0 {
		value := c.values[0]
		c.values[0] = nil
		c.values = c.values[1:]
		return give(L, value)
	}
	if !c.closed {
		t := c.r.current(L)
		c.waiters = append(c.waiters, t)
		value, woken := c.r.parkUntil(L, c.r.interrupt(t))
		switch {
		case !woken:
			c.waiters = slices.DeleteFunc(c.waiters, func(waiter *task) bool { return waiter == t })
			c.r.interrupted(L)
		case value != glua.LNil:
			return give(L, value)
		}
	}
	return refuse(L, glua.LNil, "channel closed")
}

func (c *channel) clear(*glua.LState) int {
	c.values = nil
	return 0
}

func (c *channel) close(*glua.LState) int {
	c.closed = true
	for _, t := range c.waiters {
		c.r.wake(t, glua.LNil)
	}
	c.waiters = nil
	return 0
}

// refuse returns a value and a text to Lua.
func refuse(L *glua.LState, value glua.LValue, text string) int {
	L.Push(value)
	L.Push(glua.LString(text))
	return 2
}
