package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The picture of -curves: one column per row, operations per second above, p99
// below, both axes logarithmic, one line per client. Its colours are legible on
// light and dark backgrounds.
const (
	curvesWidth  = 840.0
	curvesHead   = 58.0  // above the panels
	curvesLeft   = 58.0  // of a panel's axis from its column's edge
	curvesRight  = 46.0  // room right of the last point for its number
	curvesHeight = 190.0 // of a panel
	curvesGap    = 70.0  // between the panels of a column
	curvesFoot   = 46.0  // below them
	curvesLabel  = 13.0  // least distance of two numbers
	curvesText   = "#7d7d7d"
)

// curveLines lists the clients and how they are drawn.
var curveLines = []struct {
	name, style string
	colour      string
	rounds      func(*result) []figures
}{
	{"this client, coalesced", `stroke-width="2.6"`, "#2f7fd8", func(r *result) []figures { return r.ours }},
	{"this client, plain", `stroke-width="1.8" stroke-dasharray="5 3"`, "#2f9e8f", func(r *result) []figures { return r.plain }},
	{"client/v3", `stroke-width="1.8"`, "#d9822b", func(r *result) []figures { return r.peer }},
}

// curvePanels lists the figures, and an axis unit in units of the figure.
var curvePanels = []struct {
	figure, title string
	unit          float64
}{
	{figOps, "operations/s", 1},
	{figP99, "p99 latency, ms", 1000},
}

// curve is one line of one panel: a value for each number of callers.
type curve []struct{ callers, value float64 }

// curvesSVG draws the results of curveRows, without failed points.
func curvesSVG(results []*result) []byte {
	var names []string
	for _, r := range results {
		if !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
	}
	height := curvesHead + float64(len(curvePanels))*(curvesHeight+curvesGap) - curvesGap + curvesFoot
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" font-family="sans-serif" font-size="12" fill="%s">`+"\n",
		curvesWidth, height, curvesWidth, curvesText)
	b.WriteString("<title>Operations per second and p99 over the number of goroutines: silly.store/etcd coalesced and plain, and client/v3</title>\n")
	drawLegend(&b)
	width := curvesWidth / float64(max(len(names), 1))
	for i, p := range curvePanels {
		axis := valueAxis(results, p.figure, p.unit)
		axis.top = curvesHead + float64(i)*(curvesHeight+curvesGap)
		for k, name := range names {
			axis.left, axis.right = float64(k)*width+curvesLeft, float64(k+1)*width-curvesRight
			drawPanel(&b, axis, curveTitle(name)+", "+p.title)
			drawCurves(&b, axis, results, name, p.figure, p.unit)
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// curveTitle names the operation that a row of curveRows repeats.
func curveTitle(row string) string {
	name := strings.TrimSuffix(row, curveSuffix)
	return html.EscapeString(strings.ToUpper(name[:1]) + name[1:])
}

func drawLegend(b *bytes.Buffer) {
	x := curvesLeft
	for _, l := range curveLines {
		fmt.Fprintf(b, `<line x1="%.0f" y1="16" x2="%.0f" y2="16" stroke="%s" %s/>`, x, x+28, l.colour, l.style)
		fmt.Fprintf(b, `<text x="%.0f" y="20">%s</text>`+"\n", x+34, l.name)
		x += 190
	}
}

// panelAxes place a panel and map values onto it.
type panelAxes struct {
	left, right, top float64
	most             float64 // callers
	low, high        float64 // values
}

// valueAxis spans a figure's values in all results, so that its panels can be
// compared.
func valueAxis(results []*result, figure string, unit float64) panelAxes {
	a := panelAxes{most: 2, low: math.Inf(1), high: math.Inf(-1)}
	for _, r := range results {
		for _, l := range curveLines {
			if v, ok := medians(l.rounds(r))[figure]; ok && v > 0 && r.err == nil {
				a.low, a.high = min(a.low, v/unit), max(a.high, v/unit)
				a.most = max(a.most, float64(r.callers))
			}
		}
	}
	if a.low > a.high {
		a.low, a.high = 1, 10
	}
	a.low, a.high = a.low/1.15, a.high*1.15
	return a
}

func (a panelAxes) x(callers float64) float64 {
	return a.left + (a.right-a.left)*math.Log(callers)/math.Log(a.most)
}

func (a panelAxes) y(value float64) float64 {
	return a.top + curvesHeight*math.Log(a.high/value)/math.Log(a.high/a.low)
}

// ticks returns the numbers 1, 2 and 5 times a power of ten on the value axis.
func (a panelAxes) ticks() []float64 {
	var out []float64
	for power := math.Floor(math.Log10(a.low)); power <= math.Log10(a.high); power++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, power); v >= a.low && v <= a.high {
				out = append(out, v)
			}
		}
	}
	return out
}

func drawPanel(b *bytes.Buffer, a panelAxes, title string) {
	bottom := a.top + curvesHeight
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" font-weight="bold">%s</text>`+"\n", a.left, a.top-9, title)
	rule := func(x1, y1, x2, y2 float64) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#808080" stroke-opacity="0.3"/>`, x1, y1, x2, y2)
	}
	for _, v := range a.ticks() {
		rule(a.left, a.y(v), a.right, a.y(v))
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n", a.left-6, a.y(v)+4, short(v))
	}
	for n := 1.0; n <= a.most; n *= 4 {
		rule(a.x(n), a.top, a.x(n), bottom)
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%.0f</text>`+"\n", a.x(n), bottom+16, n)
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">goroutines</text>`+"\n", (a.left+a.right)/2, bottom+31)
}

// drawCurves draws a panel's lines and, next to the last points, their values.
func drawCurves(b *bytes.Buffer, a panelAxes, results []*result, name, figure string, unit float64) {
	type number struct {
		y            float64
		text, colour string
	}
	var numbers []number
	for _, l := range curveLines {
		var c curve
		for _, r := range results {
			if v, ok := medians(l.rounds(r))[figure]; ok && v > 0 && r.name == name && r.err == nil {
				c = append(c, struct{ callers, value float64 }{float64(r.callers), v / unit})
			}
		}
		if len(c) == 0 {
			continue
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" %s stroke-linejoin="round" points="`, l.colour, l.style)
		for _, p := range c {
			fmt.Fprintf(b, "%.1f,%.1f ", a.x(p.callers), a.y(p.value))
		}
		b.WriteString(`"/>` + "\n")
		for _, p := range c {
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="2.4" fill="%s"/>`, a.x(p.callers), a.y(p.value), l.colour)
		}
		last := c[len(c)-1].value
		numbers = append(numbers, number{a.y(last), short(last), l.colour})
	}
	slices.SortFunc(numbers, func(p, q number) int { return int(p.y - q.y) })
	for i := range numbers {
		n := &numbers[i]
		if i > 0 {
			n.y = max(n.y, numbers[i-1].y+curvesLabel)
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="%s" font-weight="bold">%s</text>`+"\n", a.right+7, n.y+4, n.colour, n.text)
	}
}

// short writes a number with two significant digits and k for thousands.
func short(v float64) string {
	switch {
	case v >= 9950:
		return fmt.Sprintf("%.0fk", v/1000)
	case v >= 995:
		return fmt.Sprintf("%.2gk", v/1000)
	case v >= 99.5:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2g", v)
}
