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
		"10 requests at a time\n", "20 requests at a time\n", "20 requests at a time\n", "the last good value stays: true\n",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("the output has no %q, or not in this order:\n%s", want, out.String())
		}
		rest = after
	}
}
