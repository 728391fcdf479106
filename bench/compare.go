package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// bench runs rows one after the other and collects their results.
type bench struct {
	scale    scale
	dir      string    // for server data
	profile  string    // folder for profiles; "" for none
	progress io.Writer // a line for each step
	first    string    // the client in the place of ours
}

// run measures the rows. A row that fails is reported as such and the others go
// on; only the end of ctx ends the whole.
func (b *bench) run(ctx context.Context, rows []row) []*result {
	var out []*result
	for _, r := range rows {
		out = append(out, b.row(ctx, r)...)
		if ctx.Err() != nil {
			break
		}
	}
	return out
}

// row measures a row at each of its numbers of callers on a fresh server, so that
// no row depends on those before it.
func (b *bench) row(ctx context.Context, r row) (out []*result) {
	failed := func(err error) []*result {
		b.say("%s: %v", r.name, err)
		return []*result{{name: r.name, callers: r.callers[0], err: err}}
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
		res := &result{name: r.name, callers: callers}
		if res.err = b.line(ctx, r, srv, res); res.err != nil {
			b.say("%s at %d: %v", r.name, callers, res.err)
		}
		out = append(out, res)
	}
	return out
}

func (b *bench) prepare(ctx context.Context, r row, srv *server) error {
	l := &peer{}
	if err := l.open(srv.endpoints); err != nil {
		return err
	}
	return errors.Join(r.prepare(ctx, l, b.scale), l.close())
}

// line measures both clients in turn, each in a process and over connections of
// its own, and which of them begins changes from round to round.
func (b *bench) line(ctx context.Context, r row, srv *server, res *result) (err error) {
	var workers [2]*worker
	defer func() {
		for _, w := range workers {
			if w != nil {
				err = errors.Join(err, w.stop())
			}
		}
	}()
	clients := [2]string{b.first, peerName}
	for i, client := range clients {
		j := job{
			Client: client, Row: r.name, Callers: res.callers, Scale: b.scale,
			Endpoints: srv.endpoints, ServerPID: srv.pids,
		}
		if b.profile != "" {
			side := [2]string{"ours", "peer"}[i]
			j.Profile = filepath.Join(b.profile, fmt.Sprintf("%s-%d-%s", r.name, res.callers, side))
		}
		if workers[i], err = startWorker(j); err != nil {
			return fmt.Errorf("%s: %w", client, err)
		}
		if _, err := workers[i].round(ctx, b.scale.Warmup); err != nil {
			return fmt.Errorf("%s, warming up: %w", client, err)
		}
	}
	sides := [2]*[]figures{&res.ours, &res.peer}
	for k := range b.scale.Rounds {
		for turn := range workers {
			i := (turn + k) % 2
			f, err := workers[i].round(ctx, b.scale.Round)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", clients[i], k+1, err)
			}
			*sides[i] = append(*sides[i], f)
		}
		b.say("%s at %d: round %d of %d: %.0f ops/s, client/v3 %.0f",
			r.name, res.callers, k+1, b.scale.Rounds, res.ours[k][figOps], res.peer[k][figOps])
	}
	return nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, format+"\n", args...)
}
