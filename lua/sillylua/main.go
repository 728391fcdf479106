// Command sillylua runs Lua programs written for silly.store.etcd:
//
//	sillylua [flags] FILE.lua [arguments]
//
// FILE is - for the standard input. With --embedded a real etcd runs inside this program,
// and nothing else is needed. Its README has the flags and exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/lua"
)

// The exit codes, where the program does not choose its own.
const (
	exitOK    = 0 // it has ended, was idle, was ended by --for or by an interrupt
	exitError = 1 // a task has failed, or a bound was reached
	exitUsage = 2 // it was not run
)

var (
	errFor       = errors.New("the time of --for is over")
	errMaxTime   = errors.New("the script has run longer than --max-time allows")
	errInterrupt = errors.New("interrupted")
	errStuck     = errors.New("the script was in a call that cannot be stopped, like io.read, os.execute or a pattern that takes forever to match")
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// gcPercent lets the heap grow to five times what the program keeps before garbage is
// collected. Programs keep little, and each answer is two or three tables, which are soon
// garbage; at Go's 100 a quarter of the processor's time went into collecting them. A program
// with a bound on its memory has Go's 100, so that garbage does not reach the bound.
const gcPercent = 400

// run is the program, and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	options, err := parseFlags(args, stderr)
	if errors.Is(err, errHelp) {
		return exitOK
	}
	script := lua.Script{
		Name: options.file, Args: options.args, Endpoints: options.endpoints,
		Stdout: stdout, Stderr: stderr, IdleAfter: options.idleAfter, MaxMemory: options.maxMemory,
	}
	if err == nil {
		script.Source, err = source(options.file, stdin)
	}
	if err != nil {
		fmt.Fprintln(stderr, "sillylua:", err)
		return exitUsage
	}
	if options.embedded {
		server, err := etcdtest.New(etcdtest.Config{})
		if err != nil {
			fmt.Fprintln(stderr, "sillylua: --embedded:", err)
			return exitUsage
		}
		defer server.Close()
		script.Endpoints = server.Endpoints()
	}
	if os.Getenv("GOGC") == "" && options.maxMemory == 0 {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := options.bound(ctx)
	defer stop()
	return exitCode(runBounded(ctx, script), stderr)
}

// patience is how long a program may take to end when it must. It needs longer only within
// a call that cannot be stopped.
const patience = 3 * time.Second

// runBounded is lua.Run that returns in time after the end of ctx, also when the program is
// stuck. The process then ends with it.
func runBounded(ctx context.Context, script lua.Script) error {
	ended := make(chan error, 1)
	go func() { ended <- lua.Run(ctx, script) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		return fmt.Errorf("%w: %w", errStuck, context.Cause(ctx))
	}
}

// source reads the program. Its name is that of the file.
func source(file string, stdin io.Reader) (string, error) {
	if file == "-" {
		text, err := io.ReadAll(stdin)
		return string(text), err
	}
	text, err := os.ReadFile(file)
	return string(text), err
}

// bound returns a context that ends when the program is to end.
func (o *options) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, interrupt := context.WithCancelCause(ctx)
	stops := []func(){func() { interrupt(nil) }, onInterrupt(func() { interrupt(errInterrupt) })}
	if o.lifetime > 0 {
		timed, stop := context.WithTimeoutCause(ctx, o.lifetime, errFor)
		ctx, stops = timed, append(stops, stop)
	}
	if o.maxTime > 0 {
		timed, stop := context.WithTimeoutCause(ctx, o.maxTime, errMaxTime)
		ctx, stops = timed, append(stops, stop)
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// onInterrupt calls f at the first interrupt. The next one ends the process.
func onInterrupt(f func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			signal.Stop(signals)
			f()
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// exitCode says on stderr why a program has failed, unless its tasks' errors have done so.
func exitCode(err error, stderr io.Writer) int {
	var exit *lua.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.Code
	case errors.Is(err, lua.ErrTask) && !errors.Is(err, errMaxTime) && !errors.Is(err, lua.ErrMemory):
		return exitError
	case err == nil, errors.Is(err, errInterrupt):
		return exitOK
	case errors.Is(err, errFor):
		if errors.Is(err, errStuck) {
			fmt.Fprintln(stderr, "sillylua:", err)
		}
		return exitOK
	case errors.Is(err, lua.ErrSyntax):
		fmt.Fprintln(stderr, "sillylua:", strings.TrimSpace(err.Error())) // the parser's ends with a line's end
		return exitUsage
	}
	fmt.Fprintln(stderr, "sillylua:", err)
	return exitError
}
