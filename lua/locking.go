package lua

import (
	"context"
	"errors"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// acquire waits for a lock that the clients of a cluster share: lock(lease, prefix, uuid).
// Each puts the key prefix/uuid on its lease; the oldest key has the lock, and the others
// wait for the end of the one before theirs. It returns true, or false and why.
func (c *client) acquire(L *glua.LState) int {
	lease, err := ToInteger(L.CheckAny(2))
	prefix, uuid := checkText(L, "lock", 3, "prefix")+"/", checkText(L, "lock", 4, "uuid")
	switch {
	case err != nil:
		return refuseLock(L, &requestError{"lock", "the lease " + err.Error()})
	case lease == 0:
		return refuseLock(L, &requestError{"lock", "the lease is 0, which is none"})
	}
	c.r.wait(L, taskWaiting, func(ctx context.Context) { err = c.waitForLock(ctx, etcd.LeaseID(lease), prefix, prefix+uuid) })
	switch {
	case errors.Is(err, etcd.ErrWatchClosed): // nothing but the end of the script closes this watch
		return refuseLock(L, closedError(textInterrupted))
	case err != nil:
		return refuseLock(L, err)
	}
	return give(L, glua.LTrue)
}

// refuseLock is failure with false in the place of nil, as the original has it.
func refuseLock(L *glua.LState, err error) int {
	n := failure(L, "lock", err)
	L.Replace(-n, glua.LFalse)
	return n
}

// checkText is an argument that is a text, or a number that stands for its text.
func checkText(L *glua.LState, op string, n int, name string) string {
	switch v := L.Get(n).(type) {
	case glua.LString, glua.LNumber, Int64:
		return v.String()
	}
	L.RaiseError("%s: %s must be a string, not %s", op, name, typeName(L, n))
	return ""
}

func (c *client) waitForLock(ctx context.Context, lease etcd.LeaseID, prefix, key string) error {
	created, err := c.queueForLock(ctx, lease, key)
	for err == nil {
		var before *etcd.GetResponse
		before, err = c.etcd.Get(ctx, etcd.GetRequest{
			Key: prefix, Prefix: true, KeysOnly: true, Limit: 1, MaxCreateRevision: created - 1,
			SortTarget: etcd.SortByCreateRevision, SortOrder: etcd.Descend,
		})
		if err != nil || len(before.KVs) == 0 {
			break
		}
		err = c.waitForDelete(ctx, before.KVs[0].Key, before.Header.Revision+1)
	}
	return err
}

// queueForLock puts the key unless it exists, and returns the revision that created it.
func (c *client) queueForLock(ctx context.Context, lease etcd.LeaseID, key string) (int64, error) {
	resp, err := c.etcd.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.Missing(key)},
		Then: []etcd.Op{etcd.PutRequest{Key: key, Value: []byte("1"), Lease: lease}},
		Else: []etcd.Op{etcd.GetRequest{Key: key}},
	})
	if err != nil {
		return 0, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	kv, _ := resp.Responses[0].Get.First()
	return kv.CreateRevision, nil
}

// waitForDelete returns when the key was deleted at the given revision or later.
func (c *client) waitForDelete(ctx context.Context, key string, revision int64) error {
	w, err := c.etcd.Watch(ctx, etcd.WatchRequest{Key: key, Revision: revision, NoPut: true})
	if err != nil {
		return err
	}
	c.r.streams.add(w)
	defer c.r.streams.close(w)
	for {
		resp, err := w.Read(ctx)
		if err != nil {
			return err
		}
		if len(resp.Events) > 0 {
			return nil
		}
	}
}

// unlock gives the lock up, or the place in its queue.
func (c *client) unlock(L *glua.LState) int {
	req := etcd.DeleteRequest{Key: checkText(L, "unlock", 2, "prefix") + "/" + checkText(L, "unlock", 3, "uuid")}
	resp, err := call(c, L, func(ctx context.Context) (*etcd.DeleteResponse, error) { return c.etcd.Delete(ctx, req) })
	if err != nil {
		return failure(L, "unlock", err)
	}
	return give(L, deleteAnswer(resp))
}
