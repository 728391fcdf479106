package sequence

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/sequence"
)

func set(t *testing.T, c *etcd.Client, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: "n", Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

// TestCounter: counters of one key see each other's additions, and take one request when
// nobody else has added.
func TestCounter(t *testing.T) {
	t.Parallel()
	c, requests := counted(t)
	w := testbed.Writer(t, c)
	a, b := sequence.NewCounter(w, "n"), sequence.NewCounter(w, "n")
	want, before := int64(0), requests.Load()
	for i, counter := range []*sequence.Counter{a, a, b, b, a, b} {
		n := int64(i - 3)
		want += n
		if sum, err := counter.Add(t.Context(), n); err != nil || sum != want {
			t.Errorf("%d, %v, want %d", sum, err, want)
		}
	}
	if n := requests.Load() - before; n != 6+3 {
		t.Errorf("%d requests, want one for each and one for each change of the counter", n)
	}
	for value, text := range map[string]string{"x": `does not hold a number: "x"`, "9223372036854775807": "beyond int64"} {
		set(t, c, value)
		if sum, err := a.Add(t.Context(), 1); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%d, %v", sum, err)
		}
	}
	// What was seen last is no reason to refuse.
	set(t, c, "1")
	if sum, err := a.Add(t.Context(), math.MaxInt64-1); err != nil || sum != math.MaxInt64 {
		t.Errorf("%d, %v", sum, err)
	}
	set(t, c, "5")
	if sum, err := a.Add(t.Context(), 1); err != nil || sum != 6 {
		t.Errorf("%d, %v", sum, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Add(ended, 1); !errors.Is(err, context.Canceled) || etcd.MaybeApplied(err) {
		t.Error(err)
	}
	if _, err := sequence.NewCounter(nil, "n").Add(t.Context(), 1); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
	if _, err := sequence.NewCounter(w, "").Add(t.Context(), 1); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
}

// TestCounterExact: the total is exact, however many counters add while connections are cut.
func TestCounterExact(t *testing.T) {
	t.Parallel()
	const callers, each = 4, 40
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	c := connect(t, etcd.Config{Retry: 200, RetrySleep: 5 * time.Millisecond}, proxy.Endpoint())
	w := testbed.Writer(t, c)
	endCuts := testbed.Cuts(proxy, 10*time.Millisecond)
	var all sync.WaitGroup
	counters := []*sequence.Counter{sequence.NewCounter(w, "n"), sequence.NewCounter(w, "n")}
	for i := range callers {
		all.Go(func() {
			for range each {
				if _, err := counters[i%2].Add(t.Context(), 3); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	endCuts()
	if sum, err := counters[0].Add(t.Context(), 0); err != nil || sum != 3*callers*each {
		t.Errorf("%d, %v, want %d", sum, err, 3*callers*each)
	}
}
