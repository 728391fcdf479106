package main

import (
	"context"
	"fmt"

	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"

	"silly.store/etcd/queue"
)

// queueRows measure work queues. The peer is client/v3's recipe queue, which has no claims: it
// deletes an item when it gives it out, and an item whose worker dies is lost.
func queueRows() []row {
	return []row{
		{
			name: "queue", about: "8 consumers of a queue that holds a few items: an item is taken and acknowledged, and another one added",
			callers: []int{8},
			run:     runQueue(0),
		},
		{
			name: "queue-backlog", about: "the same with 1,000 items that wait",
			callers: []int{8}, quick: []int{},
			run: runQueue(1000),
		},
	}
}

// runQueue has as many items in the queue as there are callers, and backlog more.
func runQueue(backlog int) func(context.Context, *round) (figures, error) {
	return func(ctx context.Context, r *round) (figures, error) {
		jobs, ok := r.state.(jobQueue)
		if !ok {
			var err error
			if jobs, err = r.load.jobs(fmt.Sprintf("queue/%s/%d", r.client, backlog)); err != nil {
				return nil, err
			}
			for range backlog + r.callers {
				if err := jobs.add(ctx); err != nil {
					return nil, err
				}
			}
			r.state = jobs
		}
		return r.timed(ctx, func(int) operation {
			return operation{do: func(ctx context.Context, _ int) error {
				if err := jobs.finishOne(ctx); err != nil {
					return err
				}
				return jobs.add(ctx)
			}}
		})
	}
}

// jobValue is the value of every item.
const jobValue = "a job of some bytes, as one would find it in a queue of orders"

type oursJobs struct{ q *queue.Queue }

func (o *ours) jobs(name string) (jobQueue, error) {
	co, err := o.coordinator()
	if err != nil {
		return nil, err
	}
	q, err := queue.New(co, queue.Config{Name: name})
	return oursJobs{q}, err
}

func (j oursJobs) add(ctx context.Context) error {
	return j.q.Add(ctx, queue.Item{Value: []byte(jobValue)})
}

func (j oursJobs) finishOne(ctx context.Context) error {
	cl, err := j.q.Take(ctx)
	if err != nil {
		return err
	}
	if string(cl.Item.Value) != jobValue {
		return fmt.Errorf("the item is %q", cl.Item.Value)
	}
	return cl.Ack(ctx)
}

// peerJobs has no contexts: those of the recipe's calls do not end.
type peerJobs struct{ q *recipe.Queue }

func (p *peer) jobs(name string) (jobQueue, error) {
	return peerJobs{recipe.NewQueue(p.c, name)}, nil
}

func (j peerJobs) add(context.Context) error { return j.q.Enqueue(jobValue) }

func (j peerJobs) finishOne(context.Context) error {
	value, err := j.q.Dequeue()
	if err == nil && value != jobValue {
		err = fmt.Errorf("the item is %q", value)
	}
	return err
}
