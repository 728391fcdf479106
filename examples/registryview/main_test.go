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
		"search/1 is at 10.0.0.1:80\n", "search/2 is at 10.0.0.2:80\n", "search/1 at 10.0.0.1:80 has gone\n", "instances left: 1\n",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("the output has no %q, or not in this order:\n%s", want, out.String())
		}
		rest = after
	}
}
