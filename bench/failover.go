package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"silly.store/etcd/etcdtest"
)

// failover is the fault of a row's cluster of three while both clients call it.
type failover struct {
	fault  func(*etcdtest.Server) error
	leader bool          // the fault hits the leader, else a follower
	window time.Duration // calls are watched this long after the fault
}

func killMember(m *etcdtest.Server) error { return m.Kill() }
func stopMember(m *etcdtest.Server) error { return m.Stop() }

// faultLead is how long in advance the clients learn of a fault.
const faultLead = 200 * time.Millisecond

// failoverTries runs a failover row with both clients at the same time, so that they
// meet the same faults. The last try is longer; its calls are counted.
func (b *bench) failoverTries(ctx context.Context, r row) (res *result) {
	res = &result{name: r.name, callers: r.callers[0]}
	cluster, err := etcdtest.NewCluster(etcdtest.ClusterConfig{Config: etcdtest.Config{
		Version: "3.7", Heartbeat: 50 * time.Millisecond, Election: 500 * time.Millisecond,
	}})
	if err != nil {
		res.err = err
		return res
	}
	defer func() { res.err = errors.Join(res.err, cluster.Close()) }()
	srv := &server{target: target{Endpoints: cluster.Endpoints()}}
	if res.err = b.prepare(ctx, r, srv); res.err != nil {
		return res
	}
	teams, err := b.startTeams(r, srv, r.callers[0])
	defer func() { res.err = errors.Join(res.err, stopTeams(teams)) }()
	if err != nil {
		res.err = err
		return res
	}
	workers := slices.Concat(teams...) // one each
	var tries [2][]figures
	for k := range b.scale.Tries + 1 {
		window := r.failover.window
		if k == b.scale.Tries {
			window = max(window, b.scale.LongTry)
		}
		got, err := r.failover.try(ctx, cluster, workers, window)
		if err != nil {
			res.err = fmt.Errorf("try %d: %w", k+1, err)
			return res
		}
		for i := range tries {
			tries[i] = append(tries[i], got[i])
		}
		b.say("%s: try %d of %d: waited %.1f ms, client/v3 %.1f ms", r.name, k+1, b.scale.Tries+1, got[0][figWait], got[1][figWait])
	}
	res.ours, res.peer = []figures{summary(tries[0])}, []figures{summary(tries[1])}
	return res
}

// try injects the fault once and repairs it.
func (f *failover) try(ctx context.Context, cluster *etcdtest.Cluster, workers []*worker, window time.Duration) (out [2]figures, err error) {
	victim, err := f.victim(ctx, cluster)
	if err != nil {
		return out, err
	}
	if _, err := ask(ctx, workers, order{Victim: victim.Addr()}, 0); err != nil {
		return out, err
	}
	at := time.Now().Add(faultLead)
	faulted := make(chan error, 1)
	go func() {
		time.Sleep(time.Until(at))
		faulted <- f.fault(victim)
	}()
	out, err = ask(ctx, workers, order{Fault: at, Length: window}, window)
	if err := errors.Join(err, <-faulted); err != nil {
		return out, err
	}
	if f.leader {
		elected, err := electedAfter(cluster, victim, at)
		if err != nil {
			return out, err
		}
		for _, fig := range out {
			fig[figElection] = milliseconds(elected.Sub(at))
		}
	}
	return out, mend(ctx, cluster, victim)
}

func (f *failover) victim(ctx context.Context, cluster *etcdtest.Cluster) (*etcdtest.Server, error) {
	leader, err := cluster.Leader(ctx)
	if err != nil || f.leader {
		return leader, err
	}
	followers := slices.DeleteFunc(cluster.Members(), func(m *etcdtest.Server) bool { return m == leader })
	return followers[rand.IntN(len(followers))], nil
}

// mend returns when every member serves again.
func mend(ctx context.Context, cluster *etcdtest.Cluster, victim *etcdtest.Server) error {
	back := victim.Continue
	if victim.PID() == 0 {
		back = victim.Restart
	}
	if err := back(); err != nil {
		return err
	}
	for _, m := range cluster.Members() {
		if err := m.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// electedAfter returns when a member other than the victim became leader, per its log.
func electedAfter(cluster *etcdtest.Cluster, victim *etcdtest.Server, at time.Time) (time.Time, error) {
	var first time.Time
	for _, m := range cluster.Members() {
		if m == victim {
			continue
		}
		for lines := bufio.NewScanner(strings.NewReader(m.Log())); lines.Scan(); {
			if !strings.Contains(lines.Text(), "became leader at term") {
				continue
			}
			var line struct{ TS time.Time }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				return first, fmt.Errorf("reading an etcd's log: %w", err)
			}
			if line.TS.After(at) && (first.IsZero() || line.TS.Before(first)) {
				first = line.TS
			}
		}
	}
	if first.IsZero() {
		return first, errors.New("no member's log shows an election")
	}
	return first, nil
}

// ask gives both workers the same order and waits for both.
func ask(ctx context.Context, workers []*worker, o order, length time.Duration) (out [2]figures, err error) {
	var errs [2]error
	other := make(chan struct{})
	go func() {
		defer close(other)
		out[1], errs[1] = workers[1].ask(ctx, o, length)
	}()
	out[0], errs[0] = workers[0].ask(ctx, o, length)
	<-other
	return out, errors.Join(errs[:]...)
}

// summary turns the tries of one client, the long one last, into its figures.
func summary(tries []figures) figures {
	waits, beyond := []float64{}, []float64{}
	for _, f := range tries {
		waits = append(waits, f[figWait])
		if election, ok := f[figElection]; ok {
			beyond = append(beyond, f[figWait]-election)
		}
	}
	long := tries[len(tries)-1]
	out := figures{
		figWaitP: median(waits), figWaitW: slices.Max(waits),
		figCalls: long[figCalls], figFailed: long[figFailed], figSlow: long[figSlow],
	}
	if len(beyond) > 0 {
		out[figElection] = medians(tries)[figElection]
		out[figBeyondP], out[figBeyondW] = median(beyond), slices.Max(beyond)
	}
	return out
}
