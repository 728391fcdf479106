package lua

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	glua "github.com/yuin/gopher-lua"
)

func TestTasks(t *testing.T) {
	expect(t, `
local silly, task = require "silly", require "silly.task"
print(_G.task == task, silly.fork == task.fork)
local order = {}
for i = 1, 3 do
	task.fork(function(ud, more) order[#order + 1] = i .. tostring(ud) .. tostring(more) end, "x", i)
end
print("before", #order)
silly.sleep(0)
print("after", table.concat(order, " "))

local main = task.running()
local waiting = task.fork(function()
	print("woken with", task.wait())
	task.wakeup(main, false)
end)
print(task.status(waiting), task.status(main), type(waiting))
silly.sleep(0)
print(task.status(waiting), pcall(task.wakeup, main))
task.wakeup(waiting, 42)
print("main gets", task.wait(), task.status(waiting))
print(pcall(task.wakeup, waiting), pcall(task.fork, "f"), pcall(task.wakeup, nil))
`, `true	true
before	0
after	1x1 2x2 3x3
READY	RUN	thread
WAIT	false	script:19: wakeup: the task is not in task.wait, its state is RUN
woken with	42
main gets	false	nil
false	false	false	script:22: bad argument #1 to (anonymous) (thread expected, got nil)
`)
}

func TestSync(t *testing.T) { synctest.Test(t, testSync) }

func testSync(t *testing.T) {
	expect(t, `
local silly, task, time = require "silly", require "silly.task", require "silly.time"
local mutex = require "silly.sync.mutex".new()
local channel = require "silly.sync.channel".new()
local group = require "silly.sync.waitgroup".new()

local order = {}
for i = 1, 3 do
	group:fork(function()
		local outer = mutex:lock "a"
		local inner = mutex:lock "a" -- the task has it already
		order[#order + 1] = "in" .. i
		silly.sleep(1)
		order[#order + 1] = "out" .. i
		inner:unlock()
		inner:unlock()
		outer:unlock()
	end)
end
local b = mutex:lock "b" -- another key
group:wait()
print(table.concat(order, " "))
print(pcall(mutex.lock, mutex, nil))

for i = 1, 2 do
	group:fork(function()
		for value in function() return channel:pop() end do
			io.write("popped ", tostring(value), "\n")
		end
	end)
end
silly.sleep(0)
print(channel:push(1), channel:push(2), channel:push "three", channel:push(nil))
silly.sleep(0)
channel:push "cleared"
channel:close()
group:wait()
print(channel:pop())
print(channel:push(1))

local fired = {}
local gone = time.after(1, function() fired[#fired + 1] = "canceled one" end)
local id
id = time.after(2, function(ud) fired[#fired + 1] = ud == id and "its number" end)
time.after(3, function(ud) fired[#fired + 1] = ud end, "its value")
time.cancel(gone)
time.cancel(gone)
time.cancel(12345)
local from = time.monotonic()
time.sleep(20)
print(table.concat(fired, ", "), time.monotonic() - from >= 20, time.now() > 9e11)
silly.sleep(-1)
print(pcall(silly.sleep, 0 / 0))
print(silly.genid() < silly.genid(), type(silly.pid), silly.version ~= nil)
print(silly.pcall(function(...) return ... end, 1, 2))
`, `in1 out1 in2 out2 in3 out3
false	script:23: bad argument #1 to (anonymous) (a key expected, got nil)
true	true	true	false	nil data
popped 1
popped three
popped 2
popped cleared
nil	channel closed
false	channel closed
its number, its value	true	true
false	script:53: bad argument #1 to (anonymous) (a time in milliseconds expected, got NaN)
true	number	true
true	1	2
`)
}

// An error ends its task and no other, is reported with a traceback, and makes Run fail.
func TestTaskError(t *testing.T) {
	stdout, stderr, err := runScript(t, Script{Name: "prog.lua", Source: `
local silly, task = require "silly", require "silly.task"
local group = require "silly.sync.waitgroup".new()
local function fail() error "broken" end
group:fork(function() fail() end)
group:fork(function() error(setmetatable({}, {__tostring = function() return "an object" end})) end)
group:fork(function() error(setmetatable({}, {__tostring = error})) end)
group:fork(function() local x = nil; return x.y end)
group:wait()
print "the others go on"
local function forever(n) return 1 + forever(n + 1) end
print(pcall(forever, 1) == false)
`})
	if !errors.Is(err, ErrTask) || !strings.Contains(err.Error(), "prog.lua:4: broken") {
		t.Errorf("Run: %v, want ErrTask with the first error", err)
	}
	if stdout != "the others go on\ntrue\n" {
		t.Errorf("printed %q", stdout)
	}
	for _, want := range []string{
		"a task failed: prog.lua:4: broken\nstack traceback:\n", "prog.lua:5: in ", "a task failed: an object", "a task failed: table: 0x", "prog.lua:8: attempt to index",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("standard error lacks %q:\n%s", want, stderr)
		}
	}
}

