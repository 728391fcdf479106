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
	for _, want := range []string{
		"Counted 100 times while answers were lost: 100\n",
		"Moved a coin 100 times while answers were lost: ann -100, bob 100\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %q:\n%s", want, out.String())
		}
	}
}
