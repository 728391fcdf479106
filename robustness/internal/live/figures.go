// Package live shows the progress of a running soak: as a screen that is redrawn,
// or as plain lines without a terminal.
package live

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Figures is the state of a soak at one moment.
type Figures struct {
	Client string
	Seed   uint64

	// Phase is the current phase, like "warming up"; Fault is the current fault,
	// begun FaultFor ago, empty if there is none.
	Phase, Fault string
	FaultFor     time.Duration
	Faults       int
	// Elapsed is the part of Total, the time under faults, that is over.
	Elapsed, Total time.Duration

	// Calls counts ended calls. Rate is the answered calls per second over the last
	// seconds, P50 and P99 are their latencies.
	Calls    int
	Rate     float64
	P50, P99 time.Duration
	// NotSent, Rejected and Unknown count failed calls by the outcome that the
	// client reports; Failing counts those of the last seconds.
	NotSent, Rejected, Unknown, Failing int

	// Events counts the deliveries of all watches. Behind is the number of revisions
	// that the slowest watch of every key lags behind, Lag the time.
	Events, Watches int
	Behind          int64
	Lag             time.Duration

	// Margin is the least time left of any live lease; Margins is false if no
	// lease reports one. Lost counts leases that the client reported lost.
	Leases, Lost int
	Margin       time.Duration
	Margins      bool

	// Heap is the bytes in use, HeapBefore those before the first fault with the
	// client idle; 0 until measured.
	Heap, HeapBefore uint64
	Goroutines       int

	// Rounds counts judged rounds, Checked their facts, Violations the facts that
	// broke an invariant, Troubles the failures of the harness.
	Rounds, Checked, Violations, Troubles int
}

// Style is the look of one line of the screen.
type Style uint8

// The styles.
const (
	Plain Style = iota
	Strong
	Warning // something is being broken on purpose
	Alarm   // something is wrong
)

// Line is one line of the screen.
type Line struct {
	Text  string
	Style Style
}

// Screen returns the figures on lines of at most width characters.
func (f *Figures) Screen(width int) []Line {
	fault := Line{Text: row("fault", "none", count(f.Faults, "so far")), Style: Plain}
	if f.Fault != "" {
		fault = Line{row("fault", fmt.Sprintf("%s, %.1f s", f.Fault, f.FaultFor.Seconds()), count(f.Faults, "so far")), Warning}
	}
	margin := "–"
	if f.Margins {
		margin = fmt.Sprintf("least time left %.1f s", f.Margin.Seconds())
	}
	judged := Line{row("judged", count(f.Rounds, "rounds")+", "+count(f.Checked, "facts"), count(f.Violations, "violations")), Strong}
	if f.Violations > 0 {
		judged.Style = Alarm
	}
	lines := []Line{
		{fmt.Sprintf("soak of %s, seed %d: %s", f.Client, f.Seed, f.Phase), Strong},
		{f.bar(width), Plain},
		fault,
		{row("calls", fmt.Sprintf("%s/s   p50 %s   p99 %s", grouped(int(f.Rate+0.5)), brief(f.P50), brief(f.P99)), count(f.Calls, "in all")), Plain},
		{row("errors", fmt.Sprintf("not sent %s   rejected %s   unknown %s", grouped(f.NotSent), grouped(f.Rejected), grouped(f.Unknown)),
			count(f.Failing, "in the last 5 s")), Plain},
		{row("watches", fmt.Sprintf("%d   lag %s, %s", f.Watches, plural(int(f.Behind), "revision"), brief(f.Lag)), count(f.Events, "events")), Plain},
		{row("leases", fmt.Sprintf("%d   %s", f.Leases, margin), count(f.Lost, "lost")), Plain},
		{row("memory", fmt.Sprintf("%s in use   %d goroutines", size(f.Heap), f.Goroutines), f.before()), Plain},
		judged,
	}
	if f.Troubles > 0 {
		lines = append(lines, Line{row("harness", count(f.Troubles, "failures of the harness itself"), ""), Alarm})
	}
	for i := range lines {
		lines[i].Text = cut(lines[i].Text, width)
	}
	return lines
}

// Plain returns the figures on one line.
func (f *Figures) Plain() string {
	what := f.Phase
	if f.Fault != "" {
		what = f.Fault
	}
	margin := "–"
	if f.Margins {
		margin = fmt.Sprintf("%.1fs", f.Margin.Seconds())
	}
	return fmt.Sprintf("%s of %s  %s  faults %d  calls %.0f/s p99 %s  not sent %d rejected %d unknown %d  lag %d rev %s  lease margin %s  heap %s  goroutines %d  violations %d",
		clock(f.Elapsed), clock(f.Total), what, f.Faults, f.Rate, brief(f.P99), f.NotSent, f.Rejected, f.Unknown,
		f.Behind, brief(f.Lag), margin, size(f.Heap), f.Goroutines, f.Violations)
}

// before returns the heap before the first fault as text.
func (f *Figures) before() string {
	if f.HeapBefore == 0 {
		return ""
	}
	return size(f.HeapBefore) + " idle before"

}

// bar returns the progress bar, as wide as the room allows up to a bound.
func (f *Figures) bar(width int) string {
	const most, least = 44, 8
	part := 0.0
	if f.Total > 0 {
		part = min(max(f.Elapsed.Seconds()/f.Total.Seconds(), 0), 1)
	}
	text := fmt.Sprintf(" %3.0f %%  %s of %s, %s left", 100*part, clock(f.Elapsed), clock(f.Total), clock(f.Total-f.Elapsed))
	room := min(width-utf8.RuneCountInString(text)-2, most)
	if room < least {
		return strings.TrimSpace(text)
	}
	full := int(part * float64(room))
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", room-full) + "]" + text
}

// row formats a name, its current value and its total.
func row(name, now, all string) string {
	return strings.TrimRight(fmt.Sprintf("%-9s%-44s %s", name, now, all), " ")
}

// cut shortens a text to a number of characters.
func cut(text string, width int) string {
	if width <= 0 || utf8.RuneCountInString(text) <= width {
		return text
	}
	runes := []rune(text)
	return strings.TrimRight(string(runes[:width]), " ")
}

func count(n int, of string) string { return grouped(n) + " " + of }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}

// grouped writes a number in groups of three digits.
func grouped(n int) string {
	if n < 0 {
		return "-" + grouped(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

func brief(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// clock writes minutes and seconds, with hours if there are any.
func clock(d time.Duration) string {
	s := int(max(d, 0).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func size(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
