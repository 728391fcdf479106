// Robustness drives silly.store/etcd and go.etcd.io/etcd/client/v3 through the
// same faults and judges the answers of each. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/mutant"
	"silly.store/etcd/robustness/internal/report"
	"silly.store/etcd/robustness/internal/scenario"
	"silly.store/etcd/robustness/internal/store"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == scenario.ContenderArg {
		if err := scenario.RunContenders(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "robustness, contenders:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "robustness:", err)
		os.Exit(1)
	}
}

// quickTime is how long a scenario runs in the quick run.
const quickTime = 3 * time.Second

// quickTogether is how many scenarios run at the same time in the quick run, since they
// mostly wait for members that start, stop and elect.
const quickTogether = 3

// options are the settings from the command line.
type options struct {
	scenarios []scenario.Scenario
	clients   []string
	time      time.Duration // of each scenario, 0: its own
	quick     bool
	together  int // scenarios that run at the same time, 0: 1
	seed      uint64
	out       string
	keep      bool
	full      bool // everything, at default times
	mutants   []mutant.Mutant
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := newFlags(stderr)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if f.soak {
		for _, other := range []string{"run", "quick", "keep", "mutants", "replay"} {
			if given(f.FlagSet, other) {
				return fmt.Errorf("-%s can't be combined with -soak", other)
			}
		}
		return runSoak(ctx, soakOptions{client: f.clients, time: f.time, seed: f.seed, out: f.out}, stdout, stderr)
	}
	if f.replay != "" {
		return judgeAgain(f.replay, stdout)
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	return o.all(ctx, stdout, stderr)
}

// flags is the command line.
type flags struct {
	*flag.FlagSet
	names, clients, out, replay string
	quick, mutants, keep, soak  bool
	time                        time.Duration
	seed                        uint64
}

func newFlags(stderr io.Writer) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("robustness", flag.ContinueOnError)}
	f.SetOutput(stderr)
	f.StringVar(&f.names, "run", "", "run only these scenarios, or with -mutants these mutants (`NAME or number,...`)")
	f.StringVar(&f.clients, "client", "", "run these clients (`NAME,...`): ours, client/v3; empty for both, or ours with -quick")
	f.BoolVar(&f.quick, "quick", false, "run a few seconds of the most productive scenarios: under 5 minutes in all")
	f.DurationVar(&f.time, "time", 0, "how long each scenario runs; 0 for its default")
	f.Uint64Var(&f.seed, "seed", 0, "seed of the random choices; 0 picks a new one")
	f.StringVar(&f.out, "out", "out", "`folder` for the report and for the histories of failures")
	f.BoolVar(&f.mutants, "mutants", false, "run mutants of this client instead; scenarios or tests must catch them")
	f.BoolVar(&f.keep, "keep", false, "keep every history, not only those of failures")
	f.BoolVar(&f.soak, "soak", false, "run a mixed load under random faults for -time (10m) with a live display")
	f.StringVar(&f.replay, "replay", "", "only judge this kept history `file` again")
	f.Usage = func() {
		fmt.Fprintln(stderr, "Usage: go run . [flags]")
		fmt.Fprintln(stderr, "Without -run, -quick and -time it runs all scenarios and then the mutants of this client.")
		f.PrintDefaults()
		fmt.Fprintln(stderr, "Scenarios:")
		for _, s := range scenario.All() {
			fmt.Fprintf(stderr, "  %2d %-18s %s: %s\n", s.Number, s.Name, s.About, strings.Join(s.Judged, " "))
		}
		fmt.Fprintln(stderr, "Mutants:")
		for _, m := range mutant.All() {
			fmt.Fprintf(stderr, "  %-20s %s: %s\n", m.Name, m.Fault, m.CaughtBy())
		}
	}
	return f
}

// options are those of a run of scenarios or mutants.
func (f *flags) options() (o options, err error) {
	o = options{time: f.time, quick: f.quick, seed: f.seed, out: f.out, keep: f.keep, clients: store.Names}
	if o.seed == 0 {
		o.seed = newSeed()
	}
	if o.quick {
		o.together = quickTogether
	}
	switch {
	case f.clients != "":
		o.clients = strings.Split(f.clients, ",")
	case o.quick:
		o.clients = store.Names[:1]
	}
	for _, name := range o.clients {
		if store.Drivers[name] == nil {
			return o, fmt.Errorf("there is no client %q; there are %s", name, strings.Join(store.Names, " and "))
		}
	}
	return o, o.choose(f.names, f.mutants)
}

// choose picks the scenarios or mutants that names lists, or all of them.
func (o *options) choose(names string, mutants bool) (err error) {
	switch {
	case mutants && names != "":
		o.mutants, err = mutant.Find(strings.Split(names, ","))
	case mutants:
		o.mutants = mutant.All()
	case names != "":
		o.scenarios, err = scenario.Find(strings.Split(names, ","))
	case o.quick:
		o.scenarios = slices.DeleteFunc(scenario.All(), func(s scenario.Scenario) bool { return !s.Quick })
	default:
		o.scenarios = scenario.All()
		if o.full = o.time == 0 && slices.Contains(o.clients, store.Names[0]); o.full {
			o.mutants = mutant.All()
		}
	}
	return err
}

// given reports whether a flag was given.
func given(fs *flag.FlagSet, name string) bool {
	found := false
	fs.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// newSeed returns a seed that even JSON readers with only floats keep exactly.
func newSeed() uint64 { return rand.Uint64() >> 12 }

// errViolated ends a run in which our client, or the harness, failed.
var errViolated = errors.New("violations, mutants that survived, or runs that did not count; the report says which")

// all runs every scenario with every client, then the mutants, and writes the
// report.
func (o *options) all(ctx context.Context, stdout, stderr io.Writer) error {
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}
	began := time.Now()
	found := new(report.Report)
	failed, err := o.runScenarios(ctx, found, stdout, stderr)
	if err == nil {
		failed = o.runMutants(ctx, found, stdout, stderr) || failed
	}
	if o.full {
		found.Missing = report.Shortfall(found.Scenarios)
	}
	for _, what := range found.Missing {
		failed = true
		fmt.Fprintf(stdout, "the whole run has only %s\n", what)
	}
	if err := errors.Join(err, found.Save(o.out)); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "took %v, seed %d; the report is in %s\n", time.Since(began).Round(time.Second), o.seed, o.out)
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case failed:
		return errViolated
	}
	return nil
}

// judgeAgain judges a kept history.
func judgeAgain(path string, stdout io.Writer) error {
	run, err := history.Load(path)
	if err != nil {
		return err
	}
	row := report.NewRow(run)
	fmt.Fprintf(stdout, "%2d %-18s %-9s %v\n", row.Number, row.Scenario, row.Client, row.Verdict())
	for _, f := range row.Findings {
		for _, v := range f.Violations {
			fmt.Fprintf(stdout, "%s at %v: %s\n", f.Invariant, v.At, v.Text)
		}
		for _, v := range f.OtherViolations {
			fmt.Fprintf(stdout, "%s by the other client at %v: %s\n", f.Invariant, v.At, v.Text)
		}
	}
	if row.Broken() > 0 {
		return errViolated
	}
	return nil
}
