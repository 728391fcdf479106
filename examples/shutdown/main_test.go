package main

import (
	"context"
	"strings"
	"testing"

	"silly.store/etcd/examples/internal/example"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := example.Run(t.Context(), &out, "", run); err != nil {
		t.Fatal(err)
	}
	inOrder(t, out.String(), "Registered: temp/resource3\n", "Done.\n", "remaining resources: 0\n")
}

// An interrupt ends the work, and the resources too.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &interrupter{at: "Working", interrupt: cancel}
	if err := example.Run(ctx, out, "", run); err != nil {
		t.Fatal(err)
	}
	inOrder(t, out.String(), "Registered: temp/resource3\n", "Interrupted.\n", "remaining resources: 0\n")
}

func inOrder(t *testing.T, out string, wants ...string) {
	t.Helper()
	rest := out
	for _, want := range wants {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("the output has no %q, or not in this order:\n%s", want, out)
		}
		rest = after
	}
}

// interrupter is the output of a program; it interrupts the program when it prints at.
type interrupter struct {
	strings.Builder
	at        string
	interrupt context.CancelFunc
}

func (w *interrupter) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.at) {
		w.interrupt()
	}
	return w.Builder.Write(b)
}
