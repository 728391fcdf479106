package group

import (
	"context"
	"errors"
	"slices"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/callback"
)

// Partition is one holding of a partition. It is safe for concurrent use.
type Partition struct {
	// Index is the partition's number, from 0.
	Index int

	l *concurrency.Lock
}

// Token is a fencing token: each later owner of the partition has a larger one.
func (p *Partition) Token() int64 { return p.l.Token() }

// Guard is the condition, for any Txn, that this member still owns the partition.
func (p *Partition) Guard() etcd.Compare { return p.l.Guard() }

// Txn applies a transaction if this member still owns the partition, whatever it believes.
//
// Errors: those of [concurrency.Lock.Txn].
//
// etcd: KV/Txn (since 3.3)
func (p *Partition) Txn(ctx context.Context, req etcd.TxnRequest) (*etcd.TxnResponse, error) {
	return p.l.Txn(ctx, req)
}

// want makes the partitions of the list those that this member should own.
func (g *Group) want(list []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for index, stop := range g.wanted {
		if !slices.Contains(list, index) {
			stop(ErrMoved)
			delete(g.wanted, index)
		}
	}
	if g.life.Err() != nil {
		return
	}
	for _, index := range list {
		if g.wanted[index] != nil {
			continue
		}
		ctx, stop := context.WithCancelCause(g.life)
		g.wanted[index] = stop
		// One that is ending for the same partition does not matter: it has the mutex.
		g.routines.Go(func() { g.serve(ctx, index) })
	}
}

// serve owns a partition, again after each loss, until ctx ends.
func (g *Group) serve(ctx context.Context, index int) {
	m := g.co.Mutex(g.partition(index), concurrency.MutexConfig{Value: []byte(g.config.Member)})
	for failures := 0; ctx.Err() == nil; failures++ {
		l, err := m.Lock(ctx)
		switch {
		case err == nil:
			failures = 0
			g.own(ctx, &Partition{index, l})
		case ctx.Err() != nil:
			return
		case !etcd.Temporary(err):
			g.fail(err)
			return
		default:
			call.Sleep(ctx, pauses.Jittered(failures))
		}
	}
}

// own calls the function as long as the partition is owned and to be owned.
func (g *Group) own(ctx context.Context, p *Partition) { //nolint:contextcheck // held ends with ctx too
	// A child of the lock's context: it has ended before any call says that the lock is lost.
	held, end := context.WithCancelCause(p.l.Context())
	stop := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	defer end(nil)
	defer stop()
	g.mark(p, true)
	g.log(ctx, "owns a partition", "partition", p.Index)
	for failures := 0; held.Err() == nil; failures++ {
		began := time.Now()
		g.called()
		err := g.panicked(p).Run("the function of Join", func() error { return g.f(held, p) })
		early := held.Err() == nil
		g.returned(early)
		if !early {
			break
		}
		g.log(ctx, "the function has returned early; it is called again", "partition", p.Index, "error", err)
		if time.Since(began) > pauses.Cap {
			failures = 0
		}
		call.Sleep(held, pauses.Jittered(failures)) //nolint:contextcheck // held ends with ctx too
	}
	g.log(ctx, "leaves a partition", "partition", p.Index, "cause", context.Cause(held)) //nolint:contextcheck // ctx is that of the call
	g.mark(p, false)
	if err := g.release(p); err != nil && !errors.Is(err, concurrency.ErrLockLost) {
		g.log(ctx, "releasing a partition goes on in the background", "partition", p.Index, "error", err)
	}
}

// panicked logs a panic of the function.
func (g *Group) panicked(p *Partition) callback.Report {
	return func(e *callback.Error) {
		if log := g.config.Logger; log != nil {
			log.Error("the function has panicked", "group", g.config.Name, "member", g.config.Member, "partition", p.Index,
				"panic", e.Value, "stack", e.Stack)
		}
	}
}

// release unlocks; Leave bounds how long that is waited for.
func (g *Group) release(p *Partition) error { return p.l.Unlock(g.final) }

// called counts a call of the function that begins.
func (g *Group) called() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
}

// returned counts a call of the function that has returned early.
func (g *Group) returned(early bool) {
	if !early {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed++
}

// mark notes that the partition is owned, or no longer.
func (g *Group) mark(p *Partition, owned bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if owned {
		g.owned[p.Index] = p
	} else if g.owned[p.Index] == p {
		delete(g.owned, p.Index)
	}
}
