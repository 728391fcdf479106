package sequence

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"silly.store/etcd"
	"silly.store/etcd/idempotent"
)

// ErrNotNumber means that the key of a [Counter] holds something else than a decimal number.
var ErrNotNumber = errors.New("the counter's key does not hold a number")

// Counter is a number that many programs add to, each addition exactly once. It is safe for
// concurrent use: the calls of one Counter take turns, so that they do not conflict. It needs
// no Close.
type Counter struct {
	writer *idempotent.Writer
	key    string

	turn chan struct{} // capacity 1: a value in it is the right to the fields below
	last etcd.KeyValue // the key as it was seen last
}

// NewCounter returns the counter with that key, which holds a decimal number; a missing key
// is 0. It makes no request.
func NewCounter(w *idempotent.Writer, key string) *Counter {
	return &Counter{writer: w, key: key, turn: make(chan struct{}, 1)}
}

// Add adds n, which may be negative, and returns the sum. The key stays on its lease.
//
// It takes one request, and one more for each other client that adds in between; a lost
// answer does no harm, see [idempotent.Writer.Txn]. Calls of one Counter wait for each
// other, so it makes at most one addition per round trip.
//
// Errors: etcd.ErrInvalidRequest, also for a sum beyond int64; ErrNotNumber; and those of
// [idempotent.Writer.Txn]. n was not added, unless etcd.MaybeApplied(err); then
// [idempotent.Writer.Resolve] tells: n was added if its result has Succeeded set.
//
// etcd: KV/Txn (since 3.3)
func (c *Counter) Add(ctx context.Context, n int64) (int64, error) {
	switch {
	case ctx == nil:
		return 0, errNilContext("Add")
	case c.writer == nil:
		return 0, invalid("Add: the counter has no writer")
	case c.key == "":
		return 0, invalid("Add: the counter's key is empty")
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, fmt.Errorf("sequence: counter %q: waiting for another Add: %w", c.key, context.Cause(ctx))
	}
	defer func() { <-c.turn }()
	for attempt := 0; ; attempt++ {
		sum, done, err := c.try(ctx, n)
		switch {
		case err != nil && attempt == 0 && c.last.ModRevision == 0 && !etcd.MaybeApplied(err) && isOfValue(err):
			continue // by a value that may be outdated
		case err != nil:
			return 0, fmt.Errorf("sequence: counter %q: %w", c.key, err)
		case done:
			return sum, nil
		}
	}
}

func isOfValue(err error) bool { return errors.Is(err, ErrNotNumber) || errors.Is(err, errOverflow) }

var errOverflow = fmt.Errorf("%w: the sum is beyond int64", etcd.ErrInvalidRequest)

// try adds n if the key is still as it was seen last, and else reads it.
func (c *Counter) try(ctx context.Context, n int64) (sum int64, done bool, err error) {
	if sum, err = plus(c.last, n); err != nil {
		c.last = etcd.KeyValue{} // the key may have changed, and is read by the next attempt
		return 0, false, err
	}
	put := etcd.PutRequest{Key: c.key, Value: strconv.AppendInt(nil, sum, 10), IgnoreLease: c.last.ModRevision != 0}
	result, err := c.writer.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.CompareModRevision(c.key, etcd.Equal, c.last.ModRevision)},
		Then: []etcd.Op{put},
		Else: []etcd.Op{etcd.GetRequest{Key: c.key}},
	})
	switch {
	case err != nil:
		return 0, false, err
	case result.Succeeded:
		c.last = etcd.KeyValue{Key: c.key, Value: put.Value, ModRevision: result.Revision}
		return sum, true, nil
	}
	now := new(etcd.GetResponse)
	if result.Recovered {
		if now, err = c.writer.Client().Get(ctx, etcd.GetRequest{Key: c.key}); err != nil {
			return 0, false, err
		}
	} else if len(result.Response.Responses) == 1 && result.Response.Responses[0].Get != nil {
		now = result.Response.Responses[0].Get
	}
	c.last, _ = now.First()
	return 0, false, nil
}

// plus adds n to the number that the key holds.
func plus(kv etcd.KeyValue, n int64) (int64, error) {
	old := int64(0)
	if kv.ModRevision != 0 {
		var err error
		if old, err = strconv.ParseInt(string(kv.Value), 10, 64); err != nil {
			return 0, fmt.Errorf("%w: %.20q", ErrNotNumber, kv.Value)
		}
	}
	if n > 0 && old > math.MaxInt64-n || n < 0 && old < math.MinInt64-n {
		return 0, fmt.Errorf("%w: %d and %d", errOverflow, old, n)
	}
	return old + n, nil
}
