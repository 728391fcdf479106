package lua

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// Script is a Lua program and the conditions under which it runs. Only Source is required.
type Script struct {
	// Name is the program's name in error texts; empty means "script".
	Name string
	// Source is the program's text. A first line that begins with # is skipped.
	Source string
	// Args are the program's arguments: "...", and the global arg from 1 on.
	Args []string

	// Endpoints, when there are any, replace those that the program names. The program's
	// other settings stay.
	Endpoints []string
	// Configure, when not nil, has the last word on the configuration of each client that
	// the program makes.
	Configure func(*etcd.Config)
	// Modules are modules that the program can require, by name, beside those of this
	// package. Their functions call [Wait] to wait for anything.
	Modules map[string]glua.LGFunction

	// Stdout gets what print and io.write write; nil means os.Stdout.
	Stdout io.Writer
	// Stderr gets the errors that end tasks, and the log; nil means os.Stderr.
	Stderr io.Writer

	// IdleAfter is how long all tasks must have waited for events, which no task can cause
	// while it waits, for the program to be taken for finished. 0 means a second; negative
	// means never.
	IdleAfter time.Duration
	// MaxMemory is the size in bytes of the heap of the process at which the program is
	// ended with [ErrMemory]. It is looked at every 20 ms, so that more may be in use for a
	// moment. 0 means no bound.
	MaxMemory int64
}

var (
	// ErrMemory: the heap has reached Script.MaxMemory.
	ErrMemory = errors.New("the script uses too much memory")
	// ErrTask: an error has ended a task. Script.Stderr has all of them, with tracebacks.
	ErrTask = errors.New("a task has failed")
	// ErrSyntax: the program is not valid Lua 5.1.
	ErrSyntax = errors.New("not a valid program")
)

// ExitError is the exit code with which a program has ended itself, by os.exit or silly.exit.
type ExitError struct{ Code int }

func (e *ExitError) Error() string {
	return fmt.Sprintf("the script has ended with exit code %d", e.Code)
}

var (
	// errIdle is why a program was ended whose tasks all wait for events.
	errIdle = errors.New("all tasks wait for events")
	// errEnded is that all tasks have ended by themselves.
	errEnded = errors.New("the script has ended")
)

// grace is how long tasks have to finish after their streams were closed.
const grace = time.Second

