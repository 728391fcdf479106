package concurrency

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/etcdctl/v3/ctlv3"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/conformance/namespaced"
)

// ctlEnv makes this program etcdctl.
const ctlEnv = "ETCD_CONCURRENCY_ETCDCTL"

// ctlMain is etcdctl's main function, with the arguments of this process.
func ctlMain() int {
	ctlv3.MustStart()
	return 0
}

// etcdctl starts etcdctl on the shared server. The channel has the lines of its output,
// with keys as the test's clients name them.
func etcdctl(t testing.TB, args ...string) (*exec.Cmd, <-chan string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"--endpoints", strings.Join(testbed.Shared.Endpoints(), ",")}, args...)...)
	cmd.Env = append(os.Environ(), ctlEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- strings.TrimPrefix(s.Text(), namespaced.Prefix)
		}
	}()
	return cmd, lines
}

// line is the next line of a program.
func line(t testing.TB, lines <-chan string) string {
	t.Helper()
	select {
	case l, ok := <-lines:
		if !ok {
			t.Fatal("the program has ended")
		}
		return l
	case <-time.After(20 * time.Second):
		t.Fatal("the program says nothing")
	}
	return ""
}

// etcdctl lock and a Mutex wait for each other, whichever is first, and so do etcdctl elect
// and an Election.
func TestEtcdctl(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		args    []string // before the name
		acquire func(ctx context.Context, co *concurrency.Coordinator, name string) (*concurrency.Lock, error)
	}{
		"lock": {[]string{"lock"}, func(ctx context.Context, co *concurrency.Coordinator, name string) (*concurrency.Lock, error) {
			return co.Mutex(name, concurrency.MutexConfig{}).Lock(ctx)
		}},
		"lock and TryLock": {[]string{"lock"}, func(ctx context.Context, co *concurrency.Coordinator, name string) (*concurrency.Lock, error) {
			for {
				l, err := co.Mutex(name, concurrency.MutexConfig{}).TryLock(ctx)
				if !errors.Is(err, concurrency.ErrLocked) {
					return l, err
				}
			}
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			co, c, name := fresh(t), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			ctx := testbed.Within(t, 60*time.Second)
			l := must[*concurrency.Lock](t)(test.acquire(ctx, co, name))
			cmd, lines := etcdctl(t, append(test.args, namespaced.Prefix+name)...)
			waiters(t, c, name, 2) // it waits
			select {
			case got := <-lines:
				t.Fatalf("it holds the lock, too: %s", got)
			default:
			}
			token := l.Token()
			unlock(t, l)
			key := line(t, lines)
			if kvs := keys(t, c, name); len(kvs) != 1 || kvs[0].Key != key || kvs[0].CreateRevision <= token {
				t.Errorf("it holds %s, and the keys are %v", key, kvs)
			}
			again := testbed.Async(func() (*concurrency.Lock, error) { return test.acquire(ctx, co, name) })
			if what == "lock" {
				waiters(t, c, name, 2)
			}
			if h, ok, err := co.Mutex(name, concurrency.MutexConfig{}).Holder(ctx); err != nil || !ok || h.Key != key {
				t.Errorf("holder %+v, %v, %v; want %s", h, ok, err, key)
			}
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			next, err := testbed.Await(t, again)
			if err != nil || next.Token() <= token {
				t.Fatalf("the next holder: %v", err)
			}
			unlock(t, next)
			for range lines { // until it ends
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			noKeys(t, c, name)
		})
	}
}

// etcdctl elect observes a leader of ours, and campaigns against it.
func TestEtcdctlElect(t *testing.T) {
	t.Parallel()
	co, c, name := fresh(t), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	ctx := testbed.Within(t, 60*time.Second)
	e := co.Election(name, concurrency.ElectionConfig{Value: []byte("ours")})
	ld := must[*concurrency.Leadership](t)(e.Campaign(ctx))
	listener, told := etcdctl(t, "elect", "--listen", namespaced.Prefix+name)
	if key, value := line(t, told), line(t, told); key != ld.Key() || value != "ours" {
		t.Errorf("it observes %q, %q", key, value)
	}
	candidate, led := etcdctl(t, "elect", namespaced.Prefix+name, "theirs")
	waiters(t, c, name, 2)
	if err := ld.Resign(ctx); err != nil {
		t.Error(err)
	}
	key := line(t, led)
	if st, err := e.Leader(ctx); err != nil || st.Leader != key || string(st.Value) != "theirs" {
		t.Errorf("leader %+v, %v; want %s", st, err, key)
	}
	for _, cmd := range []*exec.Cmd{candidate, listener} {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the listener ends with an error
	}
	noKeys(t, c, name)
}
