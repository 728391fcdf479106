package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// findExplicit adds to coalesced rows the rates of the same operations in Txns full
// to etcd's limit, if those rows were measured too.
func findExplicit(rows []row, results []*result) {
	for _, res := range results {
		i := slices.IndexFunc(rows, func(r row) bool { return r.name == res.name })
		// Fewer callers can't fill a Txn.
		if i < 0 || rows[i].explicit == "" || res.callers < txnSize {
			continue
		}
		res.explicit = txnOps(results, rows[i].explicit)
		res.sameKeys = txnOps(results, rows[i].explicit+sameKeys)
	}
}

// txnOps returns our client's operations per second in the Txn row of that name; 0 if
// it wasn't measured.
func txnOps(results []*result, name string) float64 {
	for _, r := range results {
		if r.name == name && r.err == nil {
			return medians(r.ours)[figOps] * txnSize
		}
	}
	return 0
}

// of returns the coalesced operations per second divided by those of explicit Txns.
func (r *result) of(txns float64) (float64, bool) {
	if txns == 0 || r.err != nil {
		return 0, false
	}
	return ratio(medians(r.ours)[figOps], txns)
}

// ofPlain lists the columns of the section on coalescing: figures of a coalesced row
// divided by those of the same client's plain calls.
var ofPlain = []struct{ figure, title string }{
	{figOps, "ops/s of own plain"},
	{figP50, "p50"},
	{figP99, "p99"},
	{figClientCPU, "client CPU/op"},
	{figServerCPU, "server CPU/op"},
}

// writeCoalesced prints a section on the rows that were also measured plain.
func writeCoalesced(w io.Writer, results []*result) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	rows := 0
	for _, r := range results {
		if r.err != nil || len(r.plain) == 0 {
			continue
		}
		if rows++; rows == 1 {
			fmt.Fprintln(w, "\ncoalesced, against the same client's plain calls and its explicit Txns of 128:")
			head := []string{"row", "callers"}
			for _, c := range ofPlain {
				head = append(head, c.title)
			}
			line(tw, append(head, "explicit ops/s", "of explicit", "same keys ops/s", "of same keys"))
		}
		line(tw, r.coalescedCells())
	}
	return tw.Flush()
}

func (r *result) coalescedCells() []string {
	cells := []string{r.name, fmt.Sprint(r.callers)}
	ours, plain := medians(r.ours), medians(r.plain)
	for _, col := range ofPlain {
		c := comparison{}
		o, hasOurs := ours[col.figure]
		p, hasPlain := plain[col.figure]
		if hasOurs && hasPlain {
			c.ratio, c.hasRatio = ratio(o, p)
		}
		cells = append(cells, times(c))
	}
	for _, txns := range []float64{r.explicit, r.sameKeys} {
		of, has := r.of(txns)
		if !has {
			cells = append(cells, "-", "-")
			continue
		}
		cells = append(cells, amount(txns, true, ""), percent(of))
	}
	return cells
}
