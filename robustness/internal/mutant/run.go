package mutant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	// Out is the folder that gets a folder for each mutant, with its report and log.
	Out  string
	Seed uint64
	// Time is how long scenarios go on, 0: as long as the mutant says.
	Time time.Duration
}

const (
	client  = "silly.store/etcd"
	program = "silly.store/etcd/robustness"

	// extra is how much longer than its scenario a run may take: clusters start,
	// faults end late, and watches get a minute to catch up.
	extra = 4 * time.Minute
	// farewell is how long it may take to stop its servers when interrupted.
	farewell = 20 * time.Second
)

// Run builds a mutant, runs its scenario and tells what became of it.
func (r *Runner) Run(ctx context.Context, m *Mutant) report.Mutant {
	began := time.Now()
	result := report.Mutant{Name: m.Name, Fault: m.Fault, Scenario: m.Scenario, Invariant: m.Invariant, Seed: r.Seed}
	rows, failed, err := r.rows(ctx, m)
	if err == nil {
		err = judge(&result, rows, failed)
	}
	if err != nil {
		result.Error = err.Error()
	}
	result.Took = time.Since(began)
	return result
}

// judge reads in the report of a mutant's run whether it was caught. failed is
// what the run has said by its exit code.
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
		return errors.New("the run has found violations and exited as if there were none")
	}
	return nil
}

// first is the earliest time of violations, of those whose time is known; 0 if
// there is none.
func first(violations []check.Violation) time.Duration {
	var at time.Duration
	for _, v := range violations {
		if v.At > 0 && (at == 0 || v.At < at) {
			at = v.At
		}
	}
	return at
}

// rows builds a mutant and returns what its run has reported, and whether it
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

// build builds the program with a mutant and returns the path of the binary.
func build(ctx context.Context, m *Mutant, dir string) (string, error) {
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
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: replacement}})
	if err != nil {
		return "", err
	}
	list, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "robustness")
	if err := errors.Join(os.WriteFile(replacement, []byte(mutated), 0o666), os.WriteFile(list, overlay, 0o666)); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", list, "-o", binary, program)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building mutant %s: %w\n%s", m.Name, err, text)
	}
	return binary, nil
}

// moduleDir is the folder of a module as this folder's module or workspace has it.
func moduleDir(ctx context.Context, module string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return "", fmt.Errorf("finding the source of %s, which needs the go command and the folder robustness: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// run runs one scenario with a binary, whose report goes to the folder out. It
// reports whether the run has failed, as it does when it finds violations.
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