func TestSyntaxError(t *testing.T) {
	_, _, err := runScript(t, Script{Name: "bad.lua", Source: "print('a'\n=\n"})
	if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), "bad.lua") {
		t.Errorf("Run: %v, want ErrSyntax with the name", err)
	}
}

// Tasks of which each waits for another end the program after a second, and with IdleAfter
// below 0 never.
func TestIdle(t *testing.T) {
	source := `
local task = require "silly.task"
local channel = require "silly.sync.channel".new()
task.fork(function() task.wait() print "never" end)
task.fork(function() require "silly".sleep(5000) channel:push "late" end)
print(channel:pop())
channel:pop()
print "never"
`
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		stdout, _, err := runScript(t, Script{Source: source})
		if took := time.Since(from); err != nil || stdout != "late\n" || took != 6*time.Second {
			t.Errorf("Run: %v after %v, printed %q; want none after 6s", err, took, stdout)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		from := time.Now()
		err := Run(ctx, Script{Source: source, IdleAfter: -1, Stdout: &strings.Builder{}})
		if took := time.Since(from); !errors.Is(err, context.DeadlineExceeded) || took != time.Hour {
			t.Errorf("Run: %v after %v, want the deadline after an hour", err, took)
		}
	})
}

// The end of the context ends tasks that sleep, wait, calculate, and do not want to end.
func TestContextEnds(t *testing.T) {
	reason := errors.New("stopped by the test")
	for name, source := range map[string]string{
		"sleeping":     `require "silly".sleep(1e300)`,
		"waiting":      `require "silly.task".wait()`,
		"calculating":  `while true do end`,
		"catching":     `while true do pcall(function() while true do end end) end`,
		"catching all": `local function f() while true do pcall(f) end end f()`,
		"in coroutine": `coroutine.wrap(function() while true do pcall(require "silly".sleep, 1000) end end)()`,
		"handling":     `xpcall(function() require "silly".sleep(1e9) end, function() while true do end end)`,
		"sorting":      `table.sort({3, 2, 1}, function() require "silly".sleep(1e9) end)`,
		"forking":      `local task = require "silly.task" local function f() task.fork(f) require "silly".sleep(0) end while true do f() end`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			timer := time.AfterFunc(50*time.Millisecond, func() { cancel(reason) })
			defer timer.Stop()
			var stderr strings.Builder
			err := Run(ctx, Script{Source: source, IdleAfter: -1, Stderr: &stderr})
			if !errors.Is(err, reason) || stderr.Len() > 0 {
				t.Errorf("Run: %v, standard error %q; want the cause and nothing", err, stderr.String())
			}
		})
	}
}

// An interrupt ends what a task waits for by an error, once, which has not made the task fail;
// the program then has a second. A task that waits for others waits on.
func TestInterrupt(t *testing.T) {
	const prelude = `
local silly, task, mutex = require "silly", require "silly.task", require "silly.sync.mutex".new()
local channel, group = require "silly.sync.channel".new(), require "silly.sync.waitgroup".new()
require "silly.time".after(1e6, function() print "a timer fires early" end)
`
	for _, tt := range []struct {
		name, source, want string
		took               time.Duration // after the interrupt
	}{
		{"sleeping", `silly.sleep(1e6) print "never"`, "", 0},
		{"waiting", `task.wait() print "never"`, "", 0},
		{"popping", `channel:pop() print "never"`, "", 0},
		{"sleeping, caught", `print(pcall(silly.sleep, 1e6)) silly.sleep(900) print "end"`, "false\tinterrupted\nend\n", 900 * time.Millisecond},
		{"waiting, caught", `print(pcall(task.wait)) silly.sleep(900) print "end"`, "false\tinterrupted\nend\n", 900 * time.Millisecond},
		{"popping, caught", `
task.fork(function() silly.sleep(1e9) end)
print(pcall(channel.pop, channel))
task.fork(function() pcall(silly.sleep, 1e6) silly.sleep(5) channel:push "still works" end)
print(channel:pop())`, "false\tinterrupted\nstill works\n", 5 * time.Millisecond},
		{"in a coroutine", `coroutine.wrap(function() print(pcall(silly.sleep, 1e6)) end)() print "end"`, "false\tinterrupted\nend\n", 0},
		{"in a loop", `while true do pcall(silly.sleep, 100) end`, "", time.Second},
		{"waiting twice", `pcall(task.wait) task.wait() print "never"`, "", 0},
		{"a group", `
group:fork(function() print(pcall(silly.sleep, 1e6)) silly.sleep(10) print "task" end)
group:wait()
print "group"`, "false\tinterrupted\ntask\ngroup\n", 10 * time.Millisecond},
		{"a mutex", `
task.fork(function() local hold = mutex:lock "k" pcall(silly.sleep, 1e6) hold:unlock() end)
silly.sleep(1)
mutex:lock "k"
print "locked"`, "locked\n", 0},
		{"told late", `
require "mine".wait(50) -- until after the interrupt
print(pcall(silly.sleep, 1e6))
print(pcall(task.wait))`, "false\tinterrupted\n", 40 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			const after = 10 * time.Millisecond
			reason := errors.New("interrupted by the test")
			ctx, cancel := context.WithCancelCause(t.Context())
			timer := time.AfterFunc(after, func() { cancel(reason) })
			defer timer.Stop()
			var stdout, stderr strings.Builder
			from := time.Now()
			err := Run(ctx, Script{Source: prelude + tt.source, IdleAfter: -1, Stdout: &stdout, Stderr: &stderr, Modules: modules})
			if took := time.Since(from) - after; !errors.Is(err, reason) || errors.Is(err, ErrTask) || took != tt.took {
				t.Errorf("%s: Run: %v, %v after the interrupt; want its cause after %v", tt.name, err, took, tt.took)
			}
			if stdout.String() != tt.want || stderr.Len() > 0 {
				t.Errorf("%s: printed %q, standard error %q; want %q", tt.name, stdout.String(), stderr.String(), tt.want)
			}
		})
	}
}

