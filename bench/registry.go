package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"silly.store/etcd"
)

// row is one kind of work. Each family of rows has its own file (rows_kv.go, ...)
// and is listed in registry.
type row struct {
	name    string
	about   string // a line for -help: the work, and what counts as an operation
	callers []int  // measured once for each, on the same server
	quick   []int  // the callers with -quick; nil for all, empty for none
	server  serverOptions

	// processes is how many processes each client has, with the callers in each; 0
	// means 1. They measure at the same time.
	processes int

	// coalesce is our client's setting. plain adds a turn of ours with
	// CoalesceOff. explicit names the Txn row with the same operations.
	coalesce etcd.Coalesce
	plain    bool
	explicit string

	// compat: the work is a client/v3 program; "ours" runs it on v3compat.
	compat bool

	// variant names a variant of our client, which is measured beside our client as it is,
	// not beside client/v3.
	variant string

	// prepare fills a fresh server before anything is measured; may be nil. It
	// runs once, with client/v3.
	prepare func(ctx context.Context, l load, s scale) error

	// failover, when not nil, runs the row on a cluster with this fault.
	failover *failover

	// herd runs the row as herd.go says.
	herd bool

	// run is one round of one client, in that client's process. It measures with
	// round.timed or round.measure and may add its own figures.
	run func(ctx context.Context, r *round) (figures, error)
}

// registry returns every row in the order of the report.
func registry() []row {
	return slices.Concat(
		kvRows(),
		coalesceRows(),
		productionRows(),
		largeRows(),
		clientsRows(),
		leaderRows(),
		rangeRows(),
		txnRows(),
		connectRows(),
		leaseRows(),
		lockRows(),
		watchRows(),
		stmRows(),
		onceRows(),
		queueRows(),
		cacheRows(),
		compatRows(),
		variantRows(),
		failoverRows(),
		herdRows(),
	)
}

// scale is the amount of work in a run.
type scale struct {
	Rounds     int           // measured rounds of each client
	Round      time.Duration // wall time of one round
	Warmup     time.Duration // wall time of the first round, which is discarded
	Keys       int           // keys that get, put and txn-128-* choose from
	RangePairs int           // pairs of range-100k
	IterPairs  int           // pairs of range-iter
	Leases     int           // leases of the leases row
	Waiters    int           // waiters of lock-waiters
	Cached     int           // keys of cache-bootstrap and cache-memory
	Events     int           // events of watch-replay
	FanOut     int           // watches of watch-fanout
	Watches    int           // watches of watch-idle
	Resumes    int           // watches of watch-resume
	Clients    int           // clients of the clients row
	Herd       int           // clients of the herd row
	Tries      int           // faults of each failover row, before the long try
	LongTry    time.Duration // calls are counted this long after the last fault
	Patience   time.Duration // a caller without success since the fault gives up after this
	Together   bool          // failover rows run at the same time
}

func fullScale() scale {
	return scale{
		Rounds: 5, Round: 2 * time.Second, Warmup: time.Second,
		Keys: 10_000, RangePairs: 100_000, IterPairs: 500_000, Leases: 5000, Waiters: 1000, Cached: 1_000_000,
		Events: 100_000, FanOut: 1000, Watches: 10_000, Resumes: 10_000, Clients: 1000, Herd: 500,
		Tries: 20, LongTry: 12 * time.Second, Patience: 12 * time.Second,
	}
}

func quickScale() scale {
	s := fullScale()
	s.Rounds, s.Round, s.Warmup = 3, 80*time.Millisecond, 50*time.Millisecond
	s.IterPairs, s.Cached = 50_000, 50_000
	s.Events, s.Watches, s.Resumes = 10_000, 1000, 100
	s.Tries, s.LongTry, s.Patience, s.Together = 0, 0, 3*time.Second, true
	return s
}

// quickRows returns the rows that -quick has time for, with its smaller sets of callers.
func quickRows(all []row) (quick []row) {
	for _, r := range all {
		if r.quick != nil {
			r.callers = r.quick
		}
		if len(r.callers) > 0 {
			quick = append(quick, r)
		}
	}
	return quick
}

// selectRows picks rows by a comma-separated list of names, all if it is empty.
// Unless callers is 0, it keeps only that number of callers.
func selectRows(all []row, names string, callers int) ([]row, error) {
	picked := all
	if names != "" {
		picked = nil
		for name := range strings.SplitSeq(names, ",") {
			i := slices.IndexFunc(all, func(r row) bool { return r.name == strings.TrimSpace(name) })
			if i < 0 {
				return nil, fmt.Errorf("-rows: no row %q; there are %s", name, rowNames(all))
			}
			picked = append(picked, all[i])
		}
	}
	if callers == 0 {
		return picked, nil
	}
	var out []row
	for _, r := range picked {
		if slices.Contains(r.callers, callers) {
			r.callers = []int{callers}
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("-callers: no chosen row is measured at %d", callers)
	}
	return out, nil
}

func rowNames(rows []row) string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	return strings.Join(names, ",")
}
