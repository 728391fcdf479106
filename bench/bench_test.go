package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the test program also run as a client's process.
func TestMain(m *testing.M) {
	if ranAsChild() {
		return
	}
	os.Exit(m.Run())
}

// progress shows the bench's progress in the test's log.
type progress struct{ t *testing.T }

func (p progress) Write(b []byte) (int, error) {
	p.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// TestEveryRow measures every row with both clients against a real etcd, each
// for a few milliseconds: it checks how figures are collected, not their values.
func TestEveryRow(t *testing.T) {
	dir := t.TempDir()
	b := &bench{
		scale: scale{
			Rounds: 2, Round: 5 * time.Millisecond, Warmup: time.Millisecond,
			Keys: 300, RangePairs: 1500, IterPairs: 3000, Leases: 300, Waiters: 20,
			Events: 1000, FanOut: 30, Watches: 50, Resumes: 30, Clients: 10, Herd: 10, Cached: 500,
			Tries: 1, Patience: 3 * time.Second, Together: true,
		},
		dir: dir, progress: progress{t}, first: oursName,
	}
	rows := registry()
	results := runBeside(t, b, rows, 4)
	lines := 0
	for _, r := range rows {
		lines += len(r.callers)
	}
	if len(results) != lines {
		t.Errorf("%d results, want %d", len(results), lines)
	}
	for _, r := range results {
		if r.err != nil {
			t.Errorf("%s at %d: %v", r.name, r.callers, r.err)
			continue
		}
		if r.name == "herd" {
			checkHerd(t, r)
			continue
		}
		if strings.HasPrefix(r.name, "failover") {
			checkFailover(t, r)
			continue
		}
		if len(r.ours) != 2 || len(r.peer) != 2 {
			t.Errorf("%s at %d: %d and %d rounds, want 2", r.name, r.callers, len(r.ours), len(r.peer))
		}
		if plain := strings.HasSuffix(r.name, "-coalesced") || r.name == "exactly-once"; plain != (len(r.plain) == 2) {
			t.Errorf("%s at %d: %d rounds of the plain client", r.name, r.callers, len(r.plain))
		}
		single := r.callers == 256 && (r.name == "get-coalesced" || r.name == "put-coalesced")
		for _, txns := range []float64{r.explicit, r.sameKeys} {
			if _, ok := r.of(txns); ok != single {
				t.Errorf("%s at %d: compared with explicit Txns: %v", r.name, r.callers, ok)
			}
		}
		for _, c := range r.comparisons() {
			alone := c.name == figAnyP50 // client/v3 has no preference
			if !c.hasOurs || !c.hasPeer && !alone {
				t.Errorf("%s at %d: %s is there for ours: %v, for client/v3: %v", r.name, r.callers, c.name, c.hasOurs, c.hasPeer)
			}
		}
		got, peer := medians(r.ours), medians(r.peer)
		// The one figure that is exact in a few milliseconds; it also shows that the
		// sides are not swapped.
		if r.name == "get" && got[figAllocs] > peer[figAllocs]/2 {
			t.Errorf("get at %d: %v allocations, client/v3 %v", r.callers, got[figAllocs], peer[figAllocs])
		}
		needed := []string{figOps, figClientCPU, figAllocs, figBytes}
		if strings.HasPrefix(r.name, "large") {
			needed = append(needed, figMB, figCPUPerMB, figPeakHeap, figLimit)
		}
		switch r.name {
		case "range-iter":
			needed = append(needed, figServerCPU, figPeakHeap)
		case "leases":
			needed = append(needed, figCPUShare, figLeaseBytes)
		case "cache-bootstrap", "cache-memory":
			needed = []string{figOps, figServerCPU}
		case "cache-peek", "lock-linger": // no request: the server may be idle for a whole round
			needed = append(needed, figP50, figP99)
		case "clients":
			if n := got[figClientGoroutines]; n > peer[figClientGoroutines]/2 {
				t.Errorf("%v goroutines per client, client/v3 %v", n, peer[figClientGoroutines])
			}
			needed = []string{figOps, figServerCPU, figClientBytes, figClientGoroutines, figClientConns}
		case "watch-replay", "watch-fanout", "watch-fanout-tls", "compat-watch":
			needed = append(needed, figServerCPU)
		case "lock-waiters":
			needed = append(needed, figWaiterBytes)
		case "watch-idle":
			needed = append(needed, figWatchBytes)
		case "watch-resume":
			needed = []string{figOps, figServerCPU, figResume}
		default:
			needed = append(needed, figServerCPU, figP50, figP99)
		}
		for _, name := range needed {
			if got[name] <= 0 {
				t.Errorf("%s at %d: %s is %v", r.name, r.callers, name, got[name])
			}
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("the servers left %v, error %v", left, err)
	}
}

// runBeside is b.run with so many rows at the same time, which mostly wait for processes.
func runBeside(t *testing.T, b *bench, rows []row, most int) []*result {
	results := make([][]*result, len(rows))
	var running sync.WaitGroup
	turns := make(chan struct{}, most)
	for i, r := range rows {
		turns <- struct{}{}
		running.Go(func() {
			defer func() { <-turns }()
			results[i] = b.row(t.Context(), r)
		})
	}
	running.Wait()
	all := slices.Concat(results...)
	findExplicit(rows, all)
	return all
}

// checkHerd checks that both restarts were judged for both clients.
func checkHerd(t *testing.T, r *result) {
	t.Helper()
	for _, side := range [][]figures{r.ours, r.peer} {
		if len(side) != 1 {
			t.Fatalf("herd: %d summaries", len(side))
		}
		for _, prefix := range []string{"one_", "all_"} {
			for _, name := range []string{figHerdServed, figHerdAll, figHerdPeak} {
				if v, ok := side[0][prefix+name]; !ok || v <= 0 && prefix == "all_" {
					t.Errorf("herd: %s is %v", prefix+name, v)
				}
			}
		}
	}
}

// checkFailover checks a row whose rounds are already summed up.
func checkFailover(t *testing.T, r *result) {
	t.Helper()
	needed := []string{figWaitP, figWaitW, figCalls, figSlow}
	if r.name == "failover-leader" {
		needed = append(needed, figElection)
	}
	for _, side := range [][]figures{r.ours, r.peer} {
		if len(side) != 1 {
			t.Fatalf("%s: %d summaries, want 1", r.name, len(side))
		}
		for _, name := range needed {
			if side[0][name] <= 0 {
				t.Errorf("%s: %s is %v", r.name, name, side[0][name])
			}
		}
		if _, ok := side[0][figFailed]; !ok || side[0][figWaitW] < side[0][figWaitP] {
			t.Errorf("%s: %v", r.name, side[0])
		}
	}
}

// A caller's wait, its counts and when it gives up.
func TestTryCaller(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	failed := errors.New("failed")
	c := tryCaller{fault: at(100)}
	for _, call := range []struct {
		began, ended int
		err          error
		cut          bool
	}{
		{90, 130, failed, false}, {131, 150, nil, false}, {150, 160, nil, false}, {165, 230, nil, false}, {230, 290, failed, true},
	} {
		c.count(at(call.began), at(call.ended), call.err, call.cut)
	}
	if c.calls != 4 || c.failed != 1 || c.wait != 70*time.Millisecond || c.slowest != 65*time.Millisecond {
		t.Errorf("%d calls, %d failed, waited %v, the slowest took %v", c.calls, c.failed, c.wait, c.slowest)
	}
	got := summary([]figures{{figWait: 3, figElection: 1, figCalls: 9}, {figWait: 8, figElection: 2, figCalls: 7, figFailed: 1, figSlow: 6}})
	want := figures{figWaitP: 5.5, figWaitW: 8, figCalls: 7, figFailed: 1, figSlow: 6, figElection: 1.5, figBeyondP: 4, figBeyondW: 6}
	if !maps.Equal(got, want) {
		t.Errorf("summed up: %v, want %v", got, want)
	}
}

// TestCommand runs the program as a user would, on one line of the report.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	plot, profiles := filepath.Join(dir, "plot.svg"), filepath.Join(dir, "profiles")
	var out bytes.Buffer
	err := run(t.Context(), []string{
		"-rows", "get", "-callers", "16", "-rounds", "1", "-round", "5ms", "-json",
		"-dir", dir, "-plot", plot, "-profile", profiles,
	}, &out, progress{t})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var got struct {
		Rows []struct {
			Name     string
			Callers  int
			OpsRatio float64 `json:"ops_ratio"`
		}
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatalf("the last line: %v: %s", err, lines[len(lines)-1])
	}
	if len(got.Rows) != 1 || got.Rows[0].Name != "get" || got.Rows[0].Callers != 16 || got.Rows[0].OpsRatio <= 0 {
		t.Errorf("the last line says %+v", got)
	}
	for _, name := range []string{"get-16-ours.cpu", "get-16-ours.allocs", "get-16-peer.cpu", "get-16-peer.allocs"} {
		if st, err := os.Stat(filepath.Join(profiles, name)); err != nil || st.Size() == 0 {
			t.Errorf("profile %s: %v, %v", name, st, err)
		}
	}
	if svg, err := os.ReadFile(plot); err != nil || !bytes.HasPrefix(svg, []byte("<svg")) {
		t.Errorf("the plot begins with %.20q, error %v", svg, err)
	}
}

// TestCurvesCommand draws the point of one number of callers.
func TestCurvesCommand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "curves.svg")
	var out bytes.Buffer
	err := run(t.Context(), []string{"-curves", file, "-callers", "16", "-rounds", "1", "-round", "5ms", "-dir", dir}, &out, progress{t})
	if err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Three clients on each of four panels.
	if n := bytes.Count(svg, []byte("<circle")); n != 12 {
		t.Errorf("%d points, want 12", n)
	}
	for _, want := range []string{"get-curve", "put-curve", "own plain"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestCommandRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"-rows: no row \"gett\"":                   {"-rows", "get,gett"},
		"-callers: no chosen row is measured at 7": {"-callers", "7"},
		"unexpected argument":                      {"get"},
		"can't be negative":                        {"-rounds", "-1"},
		"invalid value":                            {"-round", "x"},
	} {
		err := run(t.Context(), args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %s", args, err, want)
		}
	}
	var usage bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, io.Discard, &usage); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: error is %v", err)
	}
	for _, want := range []string{"-quick", "range-100k"} {
		if !strings.Contains(usage.String(), want) {
			t.Errorf("-h does not name %s", want)
		}
	}
}

