package live

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func figures() Figures {
	return Figures{
		Client: "ours", Seed: 4711, Phase: "under faults", Fault: "leader killed", FaultFor: 1400 * time.Millisecond, Faults: 18,
		Elapsed: 188 * time.Second, Total: 10 * time.Minute,
		Calls: 287412, Rate: 1532, P50: 1200 * time.Microsecond, P99: 84 * time.Millisecond,
		NotSent: 3, Rejected: 12, Unknown: 1031, Failing: 4,
		Events: 4120331, Watches: 18, Behind: 3, Lag: 2 * time.Millisecond,
		Leases: 20, Lost: 14, Margin: 3900 * time.Millisecond, Margins: true,
		Heap: 21 << 20, HeapBefore: 9 << 20, Goroutines: 342,
		Rounds: 8, Checked: 1204112,
	}
}

func text(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text + "\n")
	}
	return b.String()
}

func TestScreen(t *testing.T) {
	f := figures()
	lines := f.Screen(80)
	const want = `soak of ours, seed 4711: under faults
[#############-------------------------------]  31 %  3:08 of 10:00, 6:52 left
fault    leader killed, 1.4 s                         18 so far
calls    1,532/s   p50 1.2 ms   p99 84 ms             287,412 in all
errors   not sent 3   rejected 12   unknown 1,031     4 in the last 5 s
watches  18   lag 3 revisions, 2.0 ms                 4,120,331 events
leases   20   least time left 3.9 s                   14 lost
memory   21.0 MiB in use   342 goroutines             9.0 MiB idle before
judged   8 rounds, 1,204,112 facts                    0 violations
`
	if got := text(lines); got != want {
		t.Errorf("the screen is\n%swant\n%s", got, want)
	}
	if lines[2].Style != Warning || lines[8].Style != Strong {
		t.Errorf("styles %v, %v", lines[2].Style, lines[8].Style)
	}
}

// Problems stand out; unknown figures are left out.
func TestScreenStates(t *testing.T) {
	f := figures()
	f.Violations, f.Troubles = 2, 1
	lines := f.Screen(80)
	if l := lines[8]; l.Style != Alarm || !strings.Contains(l.Text, "2 violations") {
		t.Errorf("violations: %+v", l)
	}
	if l := lines[9]; l.Style != Alarm || !strings.Contains(l.Text, "1 failures of the harness itself") {
		t.Errorf("troubles: %+v", l)
	}
	empty := Figures{Phase: "starting"}
	got := text(empty.Screen(80))
	for _, want := range []string{"  0 %  0:00 of 0:00", "fault    none", "p99 0.0 ms", "leases   0   –", "memory   0.0 MiB in use   0 goroutines\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("an empty screen lacks %q:\n%s", want, got)
		}
	}
}

// Lines fit a narrow terminal, and the progress shows without a bar.
func TestNarrowScreen(t *testing.T) {
	f := figures()
	for width := 1; width < 100; width++ {
		for _, l := range f.Screen(width) {
			if n := utf8.RuneCountInString(l.Text); n > width {
				t.Fatalf("%d characters on %d columns: %q", n, width, l.Text)
			}
		}
	}
	if got := f.Screen(40)[1].Text; got != "31 %  3:08 of 10:00, 6:52 left" {
		t.Errorf("progress on 40 columns: %q", got)
	}
}

func TestPlain(t *testing.T) {
	f := figures()
	const want = "3:08 of 10:00  leader killed  faults 18  calls 1532/s p99 84 ms  not sent 3 rejected 12 unknown 1031" +
		"  lag 3 rev 2.0 ms  lease margin 3.9s  heap 21.0 MiB  goroutines 342  violations 0"
	if got := f.Plain(); got != want {
		t.Errorf("the line is\n%s, want\n%s", got, want)
	}
}

// A drawing overwrites the previous one, and uses colours only if enabled.
func TestDrawing(t *testing.T) {
	lines := []Line{{"a", Plain}, {"b", Alarm}}
	if got := drawing(lines, 0, false); got != "\r\x1b[Ja\nb\n" {
		t.Errorf("the first is %q", got)
	}
	if got := drawing(lines, 2, true); got != "\x1b[2A\r\x1b[Ja\n\x1b[1;31mb\x1b[0m\n" {
		t.Errorf("the second is %q", got)
	}
}

// Without a terminal the view prints lines, including the last figures.
func TestViewWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	stop := make(chan struct{})
	close(stop)
	n := 0
	NewView(&out).Run(stop, func() Figures { n++; return Figures{Violations: n} })
	if got := strings.Count(out.String(), "\n"); got != 2 || strings.Contains(out.String(), "\x1b") || !strings.Contains(out.String(), "violations 2\n") {
		t.Errorf("printed %q", out.String())
	}
}
