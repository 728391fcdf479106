package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// bench runs rows one after the other and collects their results.
type bench struct {
	scale    scale
	dir      string    // for server data
	profile  string    // folder for profiles; "" for none
	progress io.Writer // a line for each step
	first    string    // the client measured as "ours"
}

// run measures the rows. A failed row is reported as such and the others still run;
// only the end of ctx stops everything.
func (b *bench) run(ctx context.Context, rows []row) []*result {
	var out []*result
	measured := rows
	for len(rows) > 0 && ctx.Err() == nil {
		n := b.together(rows)
		results := make([][]*result, n)
		var running sync.WaitGroup
		for i, r := range rows[:n] {
			running.Go(func() { results[i] = b.row(ctx, r) })
		}
		running.Wait()
		out, rows = slices.Concat(out, slices.Concat(results...)), rows[n:]
	}
	findExplicit(measured, out)
	return out
}

// together returns how many of the next rows run at the same time: with
// scale.Together all failover rows, which mostly wait.
func (b *bench) together(rows []row) int {
	n := 0
	for b.scale.Together && n < len(rows) && rows[n].failover != nil {
		n++
	}
	return max(n, 1)
}

// row measures a row at each of its numbers of callers on a fresh server, so that
// no row depends on those before it.
func (b *bench) row(ctx context.Context, r row) (out []*result) {
	failed := func(err error) []*result {
		b.say("%s: %v", r.name, err)
		return []*result{{name: r.name, callers: r.callers[0], err: err}}
	}
	if r.failover != nil || r.herd {
		return []*result{b.ownServers(ctx, r)}
	}
	began := time.Now()
	srv, err := startServer(ctx, b.dir, r.server)
	if err != nil {
		return failed(fmt.Errorf("starting etcd: %w", err))
	}
	defer func() {
		if err := srv.stop(); err != nil {
			out = append(out, failed(fmt.Errorf("stopping etcd: %w", err))...)
		}
	}()
	if r.prepare != nil {
		if err := b.prepare(ctx, r, srv); err != nil {
			return failed(err)
		}
	}
	b.say("%s: server ready after %v", r.name, time.Since(began).Round(time.Millisecond))
	for _, callers := range r.callers {
		res := &result{name: r.name, callers: callers, ofVariant: r.variant != ""}
		if res.err = b.line(ctx, r, srv, res); res.err != nil {
			b.say("%s at %d: %v", r.name, callers, res.err)
		}
		out = append(out, res)
	}
	return out
}

// ownServers measures a row that starts its servers itself.
func (b *bench) ownServers(ctx context.Context, r row) *result {
	measure := b.herd
	if r.failover != nil {
		measure = b.failoverTries
	}
	res := measure(ctx, r)
	if res.err != nil {
		b.say("%s: %v", r.name, res.err)
	}
	return res
}

func (b *bench) prepare(ctx context.Context, r row, srv *server) error {
	l := &peer{make: clientv3.New}
	if err := l.open(srv.target); err != nil {
		return err
	}
	return errors.Join(r.prepare(ctx, l, b.scale), l.close())
}

// line measures the clients in turn, each in its own process over its own
// connections. The order rotates from round to round.
func (b *bench) line(ctx context.Context, r row, srv *server, res *result) (err error) {
	teams, err := b.startTeams(r, srv, res.callers)
	defer func() { err = errors.Join(err, stopTeams(teams)) }()
	if err != nil {
		return err
	}
	clients := b.clients(r)
	for i, t := range teams {
		if _, err := t.round(ctx, b.scale.Warmup); err != nil {
			return fmt.Errorf("%s, warming up: %w", clients[i], err)
		}
	}
	sides := []*[]figures{&res.ours, &res.peer, &res.plain}
	for k := range b.scale.Rounds {
		for turn := range teams {
			i := (turn + k) % len(teams)
			f, err := teams[i].round(ctx, b.scale.Round)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", clients[i], k+1, err)
			}
			f.addLimit()
			*sides[i] = append(*sides[i], f)
		}
		b.say("%s at %d: round %d of %d: %.0f ops/s, %s %.0f",
			r.name, res.callers, k+1, b.scale.Rounds, res.ours[k][figOps], clients[1], res.peer[k][figOps])
	}
	return nil
}

// clients returns the names of a row's sides.
func (b *bench) clients(r row) []string {
	switch {
	case r.variant != "" && b.first == oursName:
		return []string{r.variant, oursName}
	case r.compat && b.first == oursName:
		return []string{compatName, peerName}
	case !r.plain:
		return []string{b.first, peerName}
	case b.first == peerName:
		return []string{peerName, peerName, peerName}
	}
	return []string{oursName, peerName, plainName}
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, format+"\n", args...)
}
