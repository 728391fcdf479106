package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// placeholder is a part of an expected line that stands for what differs from run to run.
var placeholder = regexp.MustCompile(`<(n|any)>`)

// checkOutput compares what a program has printed with what is expected of it, line by line.
// In an expected line <n> stands for any number, and <any> for anything. Expected lines that
// begin with ~ may come in any order among themselves.
func checkOutput(t *testing.T, got, want string) {
	t.Helper()
	gotLines, wantLines := inOrder(lines(got), lines(want))
	for i := range max(len(gotLines), len(wantLines)) {
		g, w := at(gotLines, i), at(wantLines, i)
		if !linePattern(w).MatchString(g) {
			t.Errorf("line %d is %q, want %q; all of it:\n%s", i+1, g, w, got)
			return
		}
	}
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

// inOrder sorts the lines that may come in any order, and takes the marks from the expected.
func inOrder(got, want []string) (sortedGot, sortedWant []string) {
	for i := 0; i < len(want); i++ {
		end := i
		for ; end < len(want) && strings.HasPrefix(want[end], "~"); end++ {
			want[end] = strings.TrimPrefix(want[end], "~")
		}
		slices.Sort(want[i:end])
		if end <= len(got) {
			slices.Sort(got[i:end])
		}
		i = max(i, end-1)
	}
	return got, want
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(no line)"
}

func linePattern(want string) *regexp.Regexp {
	var pattern strings.Builder
	pattern.WriteString("^")
	for {
		at := placeholder.FindStringIndex(want)
		if at == nil {
			break
		}
		pattern.WriteString(regexp.QuoteMeta(want[:at[0]]))
		pattern.WriteString(map[string]string{"<n>": "[0-9]+", "<any>": ".*"}[want[at[0]:at[1]]])
		want = want[at[1]:]
	}
	return regexp.MustCompile(pattern.String() + regexp.QuoteMeta(want) + "$")
}

func TestCheckOutput(t *testing.T) {
	for _, tt := range []struct {
		got, want string
		ok        bool
	}{
		{"lease 123 of a", "lease <n> of a", true},
		{"lease -1 of a", "lease <n> of a", false},
		{"a (1.5) b", "a (<any>) b", true},
		{"a.c", "abc", false},
		{"abc", "a.c", false},
		{"abcd", "abc", false},
	} {
		if ok := linePattern(tt.want).MatchString(tt.got); ok != tt.ok {
			t.Errorf("%q as %q: %v, want %v", tt.got, tt.want, ok, tt.ok)
		}
	}
}
