package etcdtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// child is one run of etcd in its own process.
type child struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when the process has ended

	err error // why it ended; set before done is closed
}

// startChild runs binary. It doesn't wait until the server is ready.
func startChild(h *home, binary string, args []string) (*child, error) {
	log, err := os.OpenFile(h.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("etcdtest: %w", err)
	}
	c := &child{log: log, done: make(chan struct{}), cmd: exec.Command(binary, args...)}
	c.cmd.Dir = h.dir
	// etcd also reads flags from ETCD_ variables, but the test's variables, such as
	// ETCD_ENDPOINTS, are not meant for it.
	c.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "ETCD_")
	}), "ETCDTEST_CHILD=1")
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if h.cfg.Log != nil {
		out := io.MultiWriter(log, h.cfg.Log)
		c.cmd.Stdout, c.cmd.Stderr = out, out
	}
	c.cmd.SysProcAttr = dieWithParent()
	// The child exits at the end of its standard input, which comes with the end of
	// this process.
	if _, err := c.cmd.StdinPipe(); err != nil {
		log.Close()
		return nil, fmt.Errorf("etcdtest: %w", err)
	}
	if err := c.start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("etcdtest: starting %s: %w", binary, err)
	}
	return c, nil
}

// start starts the command and a goroutine that waits for its end.
func (c *child) start() error {
	started := make(chan error, 1)
	go func() {
		// The kernel sends the parent-death signal when the thread that started the
		// child ends, so that thread stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.err = c.cmd.Wait()
		c.log.Close()
		close(c.done)
	}()
	return <-started
}

func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// kill ends the process at once and waits for its end.
func (c *child) kill() error { return c.end(os.Kill) }

// end sends sig, which must end the process, and waits for its end.
func (c *child) end(sig os.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("etcdtest: ending process %d: %w", c.cmd.Process.Pid, err)
	}
	<-c.done
	return nil
}
