package scenario

import (
	"context"
	"time"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// linkScenarios are the scenarios of faults between the clients and all members.
var linkScenarios = []Scenario{
	{
		Number: 8, Name: "stall", About: "traffic is held back both ways and arrives late; mixed calls and watches", Quick: true,
		Judged: []string{"I1", "I2", "I3", "I4", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 4, Calls: 5_000, Events: 50_000, Batches: 20},
		run: underWatches(cycle{name: "stalled", gap: 5 * time.Second, hold: 3 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Stall: true})}),
	},
	{
		Number: 9, Name: "lost-replies", About: "requests arrive, answers are lost; mixed calls", Quick: true,
		Judged: []string{"I1", "I2", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 4, Calls: 5_000, Batches: 20},
		run: underKeys(cycle{name: "replies lost", gap: 4 * time.Second, hold: 3 * time.Second, inject: link(etcdtest.ToClient, etcdtest.Fault{Discard: true})}),
	},
	{
		Number: 10, Name: "cut-requests", About: "connections are reset at a random byte of the requests; mixed calls", Quick: true,
		Judged: []string{"I1", "I2", "I8"}, Time: 40 * time.Second, Least: history.Amount{Faults: 200, Calls: 10_000, Batches: 20},
		run: underKeys(cycle{name: "request cut", gap: 80 * time.Millisecond, inject: cutWithin(etcdtest.ToServer, 4096)}),
	},
	{
		Number: 11, Name: "slices", About: "bytes arrive in pieces of 1 to 7; mixed calls and watches",
		Judged: []string{"I1", "I2", "I3", "I4", "I8"}, Time: 40 * time.Second, Least: history.Amount{Faults: 4, Calls: 3_000, Events: 20_000, Batches: 20},
		run: underWatches(cycle{name: "sliced", gap: time.Second, hold: 6 * time.Second, inject: link(etcdtest.BothWays, etcdtest.Fault{Slice: 7})}),
	},
	{
		Number: 12, Name: "delay", About: "75 ± 50 ms each way; mixed calls and leases",
		Judged: []string{"I1", "I2", "I5", "I8"}, Time: 45 * time.Second, Least: history.Amount{Faults: 3, Calls: 2_000, Leases: 20, Batches: 20},
		run: func(w *world) error {
			w.leases(20, ttls(2, 5))
			w.keys(3*callers, pace) // each mostly waits for answers
			fault := etcdtest.Fault{Delay: 75 * time.Millisecond, Jitter: 50 * time.Millisecond}
			return underKeys(cycle{name: "delayed", gap: 3 * time.Second, hold: 10 * time.Second, inject: link(etcdtest.BothWays, fault)})(w)
		},
	},
	{
		Number: 15, Name: "silent-endpoint", About: "the first endpoint accepts and says nothing; new clients make their first calls",
		Judged: []string{"I1", "I2", "I8"}, Time: 25 * time.Second, Least: history.Amount{Faults: 20, Calls: 100},
		run: silentEndpoint,
	},
}

// silentEndpoint opens one client after another; the first endpoint of each never
// answers.
func silentEndpoint(w *world) error {
	silent, err := etcdtest.NewProxy(w.cluster.Endpoints()[0])
	if err != nil {
		return err
	}
	defer silent.Close()
	silent.Silence(true)
	random := w.random()
	for !w.over() {
		end := w.rec.Fault(history.Fault{Name: "first endpoint silent"})
		config := w.config()
		config.Endpoints = append([]string{silent.Endpoint()}, config.Endpoints...)
		began := time.Now()
		s, err := store.Drivers[w.client](config)
		if err != nil {
			return err
		}
		c := &caller{w: w, s: s, random: random, process: int(w.process.Add(1)), known: make(map[string]string)}
		x := history.Call{Kind: history.Put, Key: "first", Patient: true}
		c.make(&x, patience)
		if x.Fate == history.Done {
			w.rec.Sample("first call of a client", time.Since(began))
		}
		for range 5 {
			c.call()
		}
		err = s.Close()
		end()
		if err != nil && w.client == "ours" {
			return err
		}
	}
	return context.Cause(w.ctx)
}
