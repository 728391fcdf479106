package lua

import (
	"context"
	"math"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// timeModule is silly.time.
func (r *runtime) timeModule(L *glua.LState) *glua.LTable {
	return L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
		"sleep":     r.sleep,
		"after":     r.after,
		"cancel":    r.cancelTimer,
		"now":       func(L *glua.LState) int { return give(L, glua.LNumber(time.Now().UnixMilli())) },
		"monotonic": func(L *glua.LState) int { return give(L, glua.LNumber(time.Since(r.started).Milliseconds())) },
	})
}

// milliseconds reads a time. What is beyond the longest time.Duration is that.
func milliseconds(L *glua.LState, n int) time.Duration {
	ms := float64(L.CheckNumber(n))
	switch {
	case math.IsNaN(ms):
		L.ArgError(n, "a time in milliseconds expected, got NaN")
	case ms <= 0:
		return 0
	case ms >= float64(math.MaxInt64/time.Millisecond):
		return math.MaxInt64
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// sleep lets other tasks run for some milliseconds. It raises an error when
// the program is interrupted.
func (r *runtime) sleep(L *glua.LState) int {
	d, interrupt := milliseconds(L, 1), r.interrupt(r.current(L))
	passed := false
	r.wait(L, taskSleeping, func(ctx context.Context) { passed = pause(ctx, d, interrupt) })
	if !passed {
		r.interrupted(L)
	}
	return 0
}

// pause waits for d, or until ctx ends or canceled is closed. It reports whether all of d
// has passed.
func pause(ctx context.Context, d time.Duration, canceled <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-canceled:
	}
	return false
}

// after forks a task that sleeps, and then calls a function with the timer's number or the
// given value. It returns the number.
func (r *runtime) after(L *glua.LState) int {
	d, f, ud := milliseconds(L, 1), L.CheckFunction(2), L.Get(3)
	r.lastTimer++
	id, canceled := r.lastTimer, make(chan struct{})
	if ud == glua.LNil {
		ud = glua.LNumber(id)
	}
	r.timers[id] = canceled
	r.fork(L.NewFunction(func(L *glua.LState) int {
		passed := false
		r.wait(L, taskTimed, func(ctx context.Context) { passed = pause(ctx, d, canceled) })
		if _, due := r.timers[id]; !due || !passed {
			return 0
		}
		delete(r.timers, id)
		L.Push(f)
		L.Push(ud)
		L.Call(1, 0)
		return 0
	}), nil)
	return give(L, glua.LNumber(id))
}

// cancelTimer takes a timer back. One that has fired, or never was, is no error.
func (r *runtime) cancelTimer(L *glua.LState) int {
	id := L.CheckInt(1)
	if canceled, due := r.timers[id]; due {
		delete(r.timers, id)
		close(canceled)
	}
	return 0
}
