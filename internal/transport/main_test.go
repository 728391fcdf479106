package transport

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run when a goroutine of this package outlives its test.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := lingering(5 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines are left after all tests:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// lingering is the stacks of the goroutines that still run code of this module,
// once they have had patience to end.
func lingering(patience time.Duration) string {
	deadline := time.Now().Add(patience)
	for {
		left := moduleStacks()
		if left == "" || time.Now().After(deadline) {
			return left
		}
		<-time.After(time.Millisecond)
	}
}

func moduleStacks() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for i, g := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(g, "silly.store/etcd") { // the first is our own
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}
