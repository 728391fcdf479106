package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

const header = `
local silly, etcd, task = require "silly", require "silly.store.etcd", require "silly.task"
local client = etcd.newclient {endpoints = {"127.0.0.1:1"}, retry = 0, timeout = 5}
`

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"", exitUsage, "no program is named"},
		{"--help", exitOK, "usage: sillylua [flags] FILE.lua"},
		{"--nonsense -", exitUsage, "flag provided but not defined: -nonsense"},
		{"--exit later -", exitUsage, `--exit is "later"; use idle or never`},
		{"--embedded --endpoints a:1 -", exitUsage, "--embedded and --endpoints exclude each other"},
		{"--for -1s -", exitUsage, "--for and --max-time must not be negative"},
		{"--max-memory -1 -", exitUsage, "--max-memory is -1 MiB"},
		{"--endpoints= -", exitUsage, `--endpoints is "" and names none`},
		{"--endpoints , -", exitUsage, `--endpoints is "," and names none`},
		{"--embedded --endpoints= -", exitUsage, "--endpoints"},
		{"--for 0s -", exitUsage, "--for is 0s; leave it out"},
		{"--max-time 0 -", exitUsage, "--max-time is 0s; leave it out"},
		{"--max-memory 0 -", exitUsage, "--max-memory is 0; leave it out"},
		{"--for soon -", exitUsage, `invalid value "soon" for flag -for`},
		{"/nonexistent.lua", exitUsage, "no such file"},
		{"-", exitOK, ""},
	} {
		got := sillylua(t.Context(), "print 'ran'", strings.Fields(tt.args)...)
		if got.code != tt.code || !strings.Contains(got.stderr, tt.stderr) {
			t.Errorf("sillylua %s: exit code %d, want %d with %q; standard error:\n%s", tt.args, got.code, tt.code, tt.stderr, got.stderr)
		}
		if ran := got.stdout == "ran\n"; ran != (tt.args == "-") {
			t.Errorf("sillylua %s printed %q", tt.args, got.stdout)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		name, args, source string
		code               int
		stderr             string
	}{
		{"ended", "-", "", exitOK, ""},
		{"idle", "-", "task.wait()", exitOK, ""},
		{"for", "--for 50ms -", "while true do silly.sleep(1) end", exitOK, ""},
		{"for, never idle", "--exit never --for 50ms -", "task.wait()", exitOK, ""},
		{"max-time", "--max-time 50ms -", "while true do end", exitError, "longer than --max-time allows"},
		{"max-memory", "--max-memory 1 -", "local t = {} while true do t[#t + 1] = {} end", exitError, "too much memory"},
		{"task", "-", "task.fork(function() error 'broken' end)", exitError, "-:4: broken"},
		{"task, for", "--for 50ms -", "task.fork(function() error 'broken' end) while true do silly.sleep(1) end", exitError, "-:4: broken"},
		{"syntax", "-", "x =", exitUsage, "not a valid program: - at EOF"},
		{"exit", "-", "os.exit(7)", 7, ""},
		{"bad configuration", "-", "etcd.newclient {endpoints = 'here'}", exitError, "newclient: endpoints must be a list, not a string"},
	} {
		got := sillylua(t.Context(), header+tt.source, strings.Fields(tt.args)...)
		if got.code != tt.code || !strings.Contains(got.stderr, tt.stderr) || tt.stderr == "" && got.stderr != "" {
			t.Errorf("%s: exit code %d, want %d with %q; standard error:\n%s", tt.name, got.code, tt.code, tt.stderr, got.stderr)
		}
	}
}

// A call that cannot be stopped holds a program up, but not the process.
func TestStuck(t *testing.T) {
	const pattern = `("a"):rep(1e5):find(("a-"):rep(20) .. "b")`
	if source := os.Getenv(stuckEnv); source != "" {
		os.Exit(run(t.Context(), append(strings.Fields(os.Getenv(stuckArgsEnv)), "-"), strings.NewReader(source), os.Stdout, os.Stderr))
	}
	t.Parallel()
	for _, tt := range []struct {
		name, args, source string
		interrupt          bool
		code               int
		want               string // a part of the output
	}{
		{"for", "--for 50ms", pattern, false, exitOK, "cannot be stopped, like io.read, os.execute or a pattern"},
		{"max-time", "--max-time 50ms", pattern, false, exitError, "cannot be stopped"},
		{"interrupt", "", `print "reading" io.read()`, true, exitOK, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestStuck$")
			child.Env = append(os.Environ(), stuckEnv+"="+tt.source, stuckArgsEnv+"="+tt.args)
			stdin, err := child.StdinPipe() // nothing comes from it
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = stdin.Close() }()
			stdout, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr strings.Builder
			child.Stderr = &stderr
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			if tt.interrupt {
				if _, err := stdout.Read(make([]byte, len("reading\n"))); err != nil {
					t.Fatal(err)
				}
				if err := child.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
			}
			_ = child.Wait() // the exit code tells
			if code := child.ProcessState.ExitCode(); code != tt.code || !strings.Contains(stderr.String(), tt.want) || tt.want == "" && stderr.Len() > 0 {
				t.Errorf("exit code %d, want %d with %q; standard error:\n%s", code, tt.code, tt.want, stderr.String())
			}
		})
	}
}

