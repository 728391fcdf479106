package guide

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/sequence"
)

func counter(ctx context.Context, c *etcd.Client, out io.Writer) error {
	co, err := concurrency.New(c, concurrency.Config{})
	if err != nil {
		return err
	}
	defer co.Close(ctx)
	w, err := idempotent.NewWriter(ctx, co, idempotent.Config{})
	if err != nil {
		return err
	}
	defer w.Close(ctx)
	visits := sequence.NewCounter(w, "visits")

	sum, err := visits.Add(ctx, 1)
	switch {
	case etcd.MaybeApplied(err): // ctx ended before etcd could tell
		result, err := w.Resolve(context.WithoutCancel(ctx), err)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "added:", result.Succeeded)
	case err != nil:
		return err // nothing was added
	default:
		fmt.Fprintln(out, "visits:", sum)
	}
	return nil
}

// The guide has the code of counter, which counts.
func TestCounter(t *testing.T) {
	text, err := os.ReadFile("../../docs/writes-once.md")
	if err != nil {
		t.Fatal(err)
	}
	bodies := make(map[string]string)
	readBodies(t, "counter_test.go", bodies)
	if !slices.ContainsFunc(block.FindAllStringSubmatch(string(text), -1), func(found []string) bool { return found[1] == bodies["counter"] }) {
		t.Errorf("the guide does not have the body of counter:\n%s", bodies["counter"])
	}
	c, err := etcd.New(etcd.Config{Endpoints: etcdtest.Start(t).Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out strings.Builder
	for range 2 {
		if err := counter(ctx, c, &out); err != nil {
			t.Fatal(err)
		}
	}
	if want := fmt.Sprintln("visits: 1") + fmt.Sprintln("visits: 2"); out.String() != want {
		t.Errorf("it says %q", out.String())
	}
}
