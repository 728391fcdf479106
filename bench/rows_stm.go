package main

import (
	"context"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"silly.store/etcd"
	"silly.store/etcd/sequence"
	"silly.store/etcd/stm"
)

// stmRows returns work that has to be done again when another client gets in between.
func stmRows() []row {
	return []row{
		{
			name: "stm-transfer", about: "1 moved between two of 1,000 accounts, with package stm and with client/v3's STM; an operation is a transfer",
			callers: []int{16},
			run:     transfers(1000),
		},
		{
			name: "stm-contended", about: "the same with 10 accounts",
			callers: []int{16}, quick: []int{},
			run: transfers(10),
		},
		{
			name: "sequence", about: "a number from package sequence, in blocks of 100, and from a compare-and-swap loop on client/v3; an operation is a number",
			callers: []int{64},
			run:     runSequence,
		},
	}
}

func transfers(accounts int) func(context.Context, *round) (figures, error) {
	return func(ctx context.Context, r *round) (figures, error) {
		keys := newKeys("account/"+r.client+"/", accounts)
		return r.timed(ctx, func(caller int) operation {
			return operation{do: func(ctx context.Context, seq int) error {
				from := pick(caller, seq, accounts)
				to := (from + 1 + pick(caller+1, seq, accounts-1)) % accounts
				return r.load.transfer(ctx, keys[from], keys[to])
			}}
		})
	}
}

func runSequence(ctx context.Context, r *round) (figures, error) {
	next, ok := r.state.(func(context.Context) error)
	if !ok {
		var err error
		if next, err = r.load.numbers("numbers/" + r.client); err != nil {
			return nil, err
		}
		r.state = next
	}
	return r.timed(ctx, func(int) operation {
		return operation{do: func(ctx context.Context, _ int) error { return next(ctx) }}
	})
}

func (o *ours) transfer(ctx context.Context, from, to string) error {
	_, err := stm.Run(ctx, o.c, stm.Config{}, func(tx *stm.Tx) error {
		a, _, err := tx.Get(from)
		if err != nil {
			return err
		}
		b, _, err := tx.Get(to)
		if err != nil {
			return err
		}
		if err := tx.Put(etcd.PutRequest{Key: from, Value: []byte(plus(string(a.Value), -1))}); err != nil {
			return err
		}
		return tx.Put(etcd.PutRequest{Key: to, Value: []byte(plus(string(b.Value), 1))})
	})
	return err
}

func (p *peer) transfer(ctx context.Context, from, to string) error {
	_, err := concurrency.NewSTM(p.c, func(tx concurrency.STM) error {
		a, b := tx.Get(from), tx.Get(to)
		tx.Put(from, plus(a, -1))
		tx.Put(to, plus(b, 1))
		return nil
	}, concurrency.WithAbortContext(ctx))
	return err
}

// plus adds to the number in a value; no value is 0.
func plus(value string, n int) string {
	old, _ := strconv.Atoi(value) // a missing account is an empty one
	return strconv.Itoa(old + n)
}

func (o *ours) numbers(name string) (next func(context.Context) error, err error) {
	s, err := sequence.New(o.c, sequence.Config{Name: name, Block: 100})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := s.Next(ctx)
		return err
	}, nil
}

// numbers reads the last number and puts the next one, on the condition that nobody else
// has done so.
func (p *peer) numbers(name string) (next func(context.Context) error, err error) {
	return func(ctx context.Context) error {
		got, err := p.c.Get(ctx, name)
		for err == nil {
			last, revision := "", int64(0)
			if len(got.Kvs) > 0 {
				last, revision = string(got.Kvs[0].Value), got.Kvs[0].ModRevision
			}
			var resp *clientv3.TxnResponse
			resp, err = p.c.Txn(ctx).
				If(clientv3.Compare(clientv3.ModRevision(name), "=", revision)).
				Then(clientv3.OpPut(name, plus(last, 1))).
				Else(clientv3.OpGet(name)).Commit()
			if err == nil && resp.Succeeded {
				return nil
			}
			if err == nil {
				got = (*clientv3.GetResponse)(resp.Responses[0].GetResponseRange())
			}
		}
		return fmt.Errorf("taking a number: %w", err)
	}, nil
}
