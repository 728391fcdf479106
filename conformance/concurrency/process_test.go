package concurrency

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
)

// childEnv has the endpoints for a child process, see TestProcessStopped.
const childEnv = "ETCD_CONCURRENCY_CHILD"

// childMain holds a lock, and tries to write behind it when it gets a line.
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
	l, err := co.Mutex("process", concurrency.MutexConfig{}).Lock(ctx)
	if err != nil {
		return err
	}
	fmt.Println("holds", l.Token())
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	_, err = l.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: "process-written"}}})
	fmt.Println("Txn refused:", errors.Is(err, concurrency.ErrLockLost), etcd.MaybeApplied(err))
	fmt.Println("context over:", l.Context().Err() != nil)
	fmt.Println("Unlock:", errors.Is(l.Unlock(ctx), concurrency.ErrLockLost))
	return nil
}

// A process is stopped for longer than its lease lives. When it wakes up, its lock is
// another's: its write is refused, and it learns of the loss.
func TestProcessStopped(t *testing.T) {
	t.Parallel()
	s, c := private(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
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
	line := func() string {
		lines.Scan()
		return lines.Text()
	}
	if got := line(); !strings.HasPrefix(got, "holds ") {
		t.Fatalf("the child: %s", got)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l := must[*concurrency.Lock](t)(coordinate(t, c, concurrency.Config{}).Mutex("process", concurrency.MutexConfig{}).Lock(within(t, 20*time.Second)))
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Txn refused: true false", "context over: true", "Unlock: true"} {
		if got := line(); got != want {
			t.Errorf("the child says %q, want %q", got, want)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if exists(t, c, "process-written") {
		t.Error("the write of the one that was stopped")
	}
	unlock(t, l)
}
