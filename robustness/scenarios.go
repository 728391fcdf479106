package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/report"
	"silly.store/etcd/robustness/internal/scenario"
	"silly.store/etcd/robustness/internal/store"
)

// runScenarios runs every scenario with every client. It reports whether a run that
// must pass has failed.
func (o *options) runScenarios(ctx context.Context, found *report.Report, stdout, stderr io.Writer) (failed bool, err error) {
	beside, alone := &scenarioRuns{o: o, together: max(o.together, 1)}, &scenarioRuns{o: o, together: 1}
	for _, s := range o.scenarios {
		for _, client := range o.clients {
			if s.OursOnly && client != store.Names[0] {
				continue
			}
			if s.Alone && beside.together > 1 {
				alone.list = append(alone.list, scenarioRun{scenario: s, client: client})
			} else {
				beside.list = append(beside.list, scenarioRun{scenario: s, client: client})
			}
		}
	}
	for _, runs := range []*scenarioRuns{beside, alone} {
		rows, err := runs.run(ctx, stdout, stderr)
		found.Scenarios = append(found.Scenarios, rows...)
		failed = failed || slices.ContainsFunc(rows, func(r report.Row) bool { return r.Failed() })
		if err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// scenarioRun is a scenario with a client.
type scenarioRun struct {
	scenario scenario.Scenario
	client   string
	row      report.Row
	ended    bool // there is a row
	err      error
}

// scenarioRuns are runs of which some go on at the same time.
type scenarioRuns struct {
	o        *options
	list     []scenarioRun
	together int
}

// run returns the rows of the runs that ended, in the order of the list. An error or the
// end of ctx keeps further runs from starting.
func (r *scenarioRuns) run(ctx context.Context, stdout, stderr io.Writer) (rows []report.Row, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stdout, stderr = &lockedWriter{w: stdout}, &lockedWriter{w: stderr}
	turns := make(chan struct{}, r.together)
	var running sync.WaitGroup
	for i := range r.list {
		turns <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-turns }()
			if r.one(ctx, &r.list[i], stdout, stderr); r.list[i].err != nil {
				stop()
			}
		})
	}
	running.Wait()
	var errs []error
	for _, run := range r.list {
		errs = append(errs, run.err)
		if run.ended {
			rows = append(rows, run.row)
		}
	}
	return rows, errors.Join(errs...)
}

// one fills in a run, and prints its verdict.
func (r *scenarioRuns) one(ctx context.Context, run *scenarioRun, stdout, stderr io.Writer) {
	run.row, run.err = r.o.one(ctx, &run.scenario, run.client, stderr)
	if run.err != nil {
		return
	}
	run.ended = true
	fmt.Fprintf(stdout, "%2d %-18s %-9s %v\n", run.row.Number, run.row.Scenario, run.row.Client, run.row.Verdict())
}

// lockedWriter takes whole lines from several runs.
type lockedWriter struct {
	mu sync.Mutex // held while writing to w
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// one runs a scenario with a client and keeps the history if necessary.
func (o *options) one(ctx context.Context, s *scenario.Scenario, client string, stderr io.Writer) (report.Row, error) {
	d := s.Time
	switch {
	case o.time > 0:
		d = o.time
	case o.quick:
		d = min(d, quickTime)
	}
	fmt.Fprintf(stderr, "%s with %s for %v, -seed %d\n", s.Name, client, d, o.seed)
	run, logs, err := s.Run(ctx, client, o.seed, d)
	if err != nil { // a failed start must not lose the other runs
		run = &history.Run{Scenario: s.Name, Number: s.Number, Client: client, Seed: o.seed, Failures: []string{err.Error()}}
	}
	row := report.NewRow(run)
	if o.keep || row.Broken()+row.Others() > 0 || row.Failed() {
		dir := filepath.Join(o.out, fmt.Sprintf("%s-%s-%d", s.Name, strings.ReplaceAll(client, "/", "-"), o.seed))
		if err := keepRun(dir, run, logs); err != nil {
			return row, err
		}
		fmt.Fprintf(stderr, "kept in %s\n", dir)
	}
	return row, nil
}

// keepRun writes a history and the servers' logs into a folder.
func keepRun(dir string, run *history.Run, logs map[string]string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for name, text := range logs {
		if err := os.WriteFile(filepath.Join(dir, name+".log"), []byte(text), 0o666); err != nil {
			return err
		}
	}
	return run.Save(filepath.Join(dir, "history.json.gz"))
}
