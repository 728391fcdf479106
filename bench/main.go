// Bench measures silly.store/etcd against go.etcd.io/etcd/client/v3: the same work
// on the same etcd server, with the server and each client in their own processes
// and the clients taking turns. See README.md for the method and the figures.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

func main() {
	if ranAsChild() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// ranAsChild does the work of a worker process if this process is one.
func ranAsChild() bool {
	if len(os.Args) < 2 || os.Args[1] != workerArg {
		return false
	}
	// The parent decides when a measurement ends, but an interrupt at the
	// terminal reaches the whole group.
	signal.Ignore(os.Interrupt)
	if err := runWorker(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench worker:", err)
		os.Exit(1)
	}
	return true
}

// errRows ends a run in which a row failed; the report names it.
var errRows = errors.New("not every row was measured")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	rows, s, err := o.choose()
	if err != nil {
		return err
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o777); err != nil {
			return err
		}
	}
	began := time.Now()
	b := &bench{scale: s, dir: o.dir, profile: o.profile, progress: stderr, first: oursName}
	if o.control {
		b.first = peerName
	}
	results := b.run(ctx, rows)
	if err := o.report(stdout, s, results); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "took %v\n", time.Since(began).Round(100*time.Millisecond))
	if o.json {
		if err := json.NewEncoder(stdout).Encode(report{Rows: results}); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	for _, r := range results {
		if r.err != nil {
			return errRows
		}
	}
	return nil
}

// options are the settings from the command line.
type options struct {
	quick, json, control              bool
	names, curves, plot, profile, dir string
	callers, rounds                   int
	length                            time.Duration
}

func parseOptions(args []string, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.BoolVar(&o.quick, "quick", false, "short rounds: every row in under 50 s")
	fs.StringVar(&o.curves, "curves", "", "measure plain, coalesced and client/v3 with 1 to 1024 goroutines instead of the rows, and draw them into this SVG `file` (about 3 minutes)")
	fs.StringVar(&o.names, "rows", "", "measure only these rows (`NAME,...`)")
	fs.IntVar(&o.callers, "callers", 0, "measure only at this `number` of goroutines; 0 for all")
	fs.BoolVar(&o.json, "json", false, "print the results as one JSON object on the last line")
	fs.StringVar(&o.plot, "plot", "", "draw the ratios into this SVG `file`")
	fs.IntVar(&o.rounds, "rounds", 0, "measured rounds of each client; 0 for 5, or 3 with -quick")
	fs.DurationVar(&o.length, "round", 0, "wall time of a round; 0 for 2s, or 80ms with -quick")
	fs.BoolVar(&o.control, "control", false, "put client/v3 on both sides, to see how much of the ratios is noise")
	fs.StringVar(&o.profile, "profile", "", "write CPU and allocation profiles of the clients into this `folder`")
	fs.StringVar(&o.dir, "dir", os.TempDir(), "`folder` for the server's data; put-fsync needs a real disk under it")
	fs.Usage = func() {
		fmt.Fprintln(stderr, "Usage: go run . [flags]")
		fs.PrintDefaults()
		fmt.Fprintln(stderr, "Rows:")
		for _, r := range registry() {
			fmt.Fprintf(stderr, "  %-15s %s; at %v\n", r.name, r.about, r.callers)
		}
	}
	switch err := fs.Parse(args); {
	case err != nil:
		return o, err
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case o.rounds < 0 || o.length < 0:
		return o, errors.New("-rounds and -round can't be negative")
	}
	return o, nil
}

// choose returns the rows to measure, and at which scale.
func (o *options) choose() ([]row, scale, error) {
	all, s := registry(), fullScale()
	if o.curves != "" {
		all, s = curveRows(), curveScale()
	}
	if o.quick {
		s = quickScale()
		if o.names == "" && o.callers == 0 {
			all = quickRows(all)
		}
	}
	if o.rounds > 0 {
		s.Rounds = o.rounds
	}
	if o.length > 0 {
		s.Round, s.Warmup = o.length, min(o.length, s.Warmup)
	}
	rows, err := selectRows(all, o.names, o.callers)
	return rows, s, err
}

// report writes the table and the pictures.
func (o *options) report(stdout io.Writer, s scale, results []*result) error {
	if err := writeReport(stdout, s, o.dir, results); err != nil {
		return err
	}
	if o.plot != "" {
		if err := os.WriteFile(o.plot, plotSVG(results), 0o666); err != nil {
			return err
		}
	}
	if o.curves != "" {
		return os.WriteFile(o.curves, curvesSVG(results), 0o666)
	}
	return nil
}

// writeReport prints the conditions and the table.
func writeReport(w io.Writer, s scale, dir string, results []*result) error {
	fmt.Fprintf(w, "%s, GOMAXPROCS %d, GOGC %s, etcd and client/v3 %s; medians of %d rounds of %v\n",
		runtime.Version(), runtime.GOMAXPROCS(0), envOr("GOGC", "100"), peerVersion(), s.Rounds, s.Round)
	if inMemory(dir) {
		fmt.Fprintf(w, "%s is in memory, so put-fsync measured no disk; choose another folder with -dir\n", dir)
	}
	fmt.Fprintln(w)
	return writeTable(w, results)
}

func envOr(name, other string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return other
}

// peerVersion returns the version of client/v3 that is linked into this program.
func peerVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "go.etcd.io/etcd/client/v3" {
				return m.Version
			}
		}
	}
	return "of unknown version"
}
