package etcdtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"silly.store/etcd/etcdtest"
)

func TestProcessKillAndRestart(t *testing.T) {
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	if s.PID() == os.Getpid() || s.PID() == 0 {
		t.Fatalf("PID %d, want a child's", s.PID())
	}
	if err := put(t.Context(), s, "k", "v"); err != nil {
		t.Fatal(err)
	}
	addr, pid := s.Addr(), s.PID()
	for _, end := range map[string]func() error{"kill": s.Kill, "terminate": s.Terminate} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		refused(t, s)
		if s.PID() != 0 {
			t.Errorf("PID %d after its end, want 0", s.PID())
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	if s.Addr() != addr || s.PID() == pid {
		t.Errorf("restarted as process %d on %s, was %d on %s", s.PID(), s.Addr(), pid, addr)
	}
	if v, err := get(t.Context(), s, "k"); v != "v" || err != nil {
		t.Errorf("after the restart the key is %q, %v", v, err)
	}
}

func TestEmbeddedRestart(t *testing.T) {
	s := etcdtest.StartConfig(t, etcdtest.Config{Version: "3.7"})
	if err := put(t.Context(), s, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	refused(t, s)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if v, err := get(t.Context(), s, "k"); v != "v" || err != nil {
		t.Errorf("after the restart the key is %q, %v", v, err)
	}
	if err := s.Stop(); err == nil {
		t.Error("an embedded server could be stopped")
	}
}

func TestProcessStopAndContinue(t *testing.T) {
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	// The kernel accepts the connection, and nothing answers.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := read(ctx, s, nil); err == nil {
		t.Error("a stopped server answered")
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	if !usable(t, s, nil) {
		t.Error("the server doesn't answer after Continue")
	}
	// A stopped child can be killed too, here by the end of the test.
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestMetric(t *testing.T) {
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	if v, err := s.Metric(t.Context(), "etcd_server_is_leader"); v != 1 || err != nil {
		t.Errorf("etcd_server_is_leader is %v, %v", v, err)
	}
	if _, err := s.Metric(t.Context(), "etcd_server_is"); err == nil {
		t.Error("the beginning of a metric's name is taken for the name")
	}
}

func TestCluster(t *testing.T) {
	begin := time.Now()
	c := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	t.Logf("three members started in %v", time.Since(begin).Round(time.Millisecond))
	if len(c.Endpoints()) != 3 || len(c.Members()) != 3 {
		t.Fatalf("endpoints %v", c.Endpoints())
	}
	first, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), first, "k", "v"); err != nil {
		t.Fatal(err)
	}

	// A stopped leader still believes that it leads the cluster.
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second == first {
		t.Fatal("the stopped member is still reported as the leader")
	}
	if err := first.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := first.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}

	if err := second.Kill(); err != nil {
		t.Fatal(err)
	}
	third, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if third == second {
		t.Fatal("the killed member is still reported as the leader")
	}
	if err := second.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Members() {
		if v, err := get(t.Context(), m, "k"); v != "v" || err != nil {
			t.Errorf("member %s has %q, %v", m.Name(), v, err)
		}
	}

	// Without quorum there is no leader; the wait says so and ends with ctx.
	for _, m := range c.Members()[:2] {
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if m, err := c.Leader(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("leader without quorum: %v, %v", m, err)
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
}

func TestClusterTLS(t *testing.T) {
	c := etcdtest.StartCluster(t, etcdtest.ClusterConfig{Config: etcdtest.Config{TLS: etcdtest.MutualTLS}})
	shared := c.Members()[0].ClientTLS()
	for _, m := range c.Members() {
		if !usable(t, m, shared) {
			t.Errorf("member %s refuses a client of the cluster's CA", m.Name())
		}
	}
}

// parentEnv makes TestChildDiesWithParent act as the parent that is killed.
const parentEnv = "ETCDTEST_TEST_PARENT"

func TestChildDiesWithParent(t *testing.T) {
	if os.Getenv(parentEnv) != "" {
		s := etcdtest.StartProcess(t, etcdtest.Config{})
		if os.Getenv(parentEnv) == "stopped" {
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Printf("child %d %s\n", s.PID(), s.DataDir())
		select {} // killed here
	}
	for _, mode := range []string{"running", "stopped"} {
		parent := exec.Command(os.Args[0], "-test.run=^TestChildDiesWithParent$")
		parent.Env = append(os.Environ(), parentEnv+"="+mode)
		out, err := parent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Start(); err != nil {
			t.Fatal(err)
		}
		var pid int
		lines := bufio.NewScanner(out)
		for pid == 0 && lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), "child "); ok {
				number, dir, _ := strings.Cut(rest, " ")
				pid, _ = strconv.Atoi(number)
				defer os.RemoveAll(strings.TrimSuffix(dir, "/data"))
			}
		}
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := parent.Wait(); err == nil {
			t.Error("the parent ended well, want killed")
		}
		if pid == 0 {
			t.Fatal("the parent named no child")
		}
		eventually(t, func() bool { return gone(pid) }, func() string { return fmt.Sprintf("%s child %d lives on", mode, pid) })
	}
}

// gone reports whether the process has ended; a zombie counts as ended.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
