package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"silly.store/etcd/robustness/internal/mutant"
	"silly.store/etcd/robustness/internal/report"
)

// runMutants builds and runs the mutants. It reports whether one was not caught.
func (o *options) runMutants(ctx context.Context, found *report.Report, stdout, stderr io.Writer) (failed bool) {
	r := mutant.Runner{Out: filepath.Join(o.out, "mutants"), Seed: o.seed, Time: o.time}
	for i := range o.mutants {
		if ctx.Err() != nil {
			break
		}
		m := &o.mutants[i]
		fmt.Fprintf(stderr, "mutant %d of %d: %s, to be caught by %s, -seed %d\n", i+1, len(o.mutants), m.Name, m.CaughtBy(), o.seed)
		result := r.Run(ctx, m)
		if ctx.Err() != nil {
			break
		}
		found.Mutants = append(found.Mutants, result)
		failed = failed || !result.Caught
		fmt.Fprintf(stdout, "%-20s %s\n", m.Name, result.Verdict())
	}
	return failed
}
