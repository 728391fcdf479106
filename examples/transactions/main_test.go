package main

import (
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
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("the output has no %q, or not in this order:\n%s", want, out.String())
		}
		rest = after
	}
}
