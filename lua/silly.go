package lua

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// openModules makes what scripts can require. The module silly.task is a global too, since a
// program of the manual uses it so.
func (r *runtime) openModules(L *glua.LState) {
	task, clock := r.taskModule(L), r.timeModule(L)
	modules := map[string]*glua.LTable{
		"silly":                r.sillyModule(L, task),
		"silly.task":           task,
		"silly.time":           clock,
		"silly.store.etcd":     r.etcdModule(L),
		"silly.encoding.json":  r.jsonModule(L),
		"silly.logger":         r.loggerModule(L),
		"silly.sync.waitgroup": r.waitGroupModule(L),
		"silly.sync.mutex":     r.mutexModule(L),
		"silly.sync.channel":   r.channelModule(L),
	}
	for name, module := range modules {
		L.PreloadModule(name, func(L *glua.LState) int { return give(L, module) })
	}
	for name, load := range r.script.Modules {
		L.PreloadModule(name, load)
	}
	L.SetGlobal("task", task)
	r.explainMissing(L)
}

// explainMissing has require say of other modules of silly's that they are not here.
func (r *runtime) explainMissing(L *glua.LState) {
	loaders, ok := L.GetField(L.GetGlobal("package"), "loaders").(*glua.LTable)
	if !ok {
		return
	}
	loaders.Append(L.NewFunction(func(L *glua.LState) int {
		if name := L.CheckString(1); strings.HasPrefix(name, "silly.") {
			L.RaiseError("module %s of silly is not in this runtime", name)
		}
		return give(L, glua.LString(""))
	}))
}

// sillyModule is silly, which has the functions of silly.task too, as it had in the past.
func (r *runtime) sillyModule(L *glua.LState, task *glua.LTable) *glua.LTable {
	module := L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{
		"sleep": r.sleep,
		"exit":  r.exit,
		"genid": func(L *glua.LState) int { r.lastID++; return give(L, glua.LNumber(r.lastID)) },
		"pcall": func(L *glua.LState) int { return r.protect(L, sillyPCall) },
	})
	task.ForEach(module.RawSet)
	module.RawSetString("pid", glua.LNumber(os.Getpid()))
	module.RawSetString("version", glua.LString(etcd.Version))
	return module
}

// sillyPCall is pcall whose error is a text with a traceback.
func sillyPCall(L *glua.LState) int {
	L.CheckFunction(1)
	if err := L.PCall(L.GetTop()-1, glua.MultRet, nil); err != nil {
		return refuse(L, glua.LFalse, "error: "+err.Error())
	}
	L.Insert(glua.LTrue, 1)
	return L.GetTop()
}

// exit ends the script at once, with an exit code.
func (r *runtime) exit(L *glua.LState) int {
	code := 0
	switch v := L.Get(1).(type) {
	case glua.LNumber:
		code = int(v)
	case glua.LBool:
		if !v {
			code = 1
		}
	}
	r.kill(&ExitError{Code: code})
	L.RaiseError("the script has called exit")
	return 0
}

// loggerModule is silly.logger: lines for the script's Stderr.
func (r *runtime) loggerModule(L *glua.LState) *glua.LTable {
	module := L.NewTable()
	for name, level := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		module.RawSetString(name, L.NewFunction(func(L *glua.LState) int {
			r.write(level, line(L, " "))
			return 0
		}))
		module.RawSetString(name+"f", L.NewFunction(func(L *glua.LState) int {
			r.write(level, formatted(L))
			return 0
		}))
	}
	return module
}

func (r *runtime) write(level slog.Level, text string) {
	if level >= slog.LevelInfo {
		fmt.Fprintf(r.stderr, "%s %s\n", level, text)
	}
}

// line is all arguments as tostring makes them.
func line(L *glua.LState, separator string) string {
	var b strings.Builder
	for i, n := 1, L.GetTop(); i <= n; i++ {
		if i > 1 {
			b.WriteString(separator)
		}
		b.WriteString(L.ToStringMeta(L.Get(i)).String())
	}
	return b.String()
}
