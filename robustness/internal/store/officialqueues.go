package store

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"

	"silly.store/etcd/robustness/internal/history"
)

func (s *official) jobs(name string, _ time.Duration) (Jobs, error) {
	return &officialJobs{s: s, q: recipe.NewQueue(s.c, name), taken: make(chan taken, 1000)}, nil
}

// officialJobs are the recipe's, whose calls take no context: one that is given up goes on, and
// who takes next gets what it returns.
type officialJobs struct {
	s     *official
	q     *recipe.Queue
	taken chan taken
}

type taken struct {
	id  string
	err error
}

func (o *officialJobs) Add(ctx context.Context, id string) error {
	done := make(chan error, 1)
	go func() { done <- o.q.Enqueue(id) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (o *officialJobs) Take(ctx context.Context) (Job, error) {
	go o.dequeue()
	select {
	case t := <-o.taken:
		if t.err != nil {
			return nil, t.err
		}
		return &officialJob{o.s, t.id}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// dequeue calls the recipe, which panics when its watch ends, as it does with the client.
func (o *officialJobs) dequeue() {
	var t taken
	defer func() {
		if p := recover(); p != nil {
			t.err = fmt.Errorf("Dequeue panics: %v", p)
		}
		o.taken <- t
	}()
	t.id, t.err = o.q.Dequeue()
}

// Close leaves the calls that wait to the end of the client.
func (o *officialJobs) Close(context.Context) error { return nil }

type officialJob struct {
	s  *official
	id string
}

func (j *officialJob) ID() string               { return j.id }
func (j *officialJob) Key() string              { return "" }
func (j *officialJob) Token() int64             { return 0 }
func (j *officialJob) Context() context.Context { return context.Background() }

// Done puts the effect until that is certain: what is lost then, the queue has lost.
func (j *officialJob) Done(ctx context.Context, key, effect string) error {
	for ctx.Err() == nil {
		r, err := j.s.c.Get(ctx, key)
		if err != nil {
			continue
		}
		revision := int64(0)
		if len(r.Kvs) > 0 {
			if revision = r.Kvs[0].ModRevision; string(r.Kvs[0].Value) == effect {
				return nil // by a request whose answer was lost
			}
		}
		done, err := j.s.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpPut(key, effect)).Commit()
		if err == nil && done.Succeeded {
			return nil
		}
	}
	return context.Cause(ctx)
}

func (j *officialJob) Back(context.Context, time.Duration) error { return ErrUnsupported }

func (s *official) cache(string, int64) (Cache, error) { return nil, ErrUnsupported }

func (s *official) join(context.Context, string, string, int, time.Duration, func(context.Context, history.Owned)) (Membership, error) {
	return nil, ErrUnsupported
}