// stuckEnv has TestStuck be the program that is stuck, with the flags in stuckArgsEnv.
const (
	stuckEnv     = "SILLYLUA_STUCK"
	stuckArgsEnv = "SILLYLUA_STUCK_ARGS"
)

func TestFileWithArguments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hello.lua")
	if err := os.WriteFile(path, []byte("#!/usr/bin/env sillylua\nprint(arg[0], arg[1], ...)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := expect(t, "", path, "--for", "x"), path+"\t--for\t--for\tx\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// An interrupt closes streams, so that their readers go on, wakes tasks by an error, and
// revokes nothing.
func TestInterrupt(t *testing.T) {
	server := etcdtest.Start(t)
	c := connect(t, server)
	w, err := c.Watch(t.Context(), etcd.WatchRequest{Key: "ready"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan outcome, 1)
	go func() {
		done <- sillylua(t.Context(), header+`
local lease = client:grant {TTL = 60}
client:put {key = "mine", value = "v", lease = lease.ID}
local stream = client:watch {key = "never"}
task.fork(function() print("reader", (select(2, stream:read()))) client:put {key = "cleaned", value = "up"} end)
local other = client:grant {TTL = 60}
assert(client:lock(other.ID, "lock", "held"))
task.fork(function()
	client:put {key = "ready", value = ""}
	print("lock", client:lock(other.ID, "lock", "waiting"))
	print("unlock", client:unlock("lock", "waiting").deleted, client:unlock("lock", "held").deleted)
end)
task.fork(function()
	print("sleeper", pcall(silly.sleep, 1e9))
	print("put", client:put {key = "sleeper", value = "cleaned up too"} ~= nil)
end)
silly.sleep(1e9)
print "never"
`, "--endpoints", server.Endpoints()[0], "-")
	}()
	if _, err := w.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	got := <-done
	if got.code != exitOK || got.stderr != "" {
		t.Errorf("exit code %d, standard error %q", got.code, got.stderr)
	}
	checkOutput(t, got.stdout, `~reader	watch is closed
~lock	false	interrupted	table: <any>
~unlock	1	1
~sleeper	false	interrupted
~put	true
`)
	resp, err := c.Get(t.Context(), etcd.GetRequest{FromKey: true})
	if err != nil || resp.Count != 4 {
		t.Errorf("the server has %v, %v; want mine, cleaned, ready and sleeper", resp, err)
	}
}

func connect(t *testing.T, server *etcdtest.Server) *etcd.Client {
	t.Helper()
	c, err := etcd.New(etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A program whose etcd goes away gets failures and does not hang. Its watch waits for the
// server to come back, until the program is idle.
func TestServerGone(t *testing.T) {
	server := etcdtest.Start(t)
	c := connect(t, server)
	w, err := c.Watch(t.Context(), etcd.WatchRequest{Key: "ready"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan outcome, 1)
	go func() {
		done <- sillylua(t.Context(), header+`
client:grant {TTL = 60}
local stream = client:watch {key = "k"}
task.fork(function() print("watch", (select(2, stream:read()))) end)
local keepalive = client:keepalive {ID = client:grant {TTL = 60}.ID}
client:put {key = "ready", value = ""} -- its answer may be lost
local res, err, details
repeat
	res, err, details = client:put {key = "other", value = "v"}
	silly.sleep(1)
until not res
print(details.code, details.temporary)
print("keepalive", (keepalive:write() and keepalive:read()))
`, "--endpoints", server.Endpoints()[0], "-")
	}()
	if _, err := w.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	got := <-done
	if got.code != exitOK || strings.Contains(got.stderr, "a task failed") {
		t.Errorf("exit code %d, standard error:\n%s", got.code, got.stderr)
	}
	checkOutput(t, got.stdout, "UNAVAILABLE\ttrue\nkeepalive\tnil\nwatch\twatch is closed\n")
}

// A script that opens streams, never closes them, and ends leaves nothing behind: TestMain
// looks for goroutines.
func TestUnclosedStreams(t *testing.T) {
	got := expect(t, header+`
for i = 1, 50 do
	local stream = client:watch {key = "k" .. i}
	task.fork(function() stream:read() silly.sleep(1e9) end)
end
local lease = client:grant {TTL = 60}.ID
for i = 1, 5 do client:keepalive {ID = lease}:write() end
for i = 1, 5 do etcd.newclient {endpoints = {"127.0.0.1:1"}}:put {key = "k" .. i, value = "v"} end
print "end"
`, "--embedded", "--for", "1s", "-")
	if got != "end\n" {
		t.Errorf("printed %q", got)
	}
}

// The lock of the original, across tasks and clients.
func TestLock(t *testing.T) {
	checkOutput(t, expect(t, header+`
local group = require "silly.sync.waitgroup".new()
local order = {}
local lease = client:grant {TTL = 60}.ID
print(client:lock(lease, "lock", "first"))
for i = 1, 3 do
	local mine = etcd.newclient {endpoints = {"127.0.0.1:1"}}
	group:fork(function()
		assert(mine:lock(lease, "lock", "task" .. i))
		order[#order + 1] = i
		silly.sleep(5)
		order[#order + 1] = i
		mine:unlock("lock", "task" .. i)
	end)
	repeat silly.sleep(1) until client:get {key = "lock/task" .. i}.count == 1
end
print(#order, client:unlock("lock", "first").deleted)
group:wait()
print(table.concat(order, " "))
print(client:lock(12345, "lock", "x"))
print(client:get {key = "lock", prefix = true}.count)
`, "--embedded", "-"), `true
0	1
1 1 2 2 3 3
false	code = NOT_FOUND desc = etcdserver: requested lease not found	table: <any>
0
`)
}

// With authentication on, the options user and password are used.
func TestAuthentication(t *testing.T) {
	server := etcdtest.Start(t)
	c := connect(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, step := range []func() error{
		func() error {
			_, err := c.Auth().UserAdd(ctx, etcd.UserAddRequest{Name: "root", Password: "secret"})
			return err
		},
		func() error {
			_, err := c.Auth().UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "root", Role: "root"})
			return err
		},
		func() error { _, err := c.Auth().Enable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	checkOutput(t, expect(t, `
local etcd = require "silly.store.etcd"
local endpoints = {arg[1]}
print(etcd.newclient {endpoints = endpoints, user = "root", password = "secret"}:put {key = "k", value = "v"} ~= nil)
print((select(2, etcd.newclient {endpoints = endpoints, user = "root", password = "wrong"}:put {key = "k", value = "v"})))
print((select(2, etcd.newclient {endpoints = endpoints}:put {key = "k", value = "v"})))
print(pcall(etcd.newclient, {endpoints = endpoints, user = "root"}))
print(etcd.newclient {dsn = "etcd://root:secret@" .. arg[1]:gsub("http://", "") .. "/"}:get {key = "k"}.count)
`, "-", server.Endpoints()[0]), `true
code = <any>authentication failed<any>
code = <any>
false	<any>newclient: password is empty, but user is set<any>
1
`)
}

// writeCA writes a CA's certificate to a file, and returns its name.
func writeCA(t *testing.T, ca *etcdtest.CA) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTLS(t *testing.T) {
	ca, err := etcdtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	file := writeCA(t, ca)
	server := etcdtest.StartConfig(t, etcdtest.Config{TLS: etcdtest.ServerTLS, CA: ca})
	checkOutput(t, expect(t, `
local etcd = require "silly.store.etcd"
print(etcd.newclient {endpoints = {arg[1]}, ca = arg[2]}:put {key = "k", value = "v"} ~= nil)
print((select(2, etcd.newclient {endpoints = {arg[1]}}:put {key = "k", value = "v"})))
print(pcall(etcd.newclient, {endpoints = {arg[1]}, ca = "/nonexistent"}))
`, "-", server.Endpoints()[0], file), `true
code = <any>certificate<any>
false	<any>newclient: <any>/nonexistent<any>
`)
}
