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

func coalescedResults() []*result {
	explicit := func(name string) *result {
		return &result{name: name, callers: 16, ours: []figures{{figOps: 1000}}, peer: []figures{{figOps: 900}}}
	}
	return []*result{
		{
			name: "get-coalesced", callers: 1,
			ours:  []figures{{figOps: 990, figP50: 101, figP99: 200, figClientCPU: 10, figServerCPU: 5}},
			peer:  []figures{{figOps: 500}},
			plain: []figures{{figOps: 1000, figP50: 100, figP99: 100, figClientCPU: 10, figServerCPU: 10}},
		},
		{
			name: "get-coalesced", callers: 256,
			ours:  []figures{{figOps: 96_000}, {figOps: 97_000}, {figOps: 90_000}},
			peer:  []figures{{figOps: 12_000}},
			plain: []figures{{figOps: 24_000}},
		},
		{
			name: "put-coalesced", callers: 256,
			ours: []figures{{figOps: 64_000}}, peer: []figures{{figOps: 12_000}}, plain: []figures{{figOps: 16_000}},
		},
		explicit("txn-128-get"),
		{name: "txn-128-put", callers: 16, err: errors.New("no such luck")},
		{name: "txn-128-get-same-keys", callers: 2, ours: []figures{{figOps: 750}}},
	}
}

func TestCoalescedSection(t *testing.T) {
	results := coalescedResults()
	findExplicit(registry(), results)
	var b strings.Builder
	if err := writeCoalesced(&b, results); err != nil {
		t.Fatal(err)
	}
	var got []string
	for l := range strings.Lines(b.String()) {
		if f := strings.Fields(l); len(f) > 0 && strings.HasSuffix(f[0], "-coalesced") {
			got = append(got, strings.Join(f, " "))
		}
	}
	want := []string{
		"get-coalesced 1 0.99× 1.01× 2.00× 1.00× 0.50× - - - -", // too few to fill a Txn
		"get-coalesced 256 4.00× - - - - 128,000 75 % 96,000 100 %",
		"put-coalesced 256 4.00× - - - - - - - -", // the Txns failed
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the section is\n%s\nwant the lines\n%s", b.String(), strings.Join(want, "\n"))
	}

	text, err := json.Marshal(results[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"plain_ops":24000`, `"ops_of_plain":4`, `"explicit_ops":128000`, `"ops_of_explicit":0.75`, `"same_keys_ops":96000`, `"ops_of_same_keys":1`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}

	b.Reset()
	if err := writeCoalesced(&b, exampleResults()); err != nil || b.Len() > 0 {
		t.Errorf("without coalesced rows the section is %q, error %v", b.String(), err)
	}
}

func TestCurvesPicture(t *testing.T) {
	var results []*result
	for _, name := range []string{"get-curve", "put-curve"} {
		for _, callers := range []int{1, 2, 4} {
			n := float64(callers)
			results = append(results, &result{
				name: name, callers: callers,
				ours:  []figures{{figOps: 9000 * n, figP99: 150}},
				plain: []figures{{figOps: 5000 * n, figP99: 150}},
				peer:  []figures{{figOps: 3000 * n, figP99: 12_000}},
			})
		}
	}
	results[4] = &result{name: "put-curve", callers: 2, err: errors.New("no such luck")}
	svg := curvesSVG(results)
	points := 0
	for dec := xml.NewDecoder(bytes.NewReader(svg)); ; {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "circle" {
			points++
		}
	}
	if points != 5*3*2 {
		t.Errorf("%d points, want 30", points)
	}
	for _, want := range []string{"Get, operations/s", "Put, p99 latency, ms", ">36k<", ">0.15<", ">12<"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, svg)
		}
	}
	// The highest value is above the lowest, and the last point right of the first.
	a := valueAxis(results, figOps, 1)
	a.left, a.right = 10, 110
	if a.y(36_000) >= a.y(3000) || a.x(1) != 10 || a.x(4) != 110 {
		t.Errorf("36,000 is at height %v, 3,000 at %v; 1 and 4 callers at %v and %v", a.y(36_000), a.y(3000), a.x(1), a.x(4))
	}
	for _, empty := range [][]*result{nil, {{name: "get-curve", callers: 1, err: errors.New("no such luck")}}} {
		if svg := curvesSVG(empty); bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
			t.Errorf("without points the picture is\n%s", svg)
		}
	}
}
