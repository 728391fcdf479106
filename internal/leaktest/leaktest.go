// Package leaktest fails a test run that leaves goroutines behind. Only tests import
// it.
package leaktest

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Ours is code of this module below the commands and tests.
var Ours = []string{"silly.store/etcd.", "silly.store/etcd/internal/"}

// patience is how long goroutines may take to end after the last test.
const patience = 5 * time.Second

// Main runs the tests of a package and exits. The run fails when goroutines of this
// module are left behind.
func Main(m *testing.M) { os.Exit(Run(m, Ours...)) }

// Run is Main for a package that has more to do: it runs the tests and returns the exit
// code. code names what a goroutine that is left must not run, as it stands in stacks.
func Run(m *testing.M, code ...string) int {
	if exit := m.Run(); exit != 0 {
		return exit
	}
	if left := leftovers(code); left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left after all tests:\n\n%s\n", left)
		return 1
	}
	return 0
}

// leftovers returns the stacks of other goroutines that still run the code when
// patience is over.
func leftovers(code []string) string {
	for end := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		left := running(code)
		if left == "" || time.Now().After(end) {
			return left
		}
	}
}

func running(code []string) string {
	var left []string
	for _, stack := range strings.Split(stacks(), "\n\n")[1:] { // the first is this one
		if runs(stack, code) {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// stacks returns those of all goroutines, the caller's first.
func stacks() string {
	buffer := make([]byte, 4<<20)
	return string(buffer[:runtime.Stack(buffer, true)])
}

// runs reports whether one of the functions is in the stack.
func runs(stack string, code []string) bool {
	return slices.ContainsFunc(code, func(c string) bool { return strings.Contains(stack, c) })
}