func TestRegistry(t *testing.T) {
	rows := registry()
	var names []string
	for _, r := range rows {
		if slices.Contains(names, r.name) {
			t.Errorf("two rows are named %s", r.name)
		}
		names = append(names, r.name)
		if r.about == "" || len(r.callers) == 0 || r.run == nil {
			t.Errorf("%s is incomplete", r.name)
		}
	}
	for _, want := range []string{"get", "put", "put-fsync", "get-coalesced", "put-coalesced", "mixed-coalesced", "range-100k", "range-iter", "txn-128-get", "txn-128-put", "connect", "failover-kill", "failover-leader", "failover-stop"} {
		if !slices.Contains(names, want) {
			t.Errorf("row %s is missing", want)
		}
	}
	got, err := selectRows(rows, "connect, get", 1)
	if err != nil || rowNames(got) != "connect,get" || !slices.Equal(got[1].callers, []int{1}) {
		t.Errorf("picked %v, error %v", rowNames(got), err)
	}
	quick := quickRows(rows)
	for _, r := range rows {
		want := r.callers
		if r.quick != nil {
			want = r.quick
		}
		var got []int
		if i := slices.IndexFunc(quick, func(q row) bool { return q.name == r.name }); i >= 0 {
			got = quick[i].callers
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is measured with -quick at %v, want %v", r.name, got, want)
		}
		for _, txns := range []string{r.explicit, r.explicit + sameKeys} {
			if r.explicit != "" && !slices.Contains(names, txns) {
				t.Errorf("%s is compared with %s, which is not there", r.name, txns)
			}
		}
	}
	if !slices.Equal(rows[0].callers, []int{1, 16, 256}) {
		t.Errorf("picking changed the registry: %v", rows[0].callers)
	}
}

func TestWorkerSaysWhatFailed(t *testing.T) {
	for want, j := range map[string]job{
		`no row "none"`:   {Client: peerName, Row: "none"},
		`no client named`: {Client: "jetcd", Row: "get"},
	} {
		_, err := startWorker(j)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error is %v, want %s", j, err, want)
		}
	}
}

// TestWorkerFailsARound makes a client read a missing key: the worker reports the
// error and still answers the next order.
func TestWorkerFailsARound(t *testing.T) {
	srv, err := startServer(t.Context(), t.TempDir(), serverOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.stop()
	w, err := startWorker(job{Client: peerName, Row: "get", Callers: 1, Target: srv.target, Scale: scale{Keys: 1}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the key is not there
		if _, err := w.round(t.Context(), time.Millisecond); err == nil || !strings.Contains(err.Error(), "0 in the answer, want 1") {
			t.Errorf("error is %v", err)
		}
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
}
