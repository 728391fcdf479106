package main

import (
	"os"
	"strings"
	"sync"
	"testing"

	"silly.store/etcd/examples/internal/example"
)

// TestMain is a worker where main would be one: the program starts itself.
func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// lines collects what several goroutines write.
type lines struct {
	mu  sync.Mutex // guards the text
	all strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

// One worker is killed, the other one has its job too, and every job is counted once.
func TestEveryJobOnce(t *testing.T) {
	out := new(lines)
	if err := example.Run(t.Context(), out, "", run); err != nil {
		t.Fatalf("%v\n%s", err, out.all.String())
	}
	for _, want := range []string{"is killed in the middle of that", "attempt 2", "all 12 jobs are done, each counted once"} {
		if !strings.Contains(out.all.String(), want) {
			t.Errorf("nobody says %q:\n%s", want, out.all.String())
		}
	}
}
