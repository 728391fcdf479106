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
	if want := "blue/color = blue\nred/color = red\nleft: 1 key, blue/color\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("the output ends not in %q:\n%s", want, out.String())
	}
}
