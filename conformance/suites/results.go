package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// results are those of the suite's top-level tests, by their names: "package TestName".
type results map[string]result

type result struct {
	verdict string // of go test: pass, fail or skip; empty: it never ended
	output  []string
}

// event is a line of go test -json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// keptLines is how many of the last lines of a test are shown at least. etcd's own log is
// among them.
const keptLines = 200

// testTimeout bounds the tests of one package. Those of the largest take four minutes.
const testTimeout = 20 * time.Minute

// aloneTimeout bounds a test that runs by itself. One that is listed may wait for ever.
const aloneTimeout = 2 * time.Minute

// testAll runs the suite, or only the tests that match. In a whole suite those that are
// listed come last, each by itself: what one leaves behind could make others fail.
func (s *suite) testAll(ctx context.Context, dir, only string, listed map[string]difference) (results, error) {
	if only != "" {
		return s.test(ctx, dir, s.packages, "-run="+only)
	}
	var names []string
	for test := range listed {
		_, name, _ := strings.Cut(test, " ")
		names = append(names, name)
	}
	r, err := s.test(ctx, dir, s.packages, "-skip=^("+strings.Join(names, "|")+")$")
	if err != nil {
		return nil, err
	}
	for _, test := range slices.Sorted(maps.Keys(listed)) {
		if err := r.alone(ctx, s, dir, test); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// alone runs one test by itself and notes its result.
func (r results) alone(ctx context.Context, s *suite, dir, test string) error {
	pkg, name, _ := strings.Cut(test, " ")
	own, err := s.test(ctx, dir, "./"+pkg, "-run=^"+name+"$", "-timeout="+aloneTimeout.String())
	if err != nil {
		return err
	}
	if t, ok := own[test]; ok {
		r[test] = t
	}
	return nil
}

// test runs tests of packages.
func (s *suite) test(ctx context.Context, dir, packages string, which ...string) (results, error) {
	args := append([]string{"test", "-json", "-p=1", "-count=1", "-timeout=" + testTimeout.String()}, which...)
	cmd := command(ctx, dir, append(args, packages)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r, err := s.read(out)
	failed := cmd.Wait() // of a test too
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(r) == 0 && failed != nil:
		return nil, fmt.Errorf("no test was run: %w\n%s", failed, stderr.String())
	}
	return r, nil
}

// read collects the results and shows how the packages come along.
func (s *suite) read(out io.Reader) (results, error) {
	r := results{}
	var other strings.Builder // what is said of no test, like errors of the compiler
	var broken []string
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var ev event
		if json.Unmarshal(line, &ev) != nil {
			continue
		}
		name, _, _ := strings.Cut(ev.Test, "/")
		if name != "" {
			r.note(s.short(ev.Package)+" "+name, &ev)
			continue
		}
		other.WriteString(ev.Output)
		if ev.Action == "pass" || ev.Action == "fail" {
			passed, all := r.count(s.short(ev.Package))
			fmt.Printf("%-45s %3d of %3d pass, %.0f s\n", s.short(ev.Package), passed, all, ev.Elapsed)
			if all == 0 && ev.Action == "fail" {
				broken = append(broken, ev.Package)
			}
		}
	}
	if broken != nil {
		return nil, fmt.Errorf("%v cannot be tested:\n%s", broken, other.String())
	}
	return r, nil
}

// short is a package's path without the module's.
func (s *suite) short(path string) string { return strings.TrimPrefix(path, s.module+"/") }

func (r results) note(test string, ev *event) {
	t := r[test]
	switch ev.Action {
	case "pass", "fail", "skip":
		if !strings.Contains(ev.Test, "/") {
			t.verdict = ev.Action
		}
		if !t.failed() {
			t.output = nil
		}
	case "output":
		if t.output = append(t.output, ev.Output); len(t.output) > 2*keptLines {
			t.output = append(t.output[:0], t.output[keptLines:]...)
		}
	}
	r[test] = t
}

func (r results) count(pkg string) (passed, all int) {
	for test, t := range r {
		if strings.HasPrefix(test, pkg+" ") {
			all++
			if !t.failed() {
				passed++
			}
		}
	}
	return passed, all
}

// failed: etcd's tests skip themselves when an earlier one has left a goroutine behind.
func (t result) failed() bool {
	return t.verdict != "pass" && (t.verdict != "skip" || strings.Contains(strings.Join(t.output, ""), "leaked goroutine"))
}

// retry runs those that failed and are not listed once more, each by itself: the suites
// have tests that fail on a busy machine, with client/v3 too.
func (r results) retry(ctx context.Context, s *suite, dir string, listed map[string]difference) error {
	for _, test := range slices.Sorted(maps.Keys(r)) {
		first := r[test]
		if _, ok := listed[test]; ok || !first.failed() {
			continue
		}
		if err := r.alone(ctx, s, dir, test); err != nil {
			return err
		}
		if !r[test].failed() {
			fmt.Printf("%s failed once, and passes by itself%s", test, first.why())
		}
	}
	return nil
}

// why is what a test that has failed says of it, without etcd's log.
func (t result) why() string {
	if t.verdict == "skip" {
		return ": a goroutine was left behind before it\n"
	}
	said := slices.DeleteFunc(slices.Clone(t.output), func(line string) bool { return strings.Contains(line, "logger.go:") })
	return ":\n" + strings.Join(said, "")
}

// judge holds the results against the list. partly: not all tests have run.
func (r results) judge(listed map[string]difference, partly bool) error {
	failed, surprises := 0, 0
	for _, test := range slices.Sorted(maps.Keys(r)) {
		t := r[test]
		differs, expected := listed[test]
		switch {
		case t.failed() && expected:
			failed++
			fmt.Printf("differs: %s: %s\n", test, differs.why)
		case t.failed():
			failed++
			surprises++
			fmt.Printf("FAILS: %s\n%s", test, strings.Join(t.output, ""))
		case expected && !differs.sometimes:
			surprises++
			fmt.Printf("PASSES: %s is in the list of tests that differ\n", test)
		}
	}
	for test := range listed {
		if _, ok := r[test]; !ok && !partly {
			surprises++
			fmt.Printf("MISSING: %s is in the list of tests that differ\n", test)
		}
	}
	fmt.Printf("%d of %d tests pass\n", len(r)-failed, len(r))
	if surprises > 0 {
		return fmt.Errorf("%d tests are not as the list says", surprises)
	}
	return nil
}

// difference is a test that differs.
type difference struct {
	why       string
	sometimes bool // it depends on chance, and may pass
}

// parseList reads lines of the form "package TestName: reason", or "package TestName
// sometimes: reason". Empty ones and those that begin with # say nothing.
func parseList(text string) (map[string]difference, error) {
	listed := map[string]difference{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		test, why, ok := strings.Cut(line, ": ")
		test, sometimes := strings.CutSuffix(test, " sometimes")
		if !ok || len(strings.Fields(test)) != 2 || why == "" {
			return nil, fmt.Errorf("%q is not of the form \"package TestName: reason\"", line)
		}
		listed[test] = difference{why, sometimes}
	}
	return listed, nil
}
