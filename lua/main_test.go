package lua

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/lua.")...))
}

// runScript runs a script, and returns what it has printed, what it has written to its
// standard error, and the error of Run.
func runScript(t *testing.T, script Script) (stdout, stderr string, err error) {
	t.Helper()
	var out, log strings.Builder
	script.Stdout, script.Stderr = &out, &log
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = Run(ctx, script)
	return out.String(), log.String(), err
}

// expect runs a source that is to end well and to print want.
func expect(t *testing.T, source, want string) {
	t.Helper()
	stdout, stderr, err := runScript(t, Script{Source: source})
	if err != nil || stderr != "" {
		t.Errorf("Run: %v, standard error:\n%s", err, stderr)
	}
	if stdout != want {
		t.Errorf("printed:\n%s\nwant:\n%s", stdout, want)
	}
}
