package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/examples/internal/example"
)

// watched is the output of a program. It calls then with each line.
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

// Two instances count together and lose no count, although somebody deletes the lock once.
func TestTogether(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	err := example.Run(t.Context(), io.Discard, "", func(_ context.Context, _ io.Writer, e *example.Etcd) error {
		c, err := etcd.New(etcd.Config{Endpoints: e.Endpoints})
		if err != nil {
			return err
		}
		defer c.Close()
		var counts []int
		var last int
		counted := regexp.MustCompile(`token (\d+): counted to (\d+)`)
		out := &watched{then: func(line string) {
			m := counted.FindStringSubmatch(line)
			if m == nil {
				return
			}
			token, _ := strconv.Atoi(m[1])
			n, _ := strconv.Atoi(m[2])
			if token <= last {
				t.Errorf("token %d after %d", token, last)
			}
			last = token
			if counts = append(counts, n); len(counts) == 2 {
				go deleteLock(ctx, t, c)
			}
			if len(counts) == 5 {
				stop()
			}
		}}
		var running sync.WaitGroup
		var errs [2]error
		for i := range errs {
			running.Go(func() { errs[i] = run(ctx, out, e) })
		}
		running.Wait()
		for i, n := range counts {
			if n != i+1 {
				t.Errorf("counted %v", counts)
				break
			}
		}
		if !strings.Contains(out.all.String(), "the lock was lost, and nothing was written") {
			t.Errorf("nobody has lost the lock:\n%s", out.all.String())
		}
		return errors.Join(errs[:]...)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// deleteLock deletes the keys of the holder and of who waits.
func deleteLock(ctx context.Context, t *testing.T, c *etcd.Client) {
	for ctx.Err() == nil {
		r, err := c.Delete(ctx, etcd.DeleteRequest{Key: lockName + "/", Prefix: true})
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		if err != nil || r.Deleted > 0 {
			return
		}
	}
}
