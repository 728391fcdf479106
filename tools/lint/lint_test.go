package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const faults = "testdata/faults/faults.go"

// TestFaults has each analyzer find what it is there for: every line that ends in
// a comment with the check's name, and nothing else.
func TestFaults(t *testing.T) {
	found, err := lint("", []string{"./testdata/faults"}, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%s:%d %s", f.file, f.line, f.check))
	}
	if want := marked(t); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// marked are the lines of the faults whose comment names a check. A fault of a
// directive is marked on the line below it.
func marked(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(faults)
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`\S.*// (\w+)$`)
	var want []string
	for i, line := range strings.Split(string(text), "\n") {
		m := comment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at := i + 1
		if m[1] == "directive" {
			at--
		}
		want = append(want, fmt.Sprintf("%s:%d %s", faults, at, m[1]))
	}
	return want
}

func TestExclusions(t *testing.T) {
	excluded := slices.Clone(exclusions)
	for _, f := range []finding{
		{check: "G115", file: "wire.go", message: "integer overflow"},
		{check: "G304", file: "bench/main.go"},
		{check: "errorlint", file: "watchstream.go", source: "if err == io.EOF {"},
	} {
		if !excluded.has(f) {
			t.Errorf("%+v is not excluded", f)
		}
	}
	for _, f := range []finding{
		{check: "G304", file: "snapshotfile.go"},
		{check: "errorlint", file: "watchstream.go", source: "if err == ErrTimeout {"},
		{check: "nilerr", file: "a_test.go"},
	} {
		if excluded.has(f) {
			t.Errorf("%+v is excluded", f)
		}
	}
	if got, want := len(excluded.needless()), len(exclusions)-3; got != want {
		t.Errorf("%d exclusions are needless, want %d", got, want)
	}
	for _, e := range exclusions {
		if e.reason == "" {
			t.Errorf("the exclusion of %s has no reason", e.checks)
		}
	}
}
