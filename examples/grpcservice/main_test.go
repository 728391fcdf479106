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
	for _, want := range []string{"[first second]", "[first second third]", "[second third]"} {
		if !strings.Contains(out.String(), "by "+want) {
			t.Errorf("%s is missing in:\n%s", want, &out)
		}
	}
}
