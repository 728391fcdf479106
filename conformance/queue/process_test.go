package queue

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
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/queue"
)

// childEnv has the endpoints for a child process, which takes an item and acknowledges it
// when it gets a line.
const childEnv = "ETCD_QUEUE_CHILD"

// private starts a server for one test, and a client for it.
func private(t testing.TB) (*etcdtest.Server, *etcd.Client) {
	t.Helper()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	return s, connect(t, etcd.Config{Endpoints: s.Endpoints()})
}

func childMain(endpoints string) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := child(ctx, endpoints); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func child(ctx context.Context, endpoints string) error {
	c, err := etcd.New(etcd.Config{Endpoints: strings.Fields(endpoints)})
	if err != nil {
		return err
	}
	defer c.Close()
	co, err := concurrency.New(c, concurrency.Config{TTL: 2 * time.Second})
	if err != nil {
		return err
	}
	q, err := queue.New(co, queue.Config{Name: "process"})
	if err != nil {
		return err
	}
	cl, err := q.Take(ctx)
	if err != nil {
		return err
	}
	fmt.Println("has", cl.Item.ID)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	err = cl.Ack(ctx, put("process-written", "by the child"))
	fmt.Println("Ack refused:", errors.Is(err, queue.ErrClaimLost), etcd.MaybeApplied(err))
	fmt.Println("context over:", cl.Context().Err() != nil)
	return nil
}

// worker starts a child, and returns when it has an item.
func worker(t *testing.T, s *etcdtest.Server) (cmd *exec.Cmd, in io.Writer, line func() string) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(s.Endpoints(), " "))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	line = func() string {
		lines.Scan()
		return lines.Text()
	}
	if got := line(); got != "has x" {
		t.Fatalf("the child: %s", got)
	}
	return cmd, in, line
}

func signal(t *testing.T, cmd *exec.Cmd, s os.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// The item of a worker that is killed is taken by another one when the lease has expired. One
// that is stopped for longer than that has lost it when it wakes up, and applies nothing.
func TestWorkerKilledOrStopped(t *testing.T) {
	t.Parallel()
	s, c := private(t)
	q := open(t, coordinate(t, c, concurrency.Config{}), queue.Config{Name: "process"})
	add(t, q, named("x")...)
	cmd, _, _ := worker(t, s)
	signal(t, cmd, syscall.SIGKILL)
	_ = cmd.Wait() // it was killed
	cmd, in, line := worker(t, s)
	signal(t, cmd, syscall.SIGSTOP)
	cl := take(t, q)
	if cl.Attempt != 3 {
		t.Errorf("attempt %d, want the third", cl.Attempt)
	}
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	signal(t, cmd, syscall.SIGCONT)
	for _, want := range []string{"Ack refused: true false", "context over: true"} {
		if got := line(); got != want {
			t.Errorf("the child says %q, want %q", got, want)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := stored(t, c, "process-written"); got != "" {
		t.Errorf("written %s", got)
	}
	ack(t, cl)
	if left := keys(t, c, "process"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
