package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/robustness/internal/history"
)

func (s *ours) locks(ttl time.Duration) (Locks, error) {
	co, err := concurrency.New(s.c, concurrency.Config{TTL: ttl})
	if err != nil {
		return nil, err
	}
	return &oursLocks{s, co}, nil
}

type oursLocks struct {
	s  *ours
	co *concurrency.Coordinator
}

func (o *oursLocks) Close(ctx context.Context) error { return o.co.Close(ctx) }

func (o *oursLocks) Acquire(ctx context.Context, want history.Want, value string) (Lock, error) {
	var l *concurrency.Lock
	var err error
	switch want.Recipe {
	case history.Mutex:
		config := concurrency.MutexConfig{Value: []byte(value)}
		if want.Linger {
			config = concurrency.MutexConfig{Linger: lingers} // of the same value each time
		}
		m := o.co.Mutex(want.Name, config)
		if want.Try {
			l, err = m.TryLock(ctx)
		} else {
			l, err = m.Lock(ctx)
		}
	case history.WriteLock:
		l, err = o.co.RWMutex(want.Name).Lock(ctx)
	case history.ReadLock:
		l, err = o.co.RWMutex(want.Name).RLock(ctx)
	case history.Semaphore:
		l, err = o.co.Semaphore(want.Name, want.Limit).Acquire(ctx, want.Weight)
	case history.Leadership, history.LeaderRun:
		ld, err := o.co.Election(want.Name, concurrency.ElectionConfig{Value: []byte(value)}).Campaign(ctx)
		if err != nil {
			return nil, named(err)
		}
		return &oursLeadership{o.s, ld}, nil
	case history.Round:
		r, err := o.co.DoubleBarrier(want.Name, want.Limit).Enter(ctx)
		if err != nil {
			return nil, named(err)
		}
		return &oursRound{o.s, r}, nil
	}
	if err != nil {
		return nil, named(err)
	}
	if want.Linger {
		return &oursLingering{oursLock{o.s, l}}, nil
	}
	return &oursLock{o.s, l}, nil
}

// lingers is how long keys are kept that shall be.
const lingers = 300 * time.Millisecond

func (o *oursLocks) Run(ctx context.Context, name, value string, f func(context.Context, Lock) error) error {
	e := o.co.Election(name, concurrency.ElectionConfig{Value: []byte(value)})
	return named(e.Run(ctx, func(ctx context.Context, ld *concurrency.Leadership) error {
		return f(ctx, &oursLeadership{o.s, ld})
	}))
}

func (o *oursLocks) Observe(ctx context.Context, name string, each func(history.Leader)) error {
	for st, err := range o.co.Election(name, concurrency.ElectionConfig{}).Observe(ctx) {
		if err != nil {
			return err
		}
		each(history.Leader{
			Present: st.Present, Key: o.s.names.String(st.Leader), Value: o.s.names.Bytes(st.Value), Term: st.Term,
			Since: st.Revision, Revision: st.Revision,
		})
	}
	return ctx.Err()
}

// named gives the package's errors the names of this one.
func named(err error) error {
	switch {
	case errors.Is(err, concurrency.ErrLocked):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case errors.Is(err, concurrency.ErrLockLost), errors.Is(err, concurrency.ErrNotLeader), errors.Is(err, concurrency.ErrNotHeld):
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// lost reports whether a context has ended because what it stands for was lost.
func lost(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return cause != nil && !errors.Is(cause, concurrency.ErrNotHeld)
}

type oursLock struct {
	s *ours
	l *concurrency.Lock
}

func (l *oursLock) Key() string                            { return l.s.names.String(l.l.Key()) }
func (l *oursLock) Token() int64                           { return l.l.Token() }
func (l *oursLock) Context() context.Context               { return l.l.Context() }
func (l *oursLock) Lost() bool                             { return lost(l.l.Context()) }
func (l *oursLock) Release(ctx context.Context) error      { return named(l.l.Unlock(ctx)) }
func (l *oursLock) Proclaim(context.Context, string) error { return ErrUnsupported }

func (l *oursLock) Write(ctx context.Context, key, value string) (Answer, error) {
	r, err := l.l.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: key, Value: []byte(value)}}})
	return guarded(r, err)
}

// oursLingering reports no token, since a key whose token was handed out does not
// linger.
type oursLingering struct{ oursLock }

func (l *oursLingering) Token() int64 { return 0 }

// guarded is the answer to a transaction under a guard.
func guarded(r *etcd.TxnResponse, err error) (Answer, error) {
	if err != nil {
		return Answer{}, named(err)
	}
	return Answer{Revision: r.Header.Revision, Matched: true}, nil
}

type oursLeadership struct {
	s  *ours
	ld *concurrency.Leadership
}

func (l *oursLeadership) Key() string                       { return l.s.names.String(l.ld.Key()) }
func (l *oursLeadership) Token() int64                      { return l.ld.Term() }
func (l *oursLeadership) Context() context.Context          { return l.ld.Context() }
func (l *oursLeadership) Lost() bool                        { return lost(l.ld.Context()) }
func (l *oursLeadership) Release(ctx context.Context) error { return named(l.ld.Resign(ctx)) }

func (l *oursLeadership) Proclaim(ctx context.Context, value string) error {
	return named(l.ld.Proclaim(ctx, []byte(value)))
}

func (l *oursLeadership) Write(ctx context.Context, key, value string) (Answer, error) {
	r, err := l.ld.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: key, Value: []byte(value)}}})
	return guarded(r, err)
}

type oursRound struct {
	s *ours
	r *concurrency.Round
}

func (r *oursRound) Key() string                            { return r.s.names.String(r.r.Key()) }
func (r *oursRound) Token() int64                           { return 0 }
func (r *oursRound) Context() context.Context               { return r.r.Context() }
func (r *oursRound) Lost() bool                             { return lost(r.r.Context()) }
func (r *oursRound) Release(ctx context.Context) error      { return named(r.r.Leave(ctx)) }
func (r *oursRound) Proclaim(context.Context, string) error { return ErrUnsupported }

func (r *oursRound) Write(context.Context, string, string) (Answer, error) {
	return Answer{}, ErrUnsupported
}
