package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"strings"
	"testing"

	"silly.store/etcd/internal/leaktest"
)

var slow = flag.Bool("slow", false, "leases of a minute outlive their TTL with real waiting (make test-slow)")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(leaktest.Run(m, append(leaktest.Ours, "silly.store/etcd/lua.", "silly.store/etcd/lua/sillylua.")...))
}

// outcome is what a run of the program has left.
type outcome struct {
	code           int
	stdout, stderr string
}

// sillylua runs the program with the source on its standard input, and these flags and
// arguments. A - among them stands for the source.
func sillylua(ctx context.Context, source string, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(source), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// expect runs a source that is to end well, and returns what it has printed.
func expect(t *testing.T, source string, args ...string) string {
	t.Helper()
	got := sillylua(t.Context(), source, args...)
	if got.code != exitOK || strings.Contains(got.stderr, "a task failed") {
		t.Errorf("exit code %d, standard error:\n%s", got.code, got.stderr)
	}
	return got.stdout
}
