// Package lua runs Lua programs that were written for silly.store.etcd, the etcd client of
// silly, on this client. Program sillylua is a command around it.
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
// A program begins as one task, and forks others. Each is a goroutine, of which one at a
// time runs Lua code: the one that holds the interpreter lock. It gives the lock up while it
// waits for a call, a time or another task, and nowhere else, so that code between two
// waits is never interrupted by other tasks. Since Go waits and not the interpreter, a
// program can wait everywhere: in coroutines, in metamethods, in the functions that
// table.sort and string.gsub call. The calls of tasks that wait at the same time are under
// way at the same time, and share requests as Config.Coalesce says.
//
// # Bounds
//
// The context of [Run] bounds the time of a program, Script.MaxMemory the heap. Neither is
// a sandbox: programs have Lua's io and os libraries, and read and write files as they like.
package lua
