package balance

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run when a goroutine of a set outlives its test.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(5 * time.Second)
	for left := lingering(); code == 0 && left != ""; left = lingering() {
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "goroutines are left after all tests:\n\n%s\n", left)
			code = 1
		}
		<-time.After(time.Millisecond)
	}
	os.Exit(code)
}

func lingering() string {
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
