package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"silly.store/etcd"
)

// counter counts exactly, even when answers are lost.
//
// An increment whose answer is lost has an unknown outcome: etcd.MaybeApplied is true of
// its error. A changed counter does not show whose increment changed it. So each
// increment has a mark: a key that no other increment uses, put by the same Txn. A Txn
// is applied as a whole, so where the mark exists the increment was applied.
type counter struct {
	c   *etcd.Client
	key string
	// marks is the prefix of the marks. lease deletes them once the program is gone.
	marks string
	lease *etcd.Lease

	unknown atomic.Int64 // attempts whose outcome was unknown
	already atomic.Int64 // attempts that found the mark of an earlier one
}

// newCounter continues the counter at key, or begins at 0.
func newCounter(ctx context.Context, c *etcd.Client, key, marks string) (*counter, error) {
	// The client renews the lease while the program runs, so a mark outlives every
	// increment that may still look for it.
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		return nil, err
	}
	return &counter{c: c, key: key, marks: marks, lease: lease}, nil
}

// increment adds one, once. After an error that is etcd.MaybeApplied it is unknown
// whether that has happened; only the end of ctx or of the lease leaves it so.
func (n *counter) increment(ctx context.Context) error {
	mark := n.marks + rand.Text() // one for all attempts of this increment
	got, err := n.c.Get(ctx, etcd.GetRequest{Key: n.key})
	if err != nil {
		return err
	}
	for {
		old, exists := got.First()
		txn, err := n.attempt(ctx, old, exists, mark)
		switch {
		case etcd.MaybeApplied(err) && ctx.Err() == nil && n.lease.Err() == nil:
			// The next attempt finds the mark if this one was applied. Should this one
			// be applied later, it finds the counter changed or the mark there.
			n.unknown.Add(1)
			continue
		case err != nil:
			return err
		case txn.Succeeded:
			return nil
		}
		if _, applied := txn.Responses[0].Get.First(); applied {
			n.already.Add(1)
			return nil
		}
		got = txn.Responses[1].Get // somebody else was faster: go on from there
	}
}

// attempt increments the counter and puts the mark, if the counter is as it was read and
// the mark does not exist. Else it reads both.
func (n *counter) attempt(ctx context.Context, old etcd.KeyValue, exists bool, mark string) (*etcd.TxnResponse, error) {
	value := 0
	if exists {
		var err error
		if value, err = strconv.Atoi(string(old.Value)); err != nil {
			return nil, fmt.Errorf("%s: %w", n.key, err)
		}
	}
	return n.c.Txn(ctx, etcd.TxnRequest{
		If: []etcd.Compare{
			etcd.Missing(mark),
			etcd.CompareModRevision(n.key, etcd.Equal, old.ModRevision), // 0: it does not exist
		},
		Then: []etcd.Op{
			etcd.PutRequest{Key: n.key, Value: []byte(strconv.Itoa(value + 1))},
			etcd.PutRequest{Key: mark, Lease: n.lease.ID},
		},
		Else: []etcd.Op{etcd.GetRequest{Key: mark}, etcd.GetRequest{Key: n.key}},
	})
}

// close deletes the marks.
func (n *counter) close(ctx context.Context) error { return n.lease.Revoke(ctx) }

// total reads the counter.
func (n *counter) total(ctx context.Context) (int, error) {
	got, err := n.c.Get(ctx, etcd.GetRequest{Key: n.key})
	if err != nil {
		return 0, err
	}
	kv, ok := got.First()
	if !ok {
		return 0, errors.New("there is no counter")
	}
	return strconv.Atoi(string(kv.Value))
}
