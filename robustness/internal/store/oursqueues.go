package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/group"
	"silly.store/etcd/queue"
	"silly.store/etcd/robustness/internal/history"
)

func (s *ours) jobs(name string, ttl time.Duration) (Jobs, error) {
	co, err := concurrency.New(s.c, concurrency.Config{TTL: ttl})
	if err != nil {
		return nil, err
	}
	q, err := queue.New(co, queue.Config{Name: name})
	return &oursJobs{co, q}, err
}

type oursJobs struct {
	co *concurrency.Coordinator
	q  *queue.Queue
}

func (o *oursJobs) Add(ctx context.Context, id string) error {
	return o.q.Add(ctx, queue.Item{ID: id, Value: []byte(id)})
}

func (o *oursJobs) Take(ctx context.Context) (Job, error) {
	cl, err := o.q.Take(ctx)
	if err != nil {
		return nil, err
	}
	return &oursJob{cl}, nil
}

func (o *oursJobs) Close(ctx context.Context) error {
	return errors.Join(o.q.Close(ctx), o.co.Close(ctx))
}

type oursJob struct{ cl *queue.Claim }

func (j *oursJob) ID() string               { return j.cl.Item.ID }
func (j *oursJob) Key() string              { return j.cl.Key() }
func (j *oursJob) Token() int64             { return j.cl.Token() }
func (j *oursJob) Context() context.Context { return j.cl.Context() }

func (j *oursJob) Done(ctx context.Context, key, effect string) error {
	return lostClaim(j.cl.Ack(ctx, etcd.PutRequest{Key: key, Value: []byte(effect)}))
}

func (j *oursJob) Back(ctx context.Context, delay time.Duration) error {
	return lostClaim(j.cl.Nack(ctx, delay))
}

func lostClaim(err error) error {
	if errors.Is(err, queue.ErrClaimLost) {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

func (s *ours) join(ctx context.Context, name, member string, partitions int, ttl time.Duration, f func(context.Context, history.Owned)) (Membership, error) {
	co, err := concurrency.New(s.c, concurrency.Config{TTL: ttl})
	if err != nil {
		return nil, err
	}
	config := group.Config{Name: name, Partitions: partitions, Member: member, Settle: 100 * time.Millisecond}
	g, err := group.Join(ctx, co, config, func(ctx context.Context, p *group.Partition) error {
		f(ctx, history.Owned{Group: name, Member: member, Partition: p.Index, Token: p.Token(), Key: fmt.Sprintf("%s/p/%04d", name, p.Index)})
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, co.Close(ctx))
	}
	return &oursMembership{co, g}, nil
}

type oursMembership struct {
	co *concurrency.Coordinator
	g  *group.Group
}

func (m *oursMembership) Leave(ctx context.Context) error {
	return errors.Join(m.g.Leave(ctx), m.co.Close(ctx))
}

func (m *oursMembership) Owned() int { return len(m.g.Owned()) }
