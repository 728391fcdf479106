package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// team is the processes of one client: one, unless the row asks for more.
type team []*worker

// startTeams starts the processes of each client. The caller must stop the returned teams
// even after an error.
func (b *bench) startTeams(r row, srv *server, callers int) ([]team, error) {
	var teams []team
	for i, client := range b.clients(r) {
		var t team
		for n := range max(r.processes, 1) {
			j := job{
				Client: client, Row: r.name, Callers: callers, Scale: b.scale,
				Target: srv.target, ServerPID: srv.pids,
			}
			if b.profile != "" && n == 0 {
				side := []string{"ours", "peer", "plain"}[i]
				j.Profile = filepath.Join(b.profile, fmt.Sprintf("%s-%d-%s", r.name, callers, side))
			}
			w, err := startWorker(j)
			if err != nil {
				return append(teams, t), fmt.Errorf("%s: %w", client, err)
			}
			t = append(t, w)
		}
		teams = append(teams, t)
	}
	return teams, nil
}

func stopTeams(teams []team) error {
	var errs []error
	for _, t := range teams {
		for _, w := range t {
			errs = append(errs, w.stop())
		}
	}
	return errors.Join(errs...)
}

// round makes all processes measure at the same time, and adds up what they have done.
func (t team) round(ctx context.Context, length time.Duration) (figures, error) {
	if len(t) == 1 {
		return t[0].round(ctx, length)
	}
	all, errs := make([]figures, len(t)), make([]error, len(t))
	var measuring sync.WaitGroup
	for i, w := range t {
		measuring.Go(func() { all[i], errs[i] = w.round(ctx, length) })
	}
	measuring.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return summed(all), nil
}

// summed is the figures of processes that have shared the work: operations per second add
// up, latencies are the median process's, and what is per operation is the mean of all
// operations. Each process counts the server's CPU for itself, though all have used it.
func summed(all []figures) figures {
	out := medians(all)
	out[figOps] = 0
	for _, f := range all {
		out[figOps] += f[figOps]
	}
	for _, name := range []string{figClientCPU, figServerCPU, figAllocs, figBytes} {
		if _, ok := out[name]; !ok {
			continue
		}
		sum := 0.0
		for _, f := range all {
			sum += f[name] * f[figOps]
		}
		out[name] = sum / out[figOps]
	}
	if _, ok := out[figServerCPU]; ok {
		out[figServerCPU] /= float64(len(all))
	}
	if _, ok := out[figHandoff]; ok {
		out[figHandoff] = 1e6 / out[figOps]
	}
	return out
}
