package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/namespaced"
)

// The environment of a child process: which of Config.Children it is, and its endpoints.
const (
	childEnv     = "TESTBED_CHILD"
	endpointsEnv = "TESTBED_ENDPOINTS"
)

func runChild(f func(ctx context.Context, endpoints []string) error) int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := f(ctx, strings.Fields(os.Getenv(endpointsEnv))); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// Child is a child process.
type Child struct {
	Out *bufio.Reader // what it prints
	cmd *exec.Cmd
	in  io.Writer
}

// StartChild starts one of Config.Children. It is killed with the test.
func StartChild(t testing.TB, name string, endpoints ...string) *Child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &Child{cmd: exec.Command(self)} //nolint:G204 // the test binary itself
	c.cmd.Env = append(os.Environ(), childEnv+"="+name, endpointsEnv+"="+strings.Join(endpoints, " "))
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Kill() })
	return c
}

// Line returns the next line that the child prints.
func (c *Child) Line(t testing.TB) string {
	t.Helper()
	line, err := c.Out.ReadString('\n')
	if err != nil {
		t.Errorf("no line from the child: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// Says checks the next lines that the child prints.
func (c *Child) Says(t testing.TB, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if got := c.Line(t); got != want {
			t.Fatalf("the child says %q, want %q", got, want)
		}
	}
}

// Go gives the child, which waits with [Told], a line.
func (c *Child) Go(t testing.TB) {
	t.Helper()
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		t.Fatal(err)
	}
}

// ChildCoordinator is for the child: a Coordinator with leases of 2 s, on its own client, which
// sees the keys that the clients of [Connect] see. close ends the client.
func ChildCoordinator(endpoints []string) (co *concurrency.Coordinator, close func() error, err error) {
	c, err := etcd.New(etcd.Config{Endpoints: endpoints})
	if err != nil {
		return nil, nil, err
	}
	co, err = concurrency.New(c.Namespace(namespaced.Prefix), concurrency.Config{TTL: 2 * time.Second})
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return co, c.Close, nil
}

// Told is for the child: it waits for Go.
func Told() error {
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// Stop has the child stand still until Continue.
func (c *Child) Stop(t testing.TB)     { c.signal(t, syscall.SIGSTOP) }
func (c *Child) Continue(t testing.TB) { c.signal(t, syscall.SIGCONT) }

func (c *Child) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Kill kills the child, if it has not ended, and waits for its end.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	_ = c.cmd.Wait()         // how does not matter
}

// Wait waits until the child has ended by itself, without an error.
func (c *Child) Wait(t testing.TB) {
	t.Helper()
	if err := c.cmd.Wait(); err != nil {
		t.Error(err)
	}
}
