package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// panel is a column of the picture.
type panel struct {
	figure, title string
	moreIsBetter  bool
}

// panels of the picture, one per figure.
var panels = []panel{
	{figOps, "operations/s", true},
	{figClientCPU, "client CPU/op", false},
	{figServerCPU, "server CPU/op", false},
	{figP50, "p50", false},
	{figP99, "p99", false},
	{figAllocs, "allocations/op", false},
}

const (
	plotLabel  = 130.0 // width of the rows' names
	plotPanel  = 150.0 // width of a panel
	plotGap    = 18.0
	plotTop    = 64.0
	plotRow    = 22.0
	plotBar    = 14.0
	plotText   = 34.0 // room for a number beside the longest bar
	plotReach  = 5.0  // in powers of two; longer bars are cut, their numbers are not
	plotBetter = "#2f6db5"
	plotWorse  = "#d07a1f"
)

// plotSVG draws every ratio as a bar from 1 on a logarithmic axis, so that double
// and half are equally long. It leaves out failed rows and those without
// operations or without client/v3.
func plotSVG(results []*result) []byte {
	var lines []*result
	for _, r := range results {
		if r.err == nil && r.has(figOps) && !r.ofVariant {
			lines = append(lines, r)
		}
	}
	width := plotLabel + float64(len(panels))*(plotPanel+plotGap)
	height := plotTop + float64(len(lines))*plotRow + 16
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" font-family="sans-serif" font-size="11" fill="#222">`+"\n",
		width, height, width)
	b.WriteString("<title>silly.store/etcd compared with client/v3</title>\n")
	fmt.Fprintf(&b, `<rect width="%.0f" height="%.0f" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="8" y="20" font-size="13">silly.store/etcd divided by client/v3; <tspan fill="%s">better</tspan>, <tspan fill="%s">worse</tspan></text>`+"\n",
		plotBetter, plotWorse)
	for i, r := range lines {
		y := plotTop + float64(i)*plotRow
		fmt.Fprintf(&b, `<text x="8" y="%.1f">%s, %d</text>`+"\n", y+plotBar-3, html.EscapeString(r.name), r.callers)
	}
	for i, p := range panels {
		drawFigure(&b, p, plotLabel+float64(i)*(plotPanel+plotGap), height, lines)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// drawFigure draws a figure of all rows.
func drawFigure(b *bytes.Buffer, p panel, left, height float64, lines []*result) {
	ratios := make([]comparison, len(lines))
	reach := 1.0 // power of two of the longest bar
	for i, r := range lines {
		for _, c := range r.comparisons() {
			if c.name == p.figure && c.hasRatio && c.ratio > 0 {
				ratios[i] = c
				reach = max(reach, math.Abs(departure(c.ratio)))
			}
		}
	}
	middle := left + plotPanel/2
	unit := (plotPanel/2 - plotText) / reach
	fmt.Fprintf(b, `<text x="%.1f" y="44" text-anchor="middle">%s</text>`+"\n", middle, p.title)
	fmt.Fprintf(b, `<line x1="%.1f" y1="52" x2="%.1f" y2="%.1f" stroke="#999"/>`+"\n", middle, middle, height-10)
	for i, c := range ratios {
		if !c.hasRatio {
			continue
		}
		drawBar(b, middle, plotTop+float64(i)*plotRow, unit*departure(c.ratio), c.ratio, p.moreIsBetter)
	}
}

// departure returns how many powers of two a ratio is from 1, within plotReach.
func departure(ratio float64) float64 {
	return min(max(math.Log2(ratio), -plotReach), plotReach)
}

// drawBar draws one bar of a signed length with its number at the end.
func drawBar(b *bytes.Buffer, middle, y, length, ratio float64, moreIsBetter bool) {
	colour := plotWorse
	if (ratio >= 1) == moreIsBetter || ratio == 1 {
		colour = plotBetter
	}
	from, at, anchor := middle, middle+length+3, "start"
	if length < 0 {
		from, at, anchor = middle+length, middle+length-3, "end"
	}
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.0f" fill="%s"/>`, from, y, math.Abs(length), plotBar, colour)
	number := fmt.Sprintf("%.2f", ratio)
	if ratio < 0.1 {
		number = fmt.Sprintf("%.1g", ratio)
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", at, y+plotBar-3, anchor, number)
}
