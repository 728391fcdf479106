package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	v3concurrency "go.etcd.io/etcd/client/v3/concurrency"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/idempotent"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/sequence"
	"silly.store/etcd/stm"
)

// Exact makes writes, transactions and numbers of one client that are to be made once. It is
// safe for concurrent use.
type Exact interface {
	// Write puts a value.
	Write(ctx context.Context, key, value string) (revision int64, err error)
	// Transact runs f as a transaction; exact: with what the client has to make that once.
	Transact(ctx context.Context, exact bool, f func(Tx) error) (revision int64, err error)
	// Next takes a number.
	Next(ctx context.Context, name string) (int64, error)
	// Resolve finds out what became of a call that failed with err; applied is false if it
	// had no effect. ErrUnsupported: the client can't, or not for this one.
	Resolve(ctx context.Context, err error) (revision int64, applied bool, _ error)
	Close(ctx context.Context) error
}

// Tx is a transaction under way.
type Tx interface {
	Get(key string) (string, error)
	Put(key, value string) error
	// Range calls each for the keys with a prefix. ErrUnsupported: the client has none.
	Range(prefix string, each func(key, value string)) error
}

// OpenExact makes the exact writes of a client, whose leases live for ttl.
func OpenExact(ctx context.Context, s Store, ttl time.Duration) (Exact, error) {
	return s.exact(ctx, ttl)
}

func (s *ours) exact(ctx context.Context, ttl time.Duration) (Exact, error) {
	co, err := concurrency.New(s.c, concurrency.Config{TTL: ttl})
	if err != nil {
		return nil, err
	}
	w, err := idempotent.NewWriter(ctx, co, idempotent.Config{})
	if err != nil {
		return nil, errors.Join(err, co.Close(ctx))
	}
	numbers, err := sequence.New(s.c, sequence.Config{Name: history.Exact + "numbers", Block: 5})
	return &oursExact{s, co, w, numbers}, err
}

type oursExact struct {
	s       *ours
	co      *concurrency.Coordinator
	w       *idempotent.Writer
	numbers *sequence.Sequence
}

func (o *oursExact) Close(ctx context.Context) error {
	return errors.Join(o.w.Close(ctx), o.co.Close(ctx))
}

func (o *oursExact) Write(ctx context.Context, key, value string) (int64, error) {
	result, err := o.w.Txn(ctx, etcd.TxnRequest{Then: []etcd.Op{etcd.PutRequest{Key: key, Value: []byte(value)}}})
	if err != nil {
		return 0, err
	}
	return result.Revision, nil
}

func (o *oursExact) Transact(ctx context.Context, exact bool, f func(Tx) error) (int64, error) {
	var config stm.Config
	if exact {
		config.Writer = o.w
	}
	result, err := stm.Run(ctx, o.s.c, config, func(tx *stm.Tx) error { return f(oursTx{tx}) })
	if err != nil {
		return 0, err
	}
	return result.Revision, nil
}

func (o *oursExact) Next(ctx context.Context, _ string) (int64, error) { return o.numbers.Next(ctx) }

func (o *oursExact) Resolve(ctx context.Context, err error) (int64, bool, error) {
	result, err := o.w.Resolve(ctx, err)
	switch {
	case errors.Is(err, idempotent.ErrNotApplied):
		return 0, false, nil
	case errors.Is(err, etcd.ErrInvalidRequest):
		return 0, false, ErrUnsupported
	case err != nil:
		return 0, false, err
	}
	return result.Revision, result.Succeeded, nil
}

type oursTx struct{ tx *stm.Tx }

func (t oursTx) Get(key string) (string, error) {
	kv, _, err := t.tx.Get(key)
	return string(kv.Value), err
}

func (t oursTx) Put(key, value string) error {
	return t.tx.Put(etcd.PutRequest{Key: key, Value: []byte(value)})
}

func (t oursTx) Range(prefix string, each func(key, value string)) error {
	kvs, err := t.tx.Range(prefix)
	for _, kv := range kvs {
		each(kv.Key, string(kv.Value))
	}
	return err
}

func (s *official) exact(context.Context, time.Duration) (Exact, error) {
	return &officialExact{s}, nil
}

// officialExact has plain puts, client/v3's STM, and numbers by compare and swap.
type officialExact struct{ s *official }

func (o *officialExact) Close(context.Context) error { return nil }

func (o *officialExact) Write(ctx context.Context, key, value string) (int64, error) {
	a, err := o.s.Put(ctx, key, value, 0)
	return a.Revision, err
}

func (o *officialExact) Transact(ctx context.Context, _ bool, f func(Tx) error) (int64, error) {
	resp, err := v3concurrency.NewSTM(o.s.c, func(tx v3concurrency.STM) error { return f(officialTx{tx}) },
		v3concurrency.WithAbortContext(ctx), v3concurrency.WithIsolation(v3concurrency.SerializableSnapshot))
	switch {
	case err != nil:
		return 0, err
	case resp == nil:
		return 0, nil
	}
	return resp.Header.Revision, nil
}

func (o *officialExact) Next(ctx context.Context, name string) (int64, error) {
	for {
		got, err := o.s.c.Get(ctx, name)
		if err != nil {
			return 0, err
		}
		last, revision := int64(0), int64(0)
		if len(got.Kvs) > 0 {
			_, _ = fmt.Sscan(string(got.Kvs[0].Value), &last)
			revision = got.Kvs[0].ModRevision
		}
		resp, err := o.s.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(name), "=", revision)).
			Then(clientv3.OpPut(name, fmt.Sprint(last+1))).Commit()
		if err != nil {
			return 0, err
		}
		if resp.Succeeded {
			return last + 1, nil
		}
	}
}

func (o *officialExact) Resolve(context.Context, error) (int64, bool, error) {
	return 0, false, ErrUnsupported
}

type officialTx struct{ tx v3concurrency.STM }

func (t officialTx) Get(key string) (string, error) { return t.tx.Get(key), nil }

func (t officialTx) Put(key, value string) error {
	t.tx.Put(key, value)
	return nil
}

func (t officialTx) Range(string, func(key, value string)) error { return ErrUnsupported }
