package leaktest

import (
	"strings"
	"testing"
)

// A goroutine that runs the code is found, the test's own is not.
func TestRunning(t *testing.T) {
	const here = "silly.store/etcd/internal/leaktest.TestRunning"
	if left := running([]string{here + ".func"}); left != "" {
		t.Fatalf("found before it runs:\n%s", left)
	}
	started, stop := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		close(started)
		<-stop
	}()
	<-started
	if left := running([]string{here + ".func"}); !strings.Contains(left, here) {
		t.Error("the goroutine is not found")
	}
	if left := running([]string{"silly.store/etcd/internal/other."}); left != "" {
		t.Errorf("found of other code:\n%s", left)
	}
	close(stop)
	<-done
	if left := leftovers([]string{here + ".func"}); left != "" {
		t.Errorf("found after it has ended:\n%s", left)
	}
}
