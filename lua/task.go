package lua

import (
	"context"
	"fmt"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// task is a function of the script that runs beside others: a Lua thread with its own
// goroutine, which runs Lua code while it holds the interpreter lock. Scripts see the thread.
type task struct {
	thread *glua.LState
	turn   chan struct{} // gets a value when the task has got the interpreter lock
	state  taskState     // guarded by interpreterLock.mu

	// The interpreter lock guards the fields below.

	result  glua.LValue // what wake passes on
	told    bool        // a wait of it has ended because of the interrupt
	inWait  bool        // the script has parked it with task.wait
	nesting int         // see maxNesting
	ended   func()      // called when the task has ended, also by an error; may be nil
}

// fork makes a task that will call f with args. It starts when its turn comes, so not before
// the running task waits or ends. The caller holds the interpreter lock, or is alone.
func (r *runtime) fork(f *glua.LFunction, ended func(), args ...glua.LValue) *task {
	t := r.newTask(ended)
	r.routines.Add(1)
	r.lock.add(t)
	go func() {
		defer r.routines.Done()
		<-t.turn
		r.run(t, f, args)
		r.lock.release(t, taskEnded)
	}()
	return t
}

func (r *runtime) newTask(ended func()) *task {
	thread, _ := r.main.NewThread() // there is nothing to cancel: the main thread has no context
	thread.SetContext(r.ctx)
	t := &task{thread: thread, turn: make(chan struct{}, 1), result: glua.LNil, ended: ended}
	r.tasks[thread] = t
	return t
}

// run is a task from its first turn to its end, with the interpreter lock held.
func (r *runtime) run(t *task, f *glua.LFunction, args []glua.LValue) {
	t.thread.G.CurrentThread = t.thread
	err := t.thread.CallByParam(glua.P{Fn: f, Protect: true}, args...)
	if err != nil && r.ctx.Err() == nil {
		r.report(t, err)
	}
	delete(r.tasks, t.thread)
	t.thread.Dead = true
	if t.ended != nil {
		t.ended()
	}
}

// wait releases the interpreter lock while f runs, which must not touch Lua values. The
// context of f ends when the script does; then wait raises an error.
func (r *runtime) wait(L *glua.LState, state taskState, f func(context.Context)) {
	t := r.current(L)
	func() {
		r.lock.release(t, state)
		defer r.lock.reacquire(t)
		if state == taskCalling {
			r.lock.letOthersRun()
		}
		f(r.ctx)
	}()
	r.resumed(L)
}

// park waits until another task calls wake, and returns what that one passes.
func (r *runtime) park(L *glua.LState) glua.LValue {
	result, _ := r.parkUntil(L, nil)
	return result
}

// parkUntil is park that an interrupt ends. It reports whether another task has called wake.
func (r *runtime) parkUntil(L *glua.LState, interrupt <-chan struct{}) (result glua.LValue, woken bool) {
	t := r.current(L)
	woken = r.lock.park(r.ctx, t, interrupt)
	r.resumed(L)
	result, t.result = t.result, glua.LNil
	return result, woken
}

// interrupt ends a wait of t early. A task is interrupted once: later waits are not, so that a
// task that goes on is not hindered. The caller calls interrupted when the wait was ended so.
func (r *runtime) interrupt(t *task) <-chan struct{} {
	if t.told {
		return nil
	}
	return r.interruption
}

// interrupted raises the error that ends a task when the program is interrupted, unless the
// task catches it.
func (r *runtime) interrupted(L *glua.LState) {
	r.current(L).told = true
	L.Error(glua.LString(textInterrupted), 0)
}

const textInterrupted = "interrupted"

// wake makes a parked task ready and has its park return result. It reports false when the
// task is not parked. The caller holds the interpreter lock, so t does not run before the
// caller waits.
func (r *runtime) wake(t *task, result glua.LValue) bool {
	if !r.lock.wake(t) {
		return false
	}
	t.result = result
	return true
}

// resumed puts right what other tasks have changed while L did not run.
func (r *runtime) resumed(L *glua.LState) {
	L.G.CurrentThread = L
	if err := context.Cause(r.ctx); err != nil {
		L.RaiseError("%s", err)
	}
}

// current is the task that L runs in: L is its thread, or a coroutine that it has resumed.
func (r *runtime) current(L *glua.LState) *task {
	for thread := L; thread != nil; thread = thread.Parent {
		if t := r.tasks[thread]; t != nil {
			return t
		}
	}
	L.RaiseError("this function can only be called by a task")
	return nil
}

// report writes an error that has ended a task to the script's Stderr, with a traceback. A
// task that an interrupt has ended has not failed.
func (r *runtime) report(t *task, err error) {
	text, trace := err.Error(), ""
	if failed, ok := err.(*glua.ApiError); ok { //nolint:errorlint // gopher-lua returns it as it is
		text, trace = r.text(t.thread, failed.Object), failed.StackTrace
	}
	if t.told && strings.Contains(text, textInterrupted) {
		return
	}
	r.failed++
	if r.firstFailure == "" {
		r.firstFailure = text
	}
	fmt.Fprintf(r.stderr, "a task failed: %s\n", text)
	if trace != "" {
		fmt.Fprintln(r.stderr, trace)
	}
}

// text is a value as tostring makes it, also when its __tostring fails.
func (r *runtime) text(L *glua.LState, value glua.LValue) string {
	tostring := L.NewFunction(func(L *glua.LState) int {
		L.Push(L.ToStringMeta(L.Get(1)))
		return 1
	})
	if err := L.CallByParam(glua.P{Fn: tostring, NRet: 1, Protect: true}, value); err != nil {
		return value.String()
	}
	text := L.Get(-1).String()
	L.Pop(1)
	return text
}

// taskModule is silly.task.
func (r *runtime) taskModule(L *glua.LState) *glua.LTable {
	return L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
		"fork":    r.taskFork,
		"wait":    r.taskWait,
		"wakeup":  r.taskWakeup,
		"running": func(L *glua.LState) int { return give(L, r.current(L).thread) },
		"status":  r.taskStatus,
	})
}

func (r *runtime) taskFork(L *glua.LState) int {
	f := L.CheckFunction(1)
	var args []glua.LValue
	for i := 2; i <= L.GetTop(); i++ {
		args = append(args, L.Get(i))
	}
	return give(L, r.fork(f, nil, args...).thread)
}

func (r *runtime) taskWait(L *glua.LState) int {
	t := r.current(L)
	t.inWait = true
	result, woken := r.parkUntil(L, r.interrupt(t))
	if !woken {
		t.inWait = false
		r.interrupted(L)
	}
	return give(L, result)
}

func (r *runtime) taskWakeup(L *glua.LState) int {
	t := r.tasks[L.CheckThread(1)]
	if t == nil {
		L.ArgError(1, "a living task expected")
	}
	if !t.inWait || !r.wake(t, L.Get(2)) {
		L.RaiseError("wakeup: the task is not in task.wait, its state is %s", r.lock.state(t))
	}
	t.inWait = false
	return 0
}

func (r *runtime) taskStatus(L *glua.LState) int {
	t := r.tasks[L.CheckThread(1)]
	if t == nil {
		return give(L, glua.LNil)
	}
	return give(L, glua.LString(r.lock.state(t).String()))
}

// give returns one value to Lua.
func give(L *glua.LState, value glua.LValue) int {
	L.Push(value)
	return 1
}
