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
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	quick := fs.Bool("quick", false, "short rounds: every row in under 50 s")
	curves := fs.String("curves", "", "measure plain, coalesced and client/v3 with 1 to 1024 goroutines instead of the rows, and draw them into this SVG `file` (about 3 minutes)")
	names := fs.String("rows", "", "measure only these rows (`NAME,...`)")
	callers := fs.Int("callers", 0, "measure only at this `number` of goroutines; 0 for all")
	asJSON := fs.Bool("json", false, "print the results as one JSON object on the last line")
	plot := fs.String("plot", "", "draw the ratios into this SVG `file`")
	rounds := fs.Int("rounds", 0, "measured rounds of each client; 0 for 5, or 3 with -quick")
	length := fs.Duration("round", 0, "wall time of a round; 0 for 2s, or 80ms with -quick")
	control := fs.Bool("control", false, "put client/v3 on both sides, to see how much of the ratios is noise")
	profile := fs.String("profile", "", "write CPU and allocation profiles of the clients into this `folder`")
	dir := fs.String("dir", os.TempDir(), "`folder` for the server's data; put-fsync needs a real disk under it")
	fs.Usage = func() {
		fmt.Fprintln(stderr, "Usage: go run . [flags]")
		fs.PrintDefaults()
		fmt.Fprintln(stderr, "Rows:")
		for _, r := range registry() {
			fmt.Fprintf(stderr, "  %-15s %s; at %v\n", r.name, r.about, r.callers)
		}
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	all, s := registry(), fullScale()
	if *curves != "" {
		all, s = curveRows(), curveScale()
	}
	if *quick {
		s = quickScale()
		if *names == "" && *callers == 0 {
			all = quickRows(all)
		}
	}
	rows, err := selectRows(all, *names, *callers)
	if err != nil {
		return err
	}
	if *rounds < 0 || *length < 0 {
		return errors.New("-rounds and -round can't be negative")
	}
	if *rounds > 0 {
		s.Rounds = *rounds
	}
	if *length > 0 {
		s.Round, s.Warmup = *length, min(*length, s.Warmup)
	}
	if *profile != "" {
		if err := os.MkdirAll(*profile, 0o777); err != nil {
			return err
		}
	}
	began := time.Now()
	b := &bench{scale: s, dir: *dir, profile: *profile, progress: stderr, first: oursName}
	if *control {
		b.first = peerName
	}
	results := b.run(ctx, rows)
	if err := writeReport(stdout, s, *dir, results); err != nil {
		return err
	}
	if *plot != "" {
		if err := os.WriteFile(*plot, plotSVG(results), 0o666); err != nil {
			return err
		}
	}
	if *curves != "" {
		if err := os.WriteFile(*curves, curvesSVG(results), 0o666); err != nil {
			return err
		}
	}
	fmt.Fprintf(stderr, "took %v\n", time.Since(began).Round(100*time.Millisecond))
	if *asJSON {
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
