// Package lua runs Lua programs that were written for silly.store.etcd, the etcd client of
// silly, on this client. Command sillylua wraps it.
//
//	err := lua.Run(ctx, lua.Script{Name: "hello.lua", Source: `
//		local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
//		assert(client:put {key = "greeting", value = "hello"})
//		print(client:get {key = "greeting"}.kvs[1].value)
//	`})
//
// The README describes the modules that programs can require, and where they differ from
// the originals. Programs are Lua 5.1, in the interpreter github.com/yuin/gopher-lua.
//
// # Tasks
//
// A program begins as one task, and forks others. Each task is a goroutine. Only the one that
// holds the interpreter lock runs Lua code, and it releases the lock only while it
// waits for a call, a time or another task, so other tasks never interrupt the code between two
// waits. Since Go waits and not the interpreter, a program can wait everywhere: in coroutines, in
// metamethods, in the functions that table.sort and string.gsub call. The calls of tasks that wait
// at the same time are in flight at the same time, and share requests as Config.Coalesce says.
//
// # Bounds
//
// The context of [Run] bounds the run time of a program, and Script.MaxMemory its heap. Neither is
// a sandbox: programs have Lua's io and os libraries, and may read and write any file.
package lua
