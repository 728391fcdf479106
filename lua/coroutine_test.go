package lua

import "testing"

func TestCoroutines(t *testing.T) {
	expect(t, `
local silly, task = require "silly", require "silly.task"
local co = coroutine.create(function(a, b)
	print("started", a, b, coroutine.status(coroutine.running()))
	local c = coroutine.yield(a + b)
	silly.sleep(5)
	return c, "done"
end)
print(coroutine.status(co), coroutine.resume(co, 1, 2))
task.fork(function()
	print("another task", coroutine.status(co), coroutine.resume(co))
end)
print(coroutine.resume(co, 3))
print(coroutine.status(co), coroutine.resume(co))
local failing = coroutine.wrap(function() error "failed" end)
print(pcall(failing))
print(pcall(failing))
print((select(2, coroutine.resume(coroutine.create(function() error {code = 5} end)))).code)
local mine = task.running()
print(coroutine.resume(mine))
print(coroutine.resume(task.fork(function() end)))
for i = 1, 3 do io.write(coroutine.wrap(function() for n = i, i + 1 do coroutine.yield(n) end end)(), " ") end
print()
print(pcall(coroutine.yield))
print(coroutine.resume(coroutine.create(function() return pcall(coroutine.yield, 1) end)))
local function nest() return coroutine.wrap(nest)() end
print((select(2, pcall(nest))))
local function protect() return select(2, pcall(protect)) end
print((protect()))
print(coroutine.wrap(function() return task.running() == mine end)())
`, `started	1	2	running
suspended	true	3
another task	normal	false	cannot resume non-suspended coroutine
true	3	done
dead	false	cannot resume dead coroutine
false	script:15: failed
false	script:17: cannot resume dead coroutine
5
false	cannot resume a task; task.wakeup wakes one that waits
false	cannot resume a task; task.wakeup wakes one that waits
1 2 3 
false	script:24: attempt to yield from within pcall or xpcall
true	false	script:25: attempt to yield from within pcall or xpcall
script:26: stack overflow: more than 150 nested calls of pcall or coroutines
script:28: stack overflow: more than 150 nested calls of pcall or coroutines
true
`)
}
