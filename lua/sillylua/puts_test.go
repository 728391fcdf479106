package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/lua"
)

const (
	putTasks   = 200
	putsOfTask = 50
)

// BenchmarkPuts makes 10,000 puts from 200 tasks, beside the same in Go from 200 goroutines,
// with both ways of coalescing. The server is a separate process, and garbage is collected
// as in the command.
func BenchmarkPuts(b *testing.B) {
	server, err := etcdtest.NewProcess(etcdtest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close() })
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	for _, coalesce := range []etcd.Coalesce{etcd.CoalesceReads, etcd.CoalesceAll} {
		b.Run("lua/"+coalesce.String(), func(b *testing.B) {
			for b.Loop() {
				putsInLua(b, server, coalesce)
			}
		})
		b.Run("go/"+coalesce.String(), func(b *testing.B) {
			for b.Loop() {
				putsInGo(b, server, coalesce)
			}
		})
	}
}

func putsInLua(b *testing.B, server *etcdtest.Server, coalesce etcd.Coalesce) {
	b.Helper()
	script := lua.Script{
		Endpoints: server.Endpoints(), Stdout: io.Discard, Stderr: io.Discard,
		Configure: func(c *etcd.Config) { c.Coalesce = coalesce },
		Source: fmt.Sprintf(`
local client = require "silly.store.etcd".newclient {endpoints = {"127.0.0.1:2379"}}
local group = require "silly.sync.waitgroup".new()
for i = 1, %d do
	group:fork(function()
		for j = 1, %d do
			assert(client:put {key = "key/" .. i .. "/" .. j, value = "value-" .. j})
		end
	end)
end
group:wait()
`, putTasks, putsOfTask),
	}
	if err := lua.Run(b.Context(), script); err != nil {
		b.Fatal(err)
	}
}

func putsInGo(b *testing.B, server *etcdtest.Server, coalesce etcd.Coalesce) {
	b.Helper()
	c, err := etcd.New(etcd.Config{Endpoints: server.Endpoints(), Coalesce: coalesce})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var routines sync.WaitGroup
	for i := range putTasks {
		routines.Go(func() {
			for j := range putsOfTask {
				req := etcd.PutRequest{Key: fmt.Sprintf("key/%d/%d", i, j), Value: fmt.Appendf(nil, "value-%d", j)}
				if _, err := c.Put(b.Context(), req); err != nil {
					b.Error(err)
				}
			}
		})
	}
	routines.Wait()
}
