package lua

import (
	"context"
	goruntime "runtime"
	"strings"
	"testing"

	glua "github.com/yuin/gopher-lua"
)

// TestTaskSize holds a task that waits to 20 kB, its goroutine included.
func TestTaskSize(t *testing.T) {
	const tasks, most = 2000, 20_000
	var before, during uint64
	script := Script{
		Source: `
local task, measure = require "silly.task", require "measure"
local list = {}
measure.before()
local function wait(n)
	local text = "task " .. n
	local result = task.wait()
	return result, text
end
for i = 1, 2000 do list[i] = task.fork(function() wait(i) end) end
require "silly".sleep(0)
measure.during()
for i = 1, 2000 do task.wakeup(list[i]) end
`,
		Modules: map[string]glua.LGFunction{"measure": func(L *glua.LState) int {
			return give(L, L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
				"before": func(*glua.LState) int { before = inUse(); return 0 },
				"during": func(*glua.LState) int { during = inUse(); return 0 },
			}))
		}},
		Stderr: &strings.Builder{},
	}
	if err := Run(context.Background(), script); err != nil {
		t.Fatal(err)
	}
	size := (during - before) / tasks
	t.Logf("a task that waits takes %d bytes", size)
	if during < before || size > most {
		t.Errorf("a task that waits takes %d bytes, want at most %d", size, most)
	}
}

// inUse is the size of the heap's live objects and of the goroutines' stacks.
func inUse() uint64 {
	goruntime.GC()
	goruntime.GC()
	var stats goruntime.MemStats
	goruntime.ReadMemStats(&stats)
	return stats.HeapAlloc + stats.StackInuse
}