// Run runs a program to its end. That has come when all tasks have ended; when those that
// are left have waited for events for IdleAfter; when the program calls os.exit; when ctx
// ends; and when the heap reaches MaxMemory.
//
// At the end of ctx, and when idle, the streams of the program are closed, so that reads
// return nil, and the tasks have a second to end. The end of ctx also raises the
// error "interrupted" in tasks that sleep, or wait in task.wait or for a channel, once in
// each. A task may catch it, and has not failed if it does not. Run does not wait out the second
// when nothing is left but timers and tasks that wait for each other. What is still there
// is ended by an error that the program cannot stop. No lease is revoked. Run returns when no goroutine of the program and of its clients
// is left; a single call of Lua's string functions, of io.read, os.execute and what is like
// them, and of a function of Modules, is not interrupted.
//
// Run may be called concurrently: programs share nothing.
//
// Errors: [ErrSyntax]; [ErrTask], joined with the cause of ctx if that ended the program; the
// cause of ctx alone; [ErrMemory]; an [*ExitError] for a code other than 0. A program that
// was idle has ended well.
func Run(ctx context.Context, script Script) error {
	r := newRuntime(ctx, script)
	defer r.close()
	main, err := r.main.Load(strings.NewReader(withoutShebang(script.Source)), r.script.Name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if script.MaxMemory > 0 {
		r.routines.Go(r.watchMemory)
	}
	r.fork(main, nil, r.arguments()...)
	r.kill(r.supervise(ctx)) // ends what is left
	r.routines.Wait()
	return r.result()
}

// runtime is a program that runs.
type runtime struct {
	script  Script
	main    *glua.LState    // the state whose globals all tasks share
	ctx     context.Context // ends when the tasks must
	kill    context.CancelCauseFunc
	lock    *interpreterLock
	streams streams
	// interruption is closed when ctx of Run has ended, and tasks have a second to end.
	interruption chan struct{}
	stdout       io.Writer
	stderr       io.Writer
	log          *slog.Logger
	started      time.Time

	routines sync.WaitGroup // all goroutines: one per task, and that which watches the memory

	// The interpreter lock guards the fields below.

	tasks      map[*glua.LState]*task // those that live, by their threads
	open       map[*etcd.Client]struct{}
	clients    *class[client]
	watches    *class[watch]
	keepAlives *class[keepAliveStream]
	protected  map[*glua.LState]int  // how many calls of pcall are under way in a thread
	timers     map[int]chan struct{} // those of silly.time.after that are due; closed to cancel one
	lastTimer  int
	lastID     int // what silly.genid returned last

	failed       int    // how many tasks have failed
	firstFailure string // the error of the first of them
}

// maxStack is how many values the stack of a task can hold, maxCalls how many calls. Both
// begin small and grow.
const (
	minStack  = 128 // the least that gopher-lua accepts
	maxStack  = 1 << 18
	stackStep = 256
	maxCalls  = 4096
)

func newRuntime(ctx context.Context, script Script) *runtime {
	r := &runtime{
		script: script, lock: newInterpreterLock(), streams: streams{open: map[stream]struct{}{}}, interruption: make(chan struct{}),
		stdout: script.Stdout, started: time.Now(),
		tasks: map[*glua.LState]*task{}, open: map[*etcd.Client]struct{}{}, timers: map[int]chan struct{}{},
		protected: map[*glua.LState]int{},
	}
	if script.Name == "" {
		r.script.Name = "script"
	}
	if script.Stdout == nil {
		r.stdout = os.Stdout
	}
	stderr := script.Stderr
	if stderr == nil {
		stderr = os.Stderr
	}
	r.stderr = &writer{to: stderr}
	r.log = slog.New(slog.NewTextHandler(r.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	lifetime, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	r.ctx, r.kill = &instructionContext{lifetime, lifetime.Done()}, kill
	r.main = glua.NewState(glua.Options{
		SkipOpenLibs: true, MinimizeStackMemory: true, CallStackSize: maxCalls,
		RegistrySize: minStack, RegistryMaxSize: maxStack, RegistryGrowStep: stackStep,
	})
	r.openLibraries(r.main) //nolint:contextcheck // tasks end with the runtime's context
	r.openModules(r.main)
	r.main.G.Registry.RawSetString(registryName, &glua.LUserData{Value: r, Metatable: glua.LNil})
	return r
}

// instructionContext is a context whose Done costs next to nothing: the interpreter calls it
// before each instruction.
type instructionContext struct {
	context.Context
	done <-chan struct{}
}

func (c *instructionContext) Done() <-chan struct{} { return c.done }

// registryName is where Wait finds the runtime.
const registryName = "silly.store/etcd/lua"

// Wait runs f with the interpreter lock released, so that other tasks run: what a function
// of Script.Modules that waits for anything must do. f must not touch Lua values. Its
// context ends when the program is to end, and Wait then raises an error in L, with f's
// work done or not.
func Wait(L *glua.LState, f func(context.Context)) {
	holder, ok := L.G.Registry.RawGetString(registryName).(*glua.LUserData)
	if !ok {
		L.RaiseError("Wait: not a program of silly.store/etcd/lua")
	}
	holder.Value.(*runtime).wait(L, taskCalling, f) // nothing else is stored there
}

func withoutShebang(source string) string {
	if !strings.HasPrefix(source, "#") {
		return source
	}
	_, rest, _ := strings.Cut(source, "\n")
	return "\n" + rest
}

// arguments are the values of "..." in the main chunk. They are in the global arg as well.
func (r *runtime) arguments() (values []glua.LValue) {
	table := newTable(len(r.script.Args), 1)
	table.RawSetInt(0, glua.LString(r.script.Name))
	for i, arg := range r.script.Args {
		table.RawSetInt(i+1, glua.LString(arg))
		values = append(values, glua.LString(arg))
	}
	r.main.SetGlobal("arg", table)
	return values
}

// supervise waits for the end of the program and returns why it has come.
func (r *runtime) supervise(ctx context.Context) error {
	cause := r.untilStopped(ctx)
	if cause == errEnded || r.ctx.Err() != nil { //nolint:errorlint // untilStopped returns it as it is
		return cause
	}
	idle := cause == errIdle //nolint:errorlint // as above
	r.lock.stop(idle)
	r.streams.stop()
	if !idle {
		close(r.interruption)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for !r.lock.settled() {
		select {
		case <-r.lock.ended:
			return cause
		case <-r.lock.quiet:
		case <-timer.C:
			return cause
		case <-r.ctx.Done():
			return context.Cause(r.ctx) //nolint:contextcheck // the runtime's own
		}
	}
	return cause
}

// untilStopped waits until the program has ended, and returns errEnded, or shall be stopped.
func (r *runtime) untilStopped(ctx context.Context) error {
	idleAfter := r.script.IdleAfter
	if idleAfter == 0 {
		idleAfter = time.Second
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	var since uint64 // the turn after which the timer was set
	for {
		select {
		case <-r.lock.ended:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.ctx.Done():
			return context.Cause(r.ctx) //nolint:contextcheck // the runtime's own
		case <-r.lock.quiet:
			if still, turn := r.lock.stillness(); still && idleAfter > 0 {
				since = turn
				timer.Reset(idleAfter)
			}
		case <-timer.C:
			if still, turn := r.lock.stillness(); still && turn == since {
				return errIdle
			}
		}
	}
}

// result is what Run returns, when all goroutines have ended.
func (r *runtime) result() error {
	cause := context.Cause(r.ctx)
	var exit *ExitError
	switch {
	case errors.As(cause, &exit) && exit.Code == 0:
		return nil
	case exit != nil:
		return exit
	case errors.Is(cause, errEnded), errors.Is(cause, errIdle):
		cause = nil
	}
	if r.failed > 0 {
		failed := fmt.Errorf("%w: %s", ErrTask, r.firstFailure)
		if cause != nil {
			return fmt.Errorf("%w; %w", failed, cause)
		}
		return failed
	}
	return cause
}

// close ends the clients, when no task is left.
func (r *runtime) close() {
	r.kill(errEnded)
	for c := range r.open {
		_ = c.Close() // its error is always nil
	}
	r.main.Close()
}

// writer lets tasks and the clients' logs write whole lines to one place.
type writer struct {
	mu sync.Mutex // held for each Write
	to io.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
