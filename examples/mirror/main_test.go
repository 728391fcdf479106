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
	if !strings.Contains(out.String(), "lag ") || !strings.Contains(out.String(), "100 keys, equal: true") {
		t.Error(out.String())
	}
}
