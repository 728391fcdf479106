package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd/etcdtest"
)

// downFor is how long members of the herd row are away.
const downFor = time.Second

// herd runs the row of that name: each client on its own cluster, so that what the
// survivors do is done for that client alone.
func (b *bench) herd(ctx context.Context, r row) *result {
	res := &result{name: r.name, callers: r.callers[0]}
	sides := []*[]figures{&res.ours, &res.peer}
	for i, client := range b.clients(r) {
		f, err := b.herdOf(ctx, r, client)
		if err != nil {
			res.err = fmt.Errorf("%s: %w", client, err)
			return res
		}
		*sides[i] = []figures{f}
		b.say("%s: %s: %v", r.name, client, f)
	}
	return res
}

// herdOf lets one member restart, and then all.
func (b *bench) herdOf(ctx context.Context, r row, client string) (out figures, err error) {
	cluster, err := etcdtest.NewCluster(etcdtest.ClusterConfig{Config: etcdtest.Config{
		Version: "3.7", Heartbeat: 50 * time.Millisecond, Election: 500 * time.Millisecond, LogLevel: "error",
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	w, err := startWorker(job{
		Client: client, Row: r.name, Callers: r.callers[0], Scale: b.scale,
		Target: target{Endpoints: cluster.Endpoints(), CountDials: true},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	if _, err := w.ask(ctx, order{}, time.Minute); err != nil {
		return nil, fmt.Errorf("opening the clients: %w", err)
	}
	out = make(figures)
	members := cluster.Members()
	for _, fault := range []struct {
		prefix string
		hit    []*etcdtest.Server
	}{{"one_", members[:1]}, {"all_", members}} {
		f, err := restartUnder(ctx, w, cluster, fault.hit)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fault.prefix, err)
		}
		for name, v := range f {
			out[fault.prefix+name] = v
		}
	}
	return out, nil
}

// restartUnder kills members, restarts them after a while and has the clients tell when they
// are served.
func restartUnder(ctx context.Context, w *worker, cluster *etcdtest.Cluster, hit []*etcdtest.Server) (figures, error) {
	down := make(map[*etcdtest.Server]bool)
	for _, m := range hit {
		down[m] = true
	}
	var survivors []int
	for _, m := range cluster.Members() {
		if !down[m] {
			survivors = append(survivors, m.PID())
		}
	}
	before, known := totalCPU(survivors)
	began := time.Now()
	for _, m := range hit {
		if err := m.Kill(); err != nil {
			return nil, err
		}
	}
	time.Sleep(downFor)
	for _, m := range hit {
		if err := m.Launch(); err != nil {
			return nil, err
		}
	}
	for _, m := range hit {
		if err := m.Ready(ctx); err != nil {
			return nil, err
		}
	}
	o := order{Began: began, Fault: time.Now()}
	if len(survivors) > 0 {
		o.Victim = hit[0].Addr() // connections to it are not the survivors'
	}
	out, err := w.ask(ctx, o, time.Minute)
	if after, ok := totalCPU(survivors); err == nil && ok && known && len(survivors) > 0 {
		out[figHerdCPU] = milliseconds(after - before)
	}
	return out, err
}

func totalCPU(pids []int) (sum time.Duration, known bool) {
	for _, pid := range pids {
		d, err := processCPU(pid)
		if err != nil {
			return 0, false
		}
		sum += d
	}
	return sum, true
}
