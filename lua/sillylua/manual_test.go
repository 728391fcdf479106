package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/yuin/gopher-lua/parse"
)

// manualEnv names the manual, where it is not beside the checkout.
const manualEnv = "SILLY_MANUAL"

// manualPrograms cuts the programs out of the manual of silly.store.etcd, which is not part
// of this repository. Where it is not at hand there are none.
func manualPrograms(t *testing.T) []string {
	t.Helper()
	path := os.Getenv(manualEnv)
	if path == "" {
		path = filepath.Join("..", "..", "..", "shared", "reference", "silly.store.etcd.txt")
	}
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) && os.Getenv(manualEnv) == "" {
		t.Logf("the manual is not at %s: its programs are not run, only those in testdata/points", path)
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return cutPrograms(string(text))
}

// cutPrograms finds the programs in a text: from a line that requires silly to the first
// "end)" at the beginning of a line that makes a whole program.
func cutPrograms(text string) (programs []string) {
	const first, last = `local silly = require "silly"`, "end)"
	from := -1
	all := strings.SplitAfter(text, "\n")
	for i, line := range all {
		switch {
		case from < 0 && strings.TrimSpace(line) == first:
			from = i
		case from >= 0 && strings.HasPrefix(line, last):
			program := strings.Join(all[from:i], "") + last + "\n"
			if _, err := parse.Parse(strings.NewReader(program), "manual"); err == nil {
				programs, from = append(programs, program), -1
			}
		}
	}
	return programs
}

// TestManual runs the manual's programs as they stand, each on its own etcd.
func TestManual(t *testing.T) {
	t.Parallel()
	programs := manualPrograms(t)
	if programs == nil {
		return
	}
	const want = 29
	if len(programs) != want {
		t.Fatalf("the manual has %d programs, want %d", len(programs), want)
	}
	outcomes := runAll(t, programs)
	for i, got := range outcomes {
		name := fmt.Sprintf("%02d", i+1)
		t.Run(name, func(t *testing.T) {
			if got.code != exitOK || strings.Contains(got.stderr, "a task failed") {
				t.Errorf("exit code %d, standard error:\n%s", got.code, got.stderr)
			}
			checkOutput(t, got.stdout, read(t, "testdata/manual/"+name+".want"))
		})
	}
}

// runAll runs programs eight at a time, those that sleep longest first: they mostly wait.
func runAll(t *testing.T, programs []string) []outcome {
	t.Helper()
	order := make([]int, len(programs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return sleeps(programs[b]) - sleeps(programs[a]) })
	outcomes := make([]outcome, len(programs))
	var routines sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, i := range order {
		slots <- struct{}{}
		routines.Go(func() {
			defer func() { <-slots }()
			outcomes[i] = sillylua(t.Context(), programs[i], "--embedded", "-")
		})
	}
	routines.Wait()
	return outcomes
}

var sleep = regexp.MustCompile(`silly\.sleep\(([0-9]+)\)`)

// sleeps is for how many milliseconds a program sleeps, loops not counted.
func sleeps(program string) (sum int) {
	for _, match := range sleep.FindAllStringSubmatch(program, -1) {
		ms, _ := strconv.Atoi(match[1]) // digits
		sum += ms
	}
	return sum
}

// The cutter is held to a text like the manual's also where that is not at hand.
func TestCutPrograms(t *testing.T) {
	text := "Title\n- Example:\nlocal silly = require \"silly\"\nlocal task = 1\ntask.fork(function()\ntask.fork(function()\nend)\nend)Next title\n" +
		"prose\nlocal silly = require \"silly\"\nf(function()\nend)\n"
	got := cutPrograms(text)
	want := []string{
		"local silly = require \"silly\"\nlocal task = 1\ntask.fork(function()\ntask.fork(function()\nend)\nend)\n",
		"local silly = require \"silly\"\nf(function()\nend)\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
