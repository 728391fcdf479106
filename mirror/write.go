package mirror

import (
	"context"
	"errors"
	"fmt"

	"silly.store/etcd"
)

// write puts operations and the checkpoint after them. split: the target takes fewer at a
// time; the limits have been lowered, nothing was applied, and the caller makes smaller
// batches.
func (m *Mirror) write(ctx context.Context, g *guard, ops []op, next checkpoint) (split bool, err error) {
	requests := make([]etcd.Op, 0, len(ops)+1)
	bytes := 0
	for i := range ops {
		if ops[i].key == "" {
			continue // the checkpoint's own key, see take
		}
		requests = append(requests, ops[i].request())
		bytes += ops[i].size()
	}
	err = g.put(ctx, requests, next)
	switch {
	case err == nil:
		m.wrote(ctx, g, len(ops))
		return false, nil
	case errors.Is(err, etcd.ErrTooManyOps) && len(ops) > 1:
		m.limits.ops = len(ops) / 2
		return true, nil
	case errors.Is(err, etcd.ErrRequestTooLarge) && len(ops) > 1:
		m.limits.bytes = bytes / 2
		return true, nil
	case errors.Is(err, etcd.ErrRequestTooLarge) && len(ops) == 1:
		return false, fmt.Errorf("mirror: the value of %q is too large for the target beside the checkpoint (--max-request-bytes): %w", ops[0].key, err)
	case errors.Is(err, etcd.ErrTooManyOps):
		return false, fmt.Errorf("mirror: the target does not accept two operations in a Txn (--max-txn-ops): %w", err)
	}
	return false, err
}
