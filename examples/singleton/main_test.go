package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"silly.store/etcd/examples/internal/example"
)

// watched is the output of several instances. It calls then with each line.
type watched struct {
	mu   sync.Mutex // guards the lines
	all  strings.Builder
	then func(line string)
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(b)
	w.then(string(b))
	return len(b), nil
}

// One of two instances works. When it stops, the other one takes over.
func TestTakeOver(t *testing.T) {
	err := example.Run(t.Context(), io.Discard, "", func(ctx context.Context, _ io.Writer, e *example.Etcd) error {
		names := []string{"first", "second"}
		var stops [2]context.CancelFunc
		var contexts [2]context.Context
		for i := range stops {
			contexts[i], stops[i] = context.WithCancel(ctx)
		}
		var took []string
		waits := make(map[string]bool)
		working := ""
		out := &watched{}
		out.then = func(line string) {
			name, what, _ := strings.Cut(line, ": ")
			switch {
			case strings.HasPrefix(what, "works"):
				if working != "" && working != name {
					t.Errorf("%s works while %s does", name, working)
				}
				if working = name; len(took) == 0 || took[len(took)-1] != name {
					took = append(took, name)
				}
			case strings.HasPrefix(what, "stops"):
				working = ""
			case strings.HasPrefix(what, "waits"):
				waits[name] = true
			}
			if len(took) == 1 && len(waits) == 1 && working != "" { // the other one is there
				for i, name := range names {
					if name == working {
						stops[i]()
					}
				}
			}
			if len(took) == 2 {
				stops[0]()
				stops[1]()
			}
		}
		var running sync.WaitGroup
		var errs [2]error
		for i, name := range names {
			running.Go(func() { errs[i] = instance(contexts[i], out, e, name) })
		}
		running.Wait()
		if len(took) != 2 {
			t.Errorf("%q have worked:\n%s", took, out.all.String())
		}
		return errors.Join(errs[:]...)
	})
	if err != nil {
		t.Fatal(err)
	}
}
