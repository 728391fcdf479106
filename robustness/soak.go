package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/live"
	"silly.store/etcd/robustness/internal/report"
	"silly.store/etcd/robustness/internal/scenario"
	"silly.store/etcd/robustness/internal/store"
)

// soakOptions are the command line's settings of a soak.
type soakOptions struct {
	client string
	time   time.Duration // 0 means soakTime
	warm   time.Duration // before and after; 0 means the soak's default
	seed   uint64        // 0 picks a new one
	out    string
}

const soakTime = 10 * time.Minute

// mostKept is how many rounds with violations are kept.
const mostKept = 5

// errSoak ends a failed soak.
var errSoak = errors.New("the soak has failed; the report says why")

// runSoak runs a soak, shows its progress on stdout and writes its report. The end of
// ctx ends it early, with a verdict on what has run.
func runSoak(ctx context.Context, o soakOptions, stdout, stderr io.Writer) error {
	s := &scenario.Soak{Client: "ours", Seed: o.seed, Time: soakTime, Warm: o.warm}
	if o.client != "" {
		s.Client = o.client
	}
	if store.Drivers[s.Client] == nil {
		return fmt.Errorf("-soak takes one client: %s", strings.Join(store.Names, " or "))
	}
	if o.time > 0 {
		s.Time = o.time
	}
	if s.Seed == 0 {
		s.Seed = newSeed()
	}
	kept := 0
	s.Keep = func(round int, run *history.Run, logs map[string]string) error {
		if kept++; kept > mostKept {
			return nil
		}
		name := fmt.Sprintf("soak-%s-%d", strings.ReplaceAll(s.Client, "/", "-"), s.Seed)
		return keepRun(filepath.Join(o.out, name, fmt.Sprintf("round-%d", round)), run, logs)
	}
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "soak of %s for %v, -seed %d; an interrupt ends it early\n", s.Client, s.Time, s.Seed)
	if err := s.Open(); err != nil {
		return err
	}
	result, err := watched(ctx, s, stdout)
	if err := errors.Join(err, writeSoak(o.out, result)); err != nil {
		return err
	}
	return verdict(result, o.out, stdout)
}

// watched runs the soak and shows its progress.
func watched(ctx context.Context, s *scenario.Soak, stdout io.Writer) (*report.Soak, error) {
	over := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() { live.NewView(stdout).Run(over, s.Figures) })
	result, err := s.Run(ctx)
	close(over)
	showing.Wait()
	return result, err
}

// verdict prints the result of the soak.
func verdict(r *report.Soak, out string, stdout io.Writer) error {
	checked := 0
	for _, f := range r.Findings {
		checked += f.Checked
	}
	fmt.Fprintf(stdout, "\n%d faults, %d calls, %d events: %d violations of %d facts\n", r.Injected(), r.Calls, r.Events, r.Broken(), checked)
	for _, u := range r.Usage {
		fmt.Fprintf(stdout, "%s, idle: %.0f before, %.0f after\n", u.What, u.Before, u.After)
	}
	why := r.Failed()
	word := "PASS"
	if len(why) > 0 {
		word = "FAIL"
	}
	fmt.Fprintf(stdout, "%s, seed %d; the report is in %s\n", word, r.Seed, filepath.Join(out, "soak.md"))
	for _, text := range why {
		fmt.Fprintf(stdout, "  %s\n", text)
	}
	if len(why) > 0 {
		return errSoak
	}
	return nil
}

// writeSoak writes the report of a soak as Markdown and JSON.
func writeSoak(out string, r *report.Soak) error {
	var text strings.Builder
	if err := r.Markdown(&text); err != nil {
		return err
	}
	asJSON, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(out, "soak.md"), []byte(text.String()), 0o666),
		os.WriteFile(filepath.Join(out, "soak.json"), asJSON, 0o666))
}
