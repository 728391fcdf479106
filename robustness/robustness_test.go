package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"silly.store/etcd/robustness/internal/report"
)

// One scenario in a second: the report is written, and the kept history is
// judged the same once more.
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

func TestArguments(t *testing.T) {
	for _, bad := range []struct {
		args []string
		says string
	}{
		{[]string{"-run", "nonsense"}, `no scenario "nonsense"`},
		{[]string{"-mutants", "-run", "stall"}, `no mutant "stall"`},
		{[]string{"-client", "jetcd"}, `no client "jetcd"; there are ours and client/v3`},
		{[]string{"-replay", "nowhere"}, "reading a history"},
		{[]string{"x"}, `unexpected argument "x"`},
	} {
		var stdout, stderr bytes.Buffer
		err := run(context.Background(), bad.args, &stdout, &stderr)
		if err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%q: %v", bad.args, err)
		}
	}
}
