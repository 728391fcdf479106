package report

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/robustness/internal/history"
)

const ms = int64(time.Millisecond)

// outage is a run of 10 s with a read every 10 ms and a fault from 4 s to 6 s. Reads
// begun from 4 s to 5 s fail at once.
func outage() *history.Run {
	r := &history.Run{
		Scenario: "outage", Number: 1, Client: "ours", Seed: 7, Took: 10 * time.Second,
		Faults:  []history.Fault{{Name: "down", From: 4000 * ms, To: 6000 * ms}},
		Samples: map[string][]time.Duration{"dial": {time.Second, 3 * time.Second, 2 * time.Second}},
	}
	for at := int64(0); at < 10_000; at += 10 {
		c := history.Call{Kind: history.Get, Key: "k", Patient: true, Began: at*ms + 1, Ended: (at + 1) * ms, Deadline: (at + 5000) * ms, Revision: 1}
		if at >= 4000 && at < 5000 {
			c.Fate, c.Revision = history.NotApplied, 0
		}
		r.Calls = append(r.Calls, c)
	}
	return r
}

func TestFigures(t *testing.T) {
	row := NewRow(outage())
	if row.FirstOK.N != 1 || row.FirstOK.P50 != 1001*time.Millisecond {
		t.Errorf("first OK %+v", row.FirstOK)
	}
	if row.Outage.Max != 1001*time.Millisecond {
		t.Errorf("outage %+v", row.Outage)
	}
	if d := row.During; d.Calls != 200 || d.ReadsAnswered != 100 || d.Seconds != 2 {
		t.Errorf("during %+v", d)
	}
	if a := row.After; a.Calls != 200 || a.Answered != 200 || a.Rate() != 100 {
		t.Errorf("after %+v", a)
	}
	if b := row.Before; b.Calls != 600 || b.Answered != 600 || b.Seconds != 6 {
		t.Errorf("before %+v", b)
	}
	for _, p := range row.Curve {
		if want := 100.0; p.Seconds > -0.05 && p.Seconds < 0.95 {
			if p.Rate != 0 {
				t.Errorf("%.0f/s at %.1f s", p.Rate, p.Seconds)
			}
		} else if p.Rate < want*0.8 || p.Rate > want*1.2 {
			t.Errorf("%.0f/s at %.1f s", p.Rate, p.Seconds)
		}
	}
	if s := row.Samples["dial"]; s.N != 3 || s.Min != time.Second || s.P50 != 2*time.Second || s.Max != 3*time.Second {
		t.Errorf("samples %+v", s)
	}
}

// The report describes violations, and runs that did not count, in words.
func TestReport(t *testing.T) {
	broken := outage()
	broken.Client, broken.Judged = "client/v3", []string{"I8"}
	broken.Calls[0].Ended = 9000 * ms
	broken.Least.Faults = 2
	r := Report{Scenarios: []Row{NewRow(outage()), NewRow(broken)}}
	var text strings.Builder
	if err := r.markdown(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 1 | outage | ours | 1 | 1000 | 0 (0) | 0 | 0 | ok: truth 0 of 0 | 7 |", "NOT RUN (1 faults, at least 2 are needed)", "I8 1 of 1000",
		"get of \"k\" ended 4s after its deadline", "| ours | 1 | 0 | 1 | 1000 | 0 | 0 | 0 |", "50/s, 50.00 %", "1.001s / 1.001s",
		"(recovery.svg)", "| dial | 3 | 1s | 2s | 3s | 3s |",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
}

// Reads that overlap a fault of one member count, even if they began before it; too
// few answers fail our client's run.
func TestAvailability(t *testing.T) {
	r := outage()
	r.Faults[0].OneMember = true
	r.Calls[399].Ended, r.Calls[399].Fate = 4001*ms, history.Unknown
	row := NewRow(r)
	if a := row.Availability; a.Faults != 1 || a.Asked != 201 || a.Answered != 100 || a.Enough() {
		t.Errorf("availability %+v", a)
	}
	if !row.Failed() || !strings.HasPrefix(row.Verdict(), "READS FAILED: ") {
		t.Errorf("verdict %s", row.Verdict())
	}
	for i := range r.Calls {
		r.Calls[i].Fate = history.Done
	}
	if row := NewRow(r); row.Failed() || row.Result() != "ok" {
		t.Errorf("verdict %s", row.Verdict())
	}
	for i := range r.Calls {
		r.Calls[i].Stale = true
	}
	if a := availability(r); !a.Enough() {
		t.Errorf("availability without a read: %+v", a)
	}
}

// A full run must reach the minimum totals.
func TestShortfall(t *testing.T) {
	rows := []Row{{Client: ours, Calls: 600_000, Events: 10_000_000}, {Client: "client/v3", Calls: 1, Events: 1}}
	if got := Shortfall(rows); len(got) != 1 || got[0] != "600000 calls of 1000000" {
		t.Errorf("missing %q", got)
	}
	if got := Shortfall(append(rows, Row{Client: ours, Calls: 400_000})); got != nil {
		t.Errorf("missing %q", got)
	}
}

func TestPicture(t *testing.T) {
	other := outage()
	other.Client = "client/v3"
	svg := string(SVG([]Row{NewRow(outage()), NewRow(other)}))
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	if n := strings.Count(svg, "<polyline"); n != 2 {
		t.Errorf("%d curves, want one per client", n)
	}
}
