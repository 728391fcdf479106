package main

import (
	"fmt"
	"strings"
	"testing"

	"silly.store/etcd/examples/internal/example"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := example.Run(t.Context(), &out, "", run); err != nil {
		t.Fatal(err)
	}
	rest := out.String()
	for _, want := range []string{
		"A 10, B 20, sum 30\n",
		"A 11, B 21, sum 32\n",
		"A 31, B 41, sum 72\n",
		"Incremented 200 times while answers were lost:\n  total 200\n",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("the output has no %q, or not in this order:\n%s", want, out.String())
		}
		rest = after
	}
	// The total says something only where increments were applied whose answer was lost.
	var unknown, applied int
	if _, err := fmt.Sscanf(rest, "  %d attempts had an unknown outcome, %d of them had been applied", &unknown, &applied); err != nil {
		t.Fatalf("%v in %q", err, rest)
	}
	if applied == 0 || unknown < applied {
		t.Errorf("%d attempts had an unknown outcome, and %d of these were applied; want some that were", unknown, applied)
	}
}