// modules has a function that waits for some milliseconds whatever happens.
var modules = map[string]glua.LGFunction{"mine": func(L *glua.LState) int {
	return give(L, L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
		"wait": func(L *glua.LState) int {
			Wait(L, func(context.Context) { time.Sleep(time.Duration(L.CheckInt(1)) * time.Millisecond) })
			return 0
		},
	}))
}}

// A failure after an interrupt is one, as at any time.
func TestInterruptAndFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(10*time.Millisecond, cancel)
	defer timer.Stop()
	var stderr strings.Builder
	err := Run(ctx, Script{Source: `pcall(require "silly".sleep, 1e6) error "broken"`, Stderr: &stderr})
	if !errors.Is(err, ErrTask) || !strings.Contains(stderr.String(), "script:1: broken") {
		t.Errorf("Run: %v, standard error %q; want ErrTask", err, stderr.String())
	}
}

func TestExit(t *testing.T) {
	for source, want := range map[string]int{
		`os.exit(3)`:                          3,
		`os.exit()`:                           0,
		`os.exit(false)`:                      1,
		`require "silly".exit(4)`:             4,
		`while true do pcall(os.exit, 5) end`: 5,
		`require "silly.task".fork(function() os.exit(6) end) require "silly".sleep(1e9)`: 6,
	} {
		_, stderr, err := runScript(t, Script{Source: source})
		var exit *ExitError
		if code := 0; errors.As(err, &exit) {
			code = exit.Code
			if code != want {
				t.Errorf("%s: exit code %d, want %d", source, code, want)
			}
		} else if err != nil || want != 0 {
			t.Errorf("%s: %v, want exit code %d", source, err, want)
		}
		if stderr != "" {
			t.Errorf("%s: standard error %q", source, stderr)
		}
	}
}

func TestMemory(t *testing.T) {
	const limit = 48 << 20
	_, _, err := runScript(t, Script{MaxMemory: limit, Source: `
local list = {}
while true do list[#list + 1] = ("x"):rep(1000) .. #list end
`})
	if !errors.Is(err, ErrMemory) {
		t.Errorf("Run: %v, want ErrMemory", err)
	}
	_, _, err = runScript(t, Script{MaxMemory: limit, Source: `
for i = 1, 30000 do local s = ("x"):rep(1000) .. i end -- garbage does not count
print(pcall(string.rep, "x", 49 * 2^20))
`})
	if err != nil {
		t.Errorf("Run: %v", err)
	}
}

// Functions of the embedder's can wait, and are told when the program ends.
func TestModules(t *testing.T) {
	waiting := make(chan struct{})
	ended := make(chan struct{})
	script := Script{
		Source: `
local mine = require "mine"
require "silly.task".fork(function() print("meanwhile", mine.answer()) mine.stop() end)
mine.wait()
print "never"
`,
		Modules: map[string]glua.LGFunction{"mine": func(L *glua.LState) int {
			L.Push(L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
				"answer": func(L *glua.LState) int { L.Push(glua.LNumber(42)); return 1 },
				"stop":   func(*glua.LState) int { close(waiting); return 0 },
				"wait": func(L *glua.LState) int {
					Wait(L, func(ctx context.Context) { <-ctx.Done(); close(ended) })
					return 0
				},
			}))
			return 1
		}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-waiting
		cancel()
	}()
	var stdout strings.Builder
	script.Stdout = &stdout
	if err := Run(ctx, script); !errors.Is(err, context.Canceled) || stdout.String() != "meanwhile\t42\n" {
		t.Errorf("Run: %v, printed %q", err, stdout.String())
	}
	<-ended
}
