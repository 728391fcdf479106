package mutant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/report"
)

// Runner builds this program with a mutant of the client and runs it.
type Runner struct {
	// Out gets one folder per mutant, with its report and log.
	Out  string
	Seed uint64
	// Time is how long scenarios run; 0 for the mutant's own time.
	Time time.Duration
}

const (
	client  = "silly.store/etcd"
	program = "silly.store/etcd/robustness"
	root    = "silly.store/etcd/"

	// extra is how much longer than its scenario a run may take: clusters start,
	// faults end late, and watches get a minute to catch up.
	extra = 4 * time.Minute
	// farewell is how long an interrupted run may take to stop its servers.
	farewell = 20 * time.Second
)

// Run builds a mutant, runs its scenario and returns the verdict.
func (r *Runner) Run(ctx context.Context, m *Mutant) report.Mutant {
	began := time.Now()
	result := report.Mutant{Name: m.Name, Fault: m.Fault, Scenario: m.Scenario, Invariant: m.Invariant, Seed: r.Seed}
	var err error
	if m.Test != "" {
		result.Scenario, result.Invariant = m.folder(), m.Test
		result.Caught, err = r.test(ctx, m)
	} else {
		var rows []report.Row
		var failed bool
		if rows, failed, err = r.rows(ctx, m); err == nil {
			err = judge(&result, rows, failed)
		}
	}
	if err != nil {
		result.Error = err.Error()
	}
	result.Took = time.Since(began)
	return result
}

// judge determines from the report of a mutant's run whether it was caught. failed
// is the verdict of the run's exit code.
func judge(result *report.Mutant, rows []report.Row, failed bool) error {
	if len(rows) != 1 {
		return fmt.Errorf("the report has %d rows, want one", len(rows))
	}
	for _, f := range rows[0].Findings {
		switch {
		case f.Count == 0:
		case f.Invariant == check.Truth:
			return errors.New("the oracles disagree, so nothing is known")
		case f.Invariant == result.Invariant:
			result.Caught, result.Violations, result.Checked = true, f.Count, f.Checked
			result.First = first(f.Violations)
		default:
			result.Also = append(result.Also, f.Invariant)
		}
	}
	if result.Caught && !failed {
		return errors.New("the run found violations but exited without an error")
	}
	return nil
}

// first returns the earliest known time of the violations; 0 if there is none.
func first(violations []check.Violation) time.Duration {
	var at time.Duration
	for _, v := range violations {
		if v.At > 0 && (at == 0 || v.At < at) {
			at = v.At
		}
	}
	return at
}

// rows builds and runs a mutant and returns the report's rows, and whether the run
// failed.
func (r *Runner) rows(ctx context.Context, m *Mutant) (rows []report.Row, failed bool, err error) {
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return nil, false, err
	}
	defer os.RemoveAll(dir)
	binary, err := build(ctx, m, dir)
	if err != nil {
		return nil, false, err
	}
	d := m.Time
	if r.Time > 0 {
		d = r.Time
	}
	out := filepath.Join(r.Out, m.Name)
	if failed, err = run(ctx, binary, m.Scenario, d, r.Seed, out); err != nil {
		return nil, false, err
	}
	all, err := report.Load(filepath.Join(out, report.FileJSON))
	return all.Scenarios, failed, err
}

// test runs the mutant's test and reports whether it failed.
func (r *Runner) test(ctx context.Context, m *Mutant) (failed bool, err error) {
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	list, err := overlay(ctx, m, dir)
	if err != nil {
		return false, err
	}
	out := filepath.Join(r.Out, m.Name)
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o777)); err != nil {
		return false, err
	}
	log, err := os.Create(filepath.Join(out, "log"))
	if err != nil {
		return false, err
	}
	defer log.Close()
	var text bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", list, "-count=1", "-timeout", extra.String(), "-run", "^"+strings.ReplaceAll(m.Test, "/", "$/^")+"$", root+m.folder())
	both := io.MultiWriter(log, &text)
	cmd.Stdout, cmd.Stderr = both, both
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = farewell
	err = cmd.Run()
	top, _, _ := strings.Cut(m.Test, "/")
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err == nil && bytes.Contains(text.Bytes(), []byte("no tests to run")):
		return false, fmt.Errorf("there is no test %s", m.Test)
	case err == nil:
		return false, nil
	case bytes.Contains(text.Bytes(), []byte("--- FAIL: "+top+" ")):
		return true, nil
	}
	return false, fmt.Errorf("the run of %s: %w; its log is %s", m.Test, err, log.Name())
}

// build builds the program with a mutant and returns the path of the binary.
func build(ctx context.Context, m *Mutant, dir string) (string, error) {
	list, err := overlay(ctx, m, dir)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "robustness")
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", list, "-o", binary, program)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building mutant %s: %w\n%s", m.Name, err, text)
	}
	return binary, nil
}

// overlay writes the mutated file to dir, and returns the path of the list for the go
// command's flag -overlay that puts it in the place of the original.
func overlay(ctx context.Context, m *Mutant, dir string) (list string, err error) {
	root, err := moduleDir(ctx, client)
	if err != nil {
		return "", err
	}
	original := filepath.Join(root, filepath.FromSlash(m.File))
	source, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("mutant %s is outdated: %w", m.Name, err)
	}
	mutated, err := m.apply(string(source))
	if err != nil {
		return "", err
	}
	replacement := filepath.Join(dir, filepath.Base(original))
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: replacement}})
	if err != nil {
		return "", err
	}
	list = filepath.Join(dir, "overlay.json")
	return list, errors.Join(os.WriteFile(replacement, []byte(mutated), 0o666), os.WriteFile(list, replace, 0o666))
}

// moduleDir returns the folder of a module in this folder's module or workspace.
func moduleDir(ctx context.Context, module string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return "", fmt.Errorf("finding the source of %s (this needs the go command and must run in the folder robustness): %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// run runs one scenario with a binary, which writes its report to the folder out.
// It reports whether the run failed, as it does on violations.
func run(ctx context.Context, binary, scenario string, d time.Duration, seed uint64, out string) (failed bool, err error) {
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o777)); err != nil {
		return false, err
	}
	log, err := os.Create(filepath.Join(out, "log"))
	if err != nil {
		return false, err
	}
	defer log.Close()
	bounded, cancel := context.WithTimeout(ctx, d+extra)
	defer cancel()
	cmd := exec.CommandContext(bounded, binary,
		"-run", scenario, "-client", "ours", "-time", d.String(), "-seed", strconv.FormatUint(seed, 10), "-out", out)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = farewell
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case bounded.Err() != nil:
		return false, fmt.Errorf("the run of %s did not end within %v", scenario, d+extra)
	case err == nil:
		return false, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return true, nil
	}
	return false, fmt.Errorf("the run of %s: %w; its log is %s", scenario, err, log.Name())
}
