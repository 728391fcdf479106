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
		"Version 1 saved, revision: 2\n",
		"Version 5 saved, revision: 6\n",
		"Current version:",
		"Version 5 content",
		"Version: 5\n",
		"Mod revision: 6\n",
		"Create revision: 2\n",
		"Two versions ago:",
		"Version 3 content",
		"Version: 3\n",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("the output has no %q, or not in this order:\n%s", want, out.String())
		}
		rest = after
	}
}
