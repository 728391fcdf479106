package lua

import (
	"context"
	goruntime "runtime"
	"sync"
)

// taskState is where a task is in its life.
//
//	fork → ready → running → (calling, …, parked → ready → running)* → ended
//
// A task leaves running only by itself. Its own goroutine makes it ready again when what it
// waits for has come, but for a parked task, which another task wakes, or the script's end,
// and for an idling one, which an interrupt wakes as well.
// It runs again when its turn comes.
type taskState uint8

const (
	taskReady    taskState = iota // in the queue of the interpreter lock
	taskRunning                   // holds the interpreter lock
	taskCalling                   // waits for the answer of a call, which comes or times out
	taskSleeping                  // waits for a time
	taskTimed                     // a timer that is not due yet
	taskWaiting                   // waits for an event that comes from outside the script
	taskIdling                    // waits for another task to wake it, or an interrupt
	taskParked                    // waits for another task to wake it, and for nothing else
	taskEnded
	taskStates
)

// String is the state as silly's task.status names it.
func (s taskState) String() string {
	return [taskStates]string{"READY", "RUN", "WAIT", "SLEEP", "SLEEP", "WAIT", "WAIT", "WAIT", "EXIT"}[s]
}

// interpreterLock is the lock under which all Lua code of a script runs, and with it all
// that Go code does to Lua values. It is held by one task at a time and passed on in the
// order in which tasks became ready. A task gives it up while it waits for anything, and
// nowhere else.
type interpreterLock struct {
	// quiet gets a value when no task runs or is ready any more, as far as that can
	// matter to the supervisor of the script.
	quiet chan struct{}
	// ended is closed when the last task has ended.
	ended chan struct{}

	mu       sync.Mutex // guards the fields below, and task.state; nothing blocks under it
	holder   *task
	queue    []*task
	count    [taskStates]int
	turns    uint64 // counts how often the lock was passed on
	stopping bool   // no stream is left open
	idle     bool   // the script stops because nothing happens: no interrupt wakes idling tasks
}

func newInterpreterLock() *interpreterLock {
	return &interpreterLock{quiet: make(chan struct{}, 1), ended: make(chan struct{})}
}

// add takes a task in, which is ready. It must not be called when the last task has ended.
func (l *interpreterLock) add(t *task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[taskReady]++
	t.state = taskReady
	l.queue = append(l.queue, t)
	l.passLocked()
}

// release gives the lock up while t, its holder, is in state.
func (l *interpreterLock) release(t *task, state taskState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder = nil
	l.setLocked(t, state)
	if state == taskEnded && l.livingLocked() == 0 {
		close(l.ended)
	}
	l.passLocked()
}

// reacquire takes the lock back after a release, for the goroutine of t itself.
func (l *interpreterLock) reacquire(t *task) {
	l.mu.Lock()
	l.readyLocked(t)
	l.mu.Unlock()
	<-t.turn
}

// letOthersRun yields the processor for a while if other tasks run: calls that they are about
// to make then leave together with the caller's, which costs client and server less. The
// caller has released the lock.
func (l *interpreterLock) letOthersRun() {
	const most = 10
	for range most {
		l.mu.Lock()
		busy := l.holder != nil
		l.mu.Unlock()
		if !busy {
			return
		}
		goruntime.Gosched()
	}
}

// park releases the lock and returns when another task has woken t, or ctx or interrupt has
// ended, and t has the lock again. It reports true when another task has woken it. A nil
// interrupt never ends.
func (l *interpreterLock) park(ctx context.Context, t *task, interrupt <-chan struct{}) bool {
	state := taskParked
	if interrupt != nil {
		state = taskIdling
	}
	l.release(t, state)
	select {
	case <-t.turn:
		return true
	case <-ctx.Done():
	case <-interrupt:
	}
	woken := !l.wake(t)
	<-t.turn
	return woken
}

// wake makes a task ready that is parked or idling. It reports false when the task is neither.
func (l *interpreterLock) wake(t *task) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.state != taskParked && t.state != taskIdling {
		return false
	}
	l.readyLocked(t)
	return true
}

func (l *interpreterLock) state(t *task) taskState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.state
}

// stillness reports whether every task waits for an event, and a number that is another
// one as soon as any task has run since.
func (l *interpreterLock) stillness() (bool, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stillLocked(), l.turns
}

// settled reports whether all tasks that are left wait for each other, or for timers: when
// the streams are closed, all others go on by themselves.
func (l *interpreterLock) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settledLocked()
}

// stop makes the lock report through quiet when the tasks have settled.
func (l *interpreterLock) stop(idle bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping, l.idle = true, idle
	l.passLocked()
}

func (l *interpreterLock) readyLocked(t *task) {
	l.setLocked(t, taskReady)
	l.queue = append(l.queue, t)
	l.passLocked()
}

// passLocked gives a free lock to the next task.
func (l *interpreterLock) passLocked() {
	if l.holder != nil {
		return
	}
	if len(l.queue) == 0 {
		l.reportQuietLocked()
		return
	}
	t := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.holder = t
	l.turns++
	l.setLocked(t, taskRunning)
	t.turn <- struct{}{}
}

func (l *interpreterLock) reportQuietLocked() {
	if !l.stillLocked() && (!l.stopping || !l.settledLocked()) {
		return
	}
	select {
	case l.quiet <- struct{}{}:
	default:
	}
}

func (l *interpreterLock) stillLocked() bool {
	return l.count[taskWaiting]+l.count[taskIdling]+l.count[taskParked] == l.livingLocked()
}

func (l *interpreterLock) settledLocked() bool {
	settled := l.count[taskTimed] + l.count[taskParked]
	if l.idle {
		settled += l.count[taskIdling]
	}
	return settled == l.livingLocked()
}

func (l *interpreterLock) setLocked(t *task, state taskState) {
	l.count[t.state]--
	l.count[state]++
	t.state = state
}

func (l *interpreterLock) livingLocked() (n int) {
	for state, count := range l.count {
		if taskState(state) != taskEnded {
			n += count
		}
	}
	return n
}
