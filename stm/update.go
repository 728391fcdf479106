package stm

import (
	"context"

	"silly.store/etcd"
	"silly.store/etcd/idempotent"
)

// Update changes the value of one key: f computes it from the present one. f may run
// several times; see [Run], whose rules hold. found reports whether the key exists; if
// not, it is created. The key stays on its lease.
//
// The result's Revision is that of the new value.
//
// Errors: as Run, with the same caution: a counter must not repeat an Update for which
// etcd.MaybeApplied reports true. [UpdateWith] settles it.
//
// etcd: KV/Range and KV/Txn (since 3.3)
func Update(ctx context.Context, c *etcd.Client, key string, f func(old etcd.KeyValue, found bool) ([]byte, error)) (*Result, error) {
	return update(ctx, c, Config{}, key, f)
}

// UpdateWith is [Update] through a Writer: the change is made exactly once, also when the
// answer to the commit is lost. This is what a counter needs.
//
// Errors: as [Run] with Config.Writer.
//
// etcd: KV/Range and KV/Txn (since 3.3)
func UpdateWith(ctx context.Context, w *idempotent.Writer, key string, f func(old etcd.KeyValue, found bool) ([]byte, error)) (*Result, error) {
	if w == nil {
		return nil, invalid("UpdateWith", "the writer is nil")
	}
	return update(ctx, w.Client(), Config{Writer: w}, key, f)
}

func update(ctx context.Context, c *etcd.Client, config Config, key string, f func(old etcd.KeyValue, found bool) ([]byte, error)) (*Result, error) {
	if f == nil {
		return nil, invalid("Update", "the function is nil")
	}
	return Run(ctx, c, config, func(tx *Tx) error {
		old, found, err := tx.Get(key)
		if err != nil {
			return err
		}
		value, err := f(old, found)
		if err != nil {
			return err
		}
		return tx.Put(etcd.PutRequest{Key: key, Value: value, IgnoreLease: found})
	})
}
