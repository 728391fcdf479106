package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/robustness/internal/report"
)

// One scenario for a second: the report is written, and judging the kept history
// again gives the same verdict.
func TestScenario(t *testing.T) {
	out := t.TempDir()
	var stdout, stderr bytes.Buffer
	args := []string{"-run", "cut-requests", "-client", "ours", "-time", "1s", "-seed", "7", "-keep", "-out", out}
	if err := run(t.Context(), args, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	written, err := report.Load(filepath.Join(out, report.FileJSON))
	if err != nil {
		t.Fatal(err)
	}
	rows := written.Scenarios
	if len(rows) != 1 || rows[0].Faults == 0 || rows[0].Calls == 0 || rows[0].Broken() != 0 {
		t.Errorf("report %+v", rows)
	}
	for _, name := range []string{"report.md", "recovery.svg", "cut-requests-ours-7/etcd1.log"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	var again bytes.Buffer
	if err := run(t.Context(), []string{"-replay", filepath.Join(out, "cut-requests-ours-7", "history.json.gz")}, &again, &stderr); err != nil {
		t.Error(err)
	}
	if again.String() != stdout.String() {
		t.Errorf("the verdict was %s and is %s", stdout.String(), again.String())
	}
}

// An interrupted soak ends with a verdict on what has run.
func TestSoak(t *testing.T) {
	out := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	stdout := &until{stop: regexp.MustCompile(`(?m)^0:(0[1-9]|[1-5]\d) .*\n`), then: interrupt}
	var stderr bytes.Buffer
	err := runSoak(ctx, soakOptions{time: time.Hour, warm: time.Second, seed: 7, out: out}, stdout, &stderr)
	if err != nil && !errors.Is(err, errSoak) { // the warm-up is too short for the memory check
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	var r report.Soak
	asJSON, err := os.ReadFile(filepath.Join(out, "soak.json"))
	if err == nil {
		err = json.Unmarshal(asJSON, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Injected() == 0 || r.Calls == 0 || r.Events == 0 || r.Leases == 0 || len(r.Usage) != 2 {
		t.Errorf("too little happened: %s", asJSON)
	}
	if r.Broken() != 0 || len(r.Failures) != 0 {
		t.Errorf("failed: %q, %+v", r.Failures, r.Findings)
	}
	if !regexp.MustCompile(`(PASS|FAIL), seed 7; the report is in `).MatchString(stdout.String()) {
		t.Errorf("no verdict in %s", stdout.String())
	}
	if text, err := os.ReadFile(filepath.Join(out, "soak.md")); err != nil || !bytes.Contains(text, []byte("It was interrupted")) {
		t.Errorf("report %v %s", err, text)
	}
}

// until is a buffer that calls then once it contains stop.
type until struct {
	bytes.Buffer
	stop *regexp.Regexp
	then func()
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if u.stop.Match(u.Bytes()) {
		u.then()
	}
	return n, err
}

func TestArguments(t *testing.T) {
	for _, bad := range []struct {
		args []string
		says string
	}{
		{[]string{"-run", "nonsense"}, `no scenario "nonsense"`},
		{[]string{"-mutants", "-run", "stall"}, `no mutant "stall"`},
		{[]string{"-client", "jetcd"}, `no client "jetcd"; there are ours and client/v3`},
		{[]string{"-replay", "nowhere"}, "reading a history"},
		{[]string{"-soak", "-client", "ours,client/v3"}, "-soak takes one client: ours or client/v3"},
		{[]string{"-soak", "-quick"}, "-quick can't be combined with -soak"},
		{[]string{"x"}, `unexpected argument "x"`},
	} {
		var stdout, stderr bytes.Buffer
		err := run(context.Background(), bad.args, &stdout, &stderr)
		if err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%q: %v", bad.args, err)
		}
	}
}
