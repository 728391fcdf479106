package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"silly.store/etcd/robustness/internal/history"
)

func (s *official) locks(ttl time.Duration) (Locks, error) {
	return &officialLocks{s: s, ttl: ttl}, nil
}

// officialLocks gives each contender its own session, since a session has a lock only
// once: goroutines that share one would not exclude each other.
type officialLocks struct {
	s   *official
	ttl time.Duration

	mu   sync.Mutex // guards the fields below
	free []*concurrency.Session
	all  map[*concurrency.Session]bool
}

// session returns one that nobody uses.
func (o *officialLocks) session(ctx context.Context) (*concurrency.Session, error) {
	o.mu.Lock()
	for len(o.free) > 0 {
		s := o.free[len(o.free)-1]
		o.free = o.free[:len(o.free)-1]
		select {
		case <-s.Done():
			delete(o.all, s)
			continue
		default:
		}
		o.mu.Unlock()
		return s, nil
	}
	o.mu.Unlock()
	r, err := o.s.c.Grant(ctx, int64(o.ttl/time.Second))
	if err != nil {
		return nil, err
	}
	s, err := concurrency.NewSession(o.s.c, concurrency.WithLease(r.ID), concurrency.WithTTL(int(o.ttl/time.Second)))
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = make(map[*concurrency.Session]bool)
	}
	o.all[s] = true
	return s, nil
}

// back returns a session. After a failure nobody knows what is left on its lease, so that is
// revoked, as a careful user would do it.
func (o *officialLocks) back(s *concurrency.Session, failed bool) {
	if failed {
		o.mu.Lock()
		delete(o.all, s)
		o.mu.Unlock()
		_ = s.Close() // the lease then expires
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.free = append(o.free, s)
}

func (o *officialLocks) Close(context.Context) error {
	o.mu.Lock()
	all := o.all
	o.all, o.free = nil, nil
	o.mu.Unlock()
	var errs []error
	for s := range all {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (o *officialLocks) Acquire(ctx context.Context, want history.Want, value string) (Lock, error) {
	switch want.Recipe {
	case history.Mutex, history.Leadership, history.LeaderRun:
	case history.WriteLock, history.ReadLock, history.Semaphore, history.Round:
		return nil, ErrUnsupported // or without a context, and only in its experiments
	}
	s, err := o.session(ctx)
	if err != nil {
		return nil, err
	}
	l := &officialLock{o: o, s: s}
	if want.Recipe == history.Mutex {
		err = l.lock(ctx, want)
	} else {
		err = l.campaign(ctx, want.Name, value)
	}
	if err != nil {
		taken := errors.Is(err, ErrLocked)
		go o.back(s, !taken) // a revocation may take long
		return nil, err
	}
	return l, nil
}

// officialLock is a mutex or a leadership of a session.
type officialLock struct {
	o *officialLocks
	s *concurrency.Session
	m *concurrency.Mutex
	e *concurrency.Election
}

func (l *officialLock) lock(ctx context.Context, want history.Want) error {
	l.m = concurrency.NewMutex(l.s, want.Name)
	if !want.Try {
		return l.m.Lock(ctx)
	}
	err := l.m.TryLock(ctx)
	if errors.Is(err, concurrency.ErrLocked) {
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return err
}

func (l *officialLock) campaign(ctx context.Context, name, value string) error {
	l.e = concurrency.NewElection(l.s, name)
	return l.e.Campaign(ctx, value)
}

func (l *officialLock) Key() string {
	if l.e != nil {
		return l.o.s.names.String(l.e.Key())
	}
	return l.o.s.names.String(l.m.Key())
}

// Token is the key's create revision; the revision of the header may go back from one holder
// to the next.
func (l *officialLock) Token() int64 {
	if l.e != nil {
		return l.e.Rev()
	}
	owner := l.m.IsOwner()
	return owner.GetCompare().GetCreateRevision()
}

func (l *officialLock) Context() context.Context { return l.s.Ctx() }
func (l *officialLock) Lost() bool               { return l.s.Ctx().Err() != nil }

func (l *officialLock) Release(ctx context.Context) (err error) {
	if l.e != nil {
		err = l.e.Resign(ctx)
	} else {
		err = l.m.Unlock(ctx)
	}
	go l.o.back(l.s, err != nil)
	return err
}

func (l *officialLock) Proclaim(ctx context.Context, value string) error {
	if l.e == nil {
		return ErrUnsupported
	}
	err := l.e.Proclaim(ctx, value)
	if errors.Is(err, concurrency.ErrElectionNotLeader) {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

func (l *officialLock) Write(ctx context.Context, key, value string) (Answer, error) {
	owner := clientv3.Compare(clientv3.CreateRevision(l.Key()), "=", l.Token())
	r, err := l.o.s.c.Txn(ctx).If(owner).Then(clientv3.OpPut(key, value)).Commit()
	switch {
	case err != nil:
		return Answer{}, err
	case !r.Succeeded:
		return Answer{}, ErrLost
	}
	return Answer{Revision: r.Header.Revision, Matched: true}, nil
}

// Run is what a user of this client writes: it has no such thing.
func (o *officialLocks) Run(ctx context.Context, name, value string, f func(context.Context, Lock) error) error {
	for {
		l, err := o.Acquire(ctx, history.Want{Recipe: history.LeaderRun, Name: name}, value)
		if err != nil {
			return err
		}
		held, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(l.Context(), cancel)
		err = f(held, l)
		stop()
		cancel()
		resigning, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.ttl)
		_ = l.Release(resigning) // the session is closed then
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

func (o *officialLocks) Observe(ctx context.Context, name string, each func(history.Leader)) error {
	s, err := o.session(ctx)
	if err != nil {
		return err
	}
	defer o.back(s, false)
	var last history.Leader
	for r := range concurrency.NewElection(s, name).Observe(ctx) {
		kv := r.Kvs[0]
		now := history.Leader{
			Present: true, Key: o.s.names.Bytes(kv.Key), Value: o.s.names.Bytes(kv.Value), Term: kv.CreateRevision,
			Since: kv.ModRevision, Revision: max(r.Header.Revision, kv.ModRevision),
		}
		if now.Same(&last) {
			continue // it promises no change
		}
		last = now
		each(now)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errChannelClosed
}
