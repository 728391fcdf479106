package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func exampleResults() []*result {
	return []*result{
		{
			name: "get", callers: 256,
			ours: []figures{
				{figOps: 39_000, figClientCPU: 8, figServerCPU: 24, figP50: 6000, figP99: 9000, figAllocs: 5, figBytes: 900},
				{figOps: 40_000, figClientCPU: 9, figServerCPU: 22, figP50: 6200, figP99: 9100, figAllocs: 5, figBytes: 900},
				{figOps: 41_000, figClientCPU: 10, figServerCPU: 23, figP50: 6100, figP99: 8000, figAllocs: 5, figBytes: 900},
			},
			peer: []figures{
				{figOps: 20_000, figClientCPU: 36, figServerCPU: 46, figP50: 12_200, figP99: 18_000, figAllocs: 100, figBytes: 8000},
			},
		},
		{
			name: "range-iter", callers: 1,
			ours: []figures{{figOps: 10, figPeakHeap: 5}},
			peer: []figures{{figOps: 10, figPeakHeap: 20}},
		},
		{name: "put<", callers: 1, err: errors.New("no such luck")},
	}
}

func TestJSONShape(t *testing.T) {
	text, err := json.Marshal(report{Rows: exampleResults()})
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Rows []map[string]any }
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	want := []map[string]any{
		{
			"name": "get", "callers": 256.0,
			"ops_ratio": 2.0, "client_cpu_ratio": 0.25, "server_cpu_ratio": 0.5,
			"p50_ratio": 0.5, "p99_ratio": 0.5, "allocs_ratio": 0.05, "bytes_ratio": 0.1125,
			"allocs": 5.0, "peer_allocs": 100.0, "bytes": 900.0, "peer_bytes": 8000.0,
			"ops": 40_000.0, "peer_ops": 20_000.0, "client_cpu": 9.0, "peer_client_cpu": 36.0,
		},
		{
			"name": "range-iter", "callers": 1.0, "ops_ratio": 1.0,
			"peak_heap_mb": 5.0, "peer_peak_heap_mb": 20.0, "peak_heap_mb_ratio": 0.25,
		},
		{"name": "put<", "callers": 1.0, "error": "no such luck"},
	}
	for i, w := range want {
		for key, v := range w {
			if got.Rows[i][key] != v {
				t.Errorf("row %d: %s is %v, want %v", i, key, got.Rows[i][key], v)
			}
		}
	}
	for _, absent := range []string{"client_cpu", "client_cpu_ratio", "p99", "p99_ratio"} {
		if v, ok := got.Rows[1][absent]; ok {
			t.Errorf("%s was not measured and is %v", absent, v)
		}
	}
	if len(got.Rows[2]) != 3 {
		t.Errorf("a failed row has figures: %v", got.Rows[2])
	}
	if bytes.ContainsRune(text, '\n') {
		t.Error("the JSON is more than a line")
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := writeTable(&b, exampleResults()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"40,000", "2.00×", "9.00 µs", "36.0 µs", "0.05", "2 %",
		"peak_heap_mb: ours 5.00, client/v3 20.0, ratio 0.25×",
		"put< at 1 failed: no such luck",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestAmount(t *testing.T) {
	for v, want := range map[float64]string{1234567: "1,234,567", 999.6: "1,000", 100: "100", 12.34: "12.3", 0.5: "0.50", -4321: "-4,321"} {
		if got := amount(v, true, ""); got != want {
			t.Errorf("%v is shown as %s, want %s", v, got, want)
		}
	}
	if got := amount(1, false, "µs"); got != "-" {
		t.Errorf("a missing figure is shown as %s", got)
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	results := exampleResults()
	results = append(results, &result{
		name: "a<&b", callers: 1,
		ours: []figures{{figOps: 1, figAllocs: 50}}, peer: []figures{{figOps: 1, figAllocs: 300_000}},
	})
	svg := plotSVG(results)
	dec := xml.NewDecoder(bytes.NewReader(svg))
	bars := 0
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	// The background, six ratios of get, one of range-iter, two of a<&b.
	if bars != 10 {
		t.Errorf("%d rectangles, want 10", bars)
	}
	for _, want := range []string{"get, 256", "a&lt;&amp;b, 1", ">2.00<", ">0.0002<"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, svg)
		}
	}
	if d := departure(50.0 / 300_000); d != -plotReach {
		t.Errorf("a ratio beyond the axis departs by %v", d)
	}
}
