package report

import (
	"bytes"
	"fmt"
	"html"
	"strings"
)

const (
	plotColumns = 3
	plotWidth   = 300.0
	plotHeight  = 130.0
	plotGapX    = 46.0
	plotGapY    = 52.0
	plotTop     = 56.0
	plotLeft    = 44.0
)

// colours of the clients in the order in which they appear.
var colours = []string{"#2f6db5", "#d07a1f", "#4c9a4c"}

// SVG draws, for each scenario with lasting faults, the answered calls per second of
// each client around the begin of a fault. The fault is shaded.
func SVG(rows []Row) []byte {
	var panels [][]Row
	for _, r := range rows {
		if len(r.Curve) == 0 {
			continue
		}
		if n := len(panels); n > 0 && panels[n-1][0].Scenario == r.Scenario {
			panels[n-1] = append(panels[n-1], r)
		} else {
			panels = append(panels, []Row{r})
		}
	}
	lines := (len(panels) + plotColumns - 1) / plotColumns
	width := plotLeft + plotColumns*(plotWidth+plotGapX)
	height := plotTop + float64(lines)*(plotHeight+plotGapY)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" font-family="sans-serif" font-size="11" fill="#222">`+"\n", width, height, width)
	b.WriteString("<title>Answered calls per second around each fault</title>\n")
	fmt.Fprintf(&b, `<rect width="%.0f" height="%.0f" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="8" y="20" font-size="13">Answered calls per second around each fault, mean over the faults: %s</text>`+"\n", legend(panels))
	for i, panel := range panels {
		x := plotLeft + float64(i%plotColumns)*(plotWidth+plotGapX)
		y := plotTop + float64(i/plotColumns)*(plotHeight+plotGapY)
		drawPanel(&b, panel, x, y)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func legend(panels [][]Row) string {
	var names []string
	for _, panel := range panels {
		for i, r := range panel {
			if i == len(names) {
				names = append(names, fmt.Sprintf(`<tspan fill="%s">%s</tspan>`, colours[i%len(colours)], html.EscapeString(r.Client)))
			}
		}
	}
	return strings.Join(names, ", ")
}

// drawPanel draws the clients of one scenario on top of each other.
func drawPanel(b *bytes.Buffer, panel []Row, x, y float64) {
	first, last, most := panel[0].Curve[0].Seconds, 0.0, 1.0
	for _, r := range panel {
		first = min(first, r.Curve[0].Seconds)
		last = max(last, r.Curve[len(r.Curve)-1].Seconds)
		for _, p := range r.Curve {
			most = max(most, p.Rate)
		}
	}
	atX := func(s float64) float64 { return x + (s-first)/(last-first)*plotWidth }
	atY := func(rate float64) float64 { return y + plotHeight*(1-rate/most) }
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.0f" fill="#eee"/>`+"\n", atX(0), y, atX(panel[0].Hold.Seconds())-atX(0), plotHeight)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%d %s</text>`+"\n", x, y-6, panel[0].Number, html.EscapeString(panel[0].Scenario))
	fmt.Fprintf(b, `<path d="M%.1f %.1fV%.1fH%.1f" fill="none" stroke="#999"/>`+"\n", x, y, y+plotHeight, x+plotWidth)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="end">%.0f</text><text x="%.1f" y="%.1f" text-anchor="end">0</text>`+"\n", x-4, y+8, most, x-4, y+plotHeight)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">0 s</text><text x="%.1f" y="%.1f" text-anchor="end">%.1f s</text>`+"\n",
		atX(0), y+plotHeight+14, x+plotWidth, y+plotHeight+14, last)
	for i, r := range panel {
		var points []string
		for _, p := range r.Curve {
			points = append(points, fmt.Sprintf("%.1f,%.1f", atX(p.Seconds), atY(p.Rate)))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(points, " "), colours[i%len(colours)])
	}
}
