package group

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/group"
)

// childEnv has the endpoints for a child process, which joins a group and reports what its
// transactions say when it gets a line.
const childEnv = "ETCD_GROUP_CHILD"

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
	owned := make(chan *group.Partition, 100)
	_, err = group.Join(ctx, co, processGroup("child"), func(ctx context.Context, p *group.Partition) error {
		owned <- p
		<-ctx.Done()
		return nil
	})
	if err != nil {
		return err
	}
	p := <-owned
	fmt.Println("owns one")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	_, err = p.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: "process-written"}}})
	fmt.Println("refused:", err != nil && !etcd.MaybeApplied(err))
	return nil
}

func processGroup(member string) group.Config {
	return group.Config{Name: "process", Partitions: 8, Member: member, Settle: settle}
}

// The partitions of a process that is stopped go to others. What it writes when it wakes up
// is refused. When it is killed, they go too.
func TestProcessStoppedAndKilled(t *testing.T) {
	t.Parallel()
	o := newOwners()
	o.join(t, processGroup("here"))
	o.shares(t, map[string]int{"here": 8})
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(shared.Endpoints(), " "))
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
	said := func(want string) {
		t.Helper()
		if lines.Scan(); lines.Text() != want {
			t.Fatalf("the child says %q, want %q", lines.Text(), want)
		}
	}
	said("owns one")
	o.shares(t, map[string]int{"here": 4})
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	o.shares(t, map[string]int{"here": 8})
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	said("refused: true")
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()         // how does not matter
	o.shares(t, map[string]int{"here": 8})
	o.check(t)
}
