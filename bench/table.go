package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// columns lists the common figures as the table shows them.
var columns = []struct{ figure, title, unit string }{
	{figOps, "ops/s", ""},
	{figClientCPU, "client CPU/op", "µs"},
	{figServerCPU, "server CPU/op", "µs"},
	{figP50, "p50", "µs"},
	{figP99, "p99", "µs"},
	{figAllocs, "allocs/op", ""},
	{figBytes, "B/op", ""},
	{figLimit, "of limit", ""},
}

// writeTable prints three lines per result: ours, the peer, the ratio. The spread
// of the rounds follows ops/s.
func writeTable(w io.Writer, results []*result) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := []string{"row", "callers", "", columns[0].title, "±"}
	for _, c := range columns[1:] {
		head = append(head, c.title)
	}
	line(tw, head)
	for _, r := range results {
		if r.err != nil || !r.has(figOps) {
			continue
		}
		by := make(map[string]comparison)
		for _, c := range r.comparisons() {
			by[c.name] = c
		}
		ours, peer := r.names()
		mine := []string{r.name, fmt.Sprint(r.callers), ours}
		theirs := []string{"", "", peer}
		ratios := []string{"", "", "ratio"}
		for _, col := range columns {
			c := by[col.figure]
			mine = append(mine, amount(c.ours, c.hasOurs, col.unit))
			theirs = append(theirs, amount(c.peer, c.hasPeer, col.unit))
			ratios = append(ratios, times(c))
			if col.figure == figOps {
				mine = append(mine, percent(spread(r.ours, figOps)))
				theirs = append(theirs, percent(spread(r.peer, figOps)))
				ratios = append(ratios, "")
			}
		}
		line(tw, mine)
		line(tw, theirs)
		line(tw, ratios)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if err := writeCoalesced(w, results); err != nil {
		return err
	}
	return writeOwnFigures(w, results)
}

// writeOwnFigures prints the rows' figures outside the columns, and errors.
func writeOwnFigures(w io.Writer, results []*result) error {
	for _, r := range results {
		if r.err != nil {
			if _, err := fmt.Fprintf(w, "%s at %d failed: %v\n", r.name, r.callers, r.err); err != nil {
				return err
			}
			continue
		}
		for _, c := range r.comparisons() {
			if !c.ownOfTheRow {
				continue
			}
			ours, peer := r.names()
			_, err := fmt.Fprintf(w, "%s at %d: %s: %s %s, %s %s, ratio %s\n", r.name, r.callers,
				c.name, ours, amount(c.ours, c.hasOurs, ""), peer, amount(c.peer, c.hasPeer, ""), times(c))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func line(w io.Writer, cells []string) {
	fmt.Fprintln(w, strings.Join(cells, "\t")+"\t")
}

// amount writes a number with at least three significant digits and a comma
// before each group of three.
func amount(v float64, has bool, unit string) string {
	if !has || math.IsNaN(v) {
		return "-"
	}
	var s string
	switch a := math.Abs(v); {
	case a >= 100:
		s = grouped(int64(math.Round(v)))
	case a >= 10:
		s = fmt.Sprintf("%.1f", v)
	default:
		s = fmt.Sprintf("%.2f", v)
	}
	if unit != "" {
		s += " " + unit
	}
	return s
}

func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func times(c comparison) string {
	if !c.hasRatio {
		return "-"
	}
	if c.ratio < 0.1 {
		return fmt.Sprintf("%.2g×", c.ratio)
	}
	return fmt.Sprintf("%.2f×", c.ratio)
}

func percent(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*v)
}
