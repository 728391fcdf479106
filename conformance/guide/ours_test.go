package guide

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/stm"
)

func ourConnect(ctx context.Context, _ *etcd.Client, out io.Writer) error {
	c, err := etcd.New(etcd.Config{Endpoints: endpoints})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ready(ctx) // not required: the first call connects
}

func ourPut(ctx context.Context, c *etcd.Client, out io.Writer) error {
	_, err := c.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("blue")})
	return err
}

func ourGet(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Get(ctx, etcd.GetRequest{Key: "color"})
	if err != nil {
		return err
	}
	kv, ok := resp.First()
	if !ok {
		fmt.Fprintln(out, "no color")
		return nil
	}
	fmt.Fprintf(out, "%s\n", kv.Value)
	return nil
}

func ourGetPrefix(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Get(ctx, etcd.GetRequest{Key: "fruit/", Prefix: true})
	if err != nil {
		return err
	}
	for _, kv := range resp.KVs {
		fmt.Fprintf(out, "%s = %s\n", kv.Key, kv.Value)
	}
	return nil
}

func ourGetInterval(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Get(ctx, etcd.GetRequest{Key: "fruit/b", RangeEnd: "fruit/d"})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, len(resp.KVs), "keys")
	return nil
}

func ourGetSorted(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Get(ctx, etcd.GetRequest{
		Key: "fruit/", Prefix: true,
		SortTarget: etcd.SortByModRevision, SortOrder: etcd.Descend,
		Limit: 1,
	})
	if err != nil {
		return err
	}
	for _, kv := range resp.KVs {
		fmt.Fprintf(out, "%s changed last\n", kv.Key)
	}
	return nil
}

func ourCount(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Get(ctx, etcd.GetRequest{Key: "fruit/", Prefix: true, CountOnly: true})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, resp.Count)
	return nil
}

func ourKeysOnly(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Get(ctx, etcd.GetRequest{FromKey: true, KeysOnly: true})
	if err != nil {
		return err
	}
	for _, kv := range resp.KVs {
		fmt.Fprintf(out, "%s\n", kv.Key)
	}
	return nil
}

func ourSerializable(ctx context.Context, c *etcd.Client, out io.Writer) error {
	_, err := c.Get(ctx, etcd.GetRequest{Key: "color", Serializable: true})
	return err
}

func ourOldRevision(ctx context.Context, c *etcd.Client, out io.Writer) error {
	put, err := c.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("blue")})
	if err != nil {
		return err
	}
	old, err := c.Get(ctx, etcd.GetRequest{Key: "color", Revision: put.Header.Revision - 1})
	if errors.Is(err, etcd.ErrCompacted) {
		fmt.Fprintln(out, "compacted")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "was %s\n", old.KVs[0].Value)
	return nil
}

func ourLargeRange(ctx context.Context, c *etcd.Client, out io.Writer) error {
	r, err := c.Range(ctx, etcd.GetRequest{Key: "fruit/", Prefix: true})
	if err != nil {
		return err
	}
	for kv, err := range r.All() {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", kv.Key)
	}
	return nil
}

func ourDelete(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Delete(ctx, etcd.DeleteRequest{Key: "color"})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, resp.Deleted)
	return nil
}

func ourDeletePrefix(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Delete(ctx, etcd.DeleteRequest{Key: "fruit/", Prefix: true, PrevKV: true})
	if err != nil {
		return err
	}
	for _, kv := range resp.PrevKVs {
		fmt.Fprintf(out, "%s was %s\n", kv.Key, kv.Value)
	}
	return nil
}

func ourPrevKV(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("blue"), PrevKV: true})
	if err != nil {
		return err
	}
	if resp.PrevKV != nil {
		fmt.Fprintf(out, "was %s\n", resp.PrevKV.Value)
	}
	return nil
}

func ourIgnoreLease(ctx context.Context, c *etcd.Client, out io.Writer) error {
	_, err := c.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("blue"), IgnoreLease: true})
	return err
}

func ourCreateIfMissing(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.Missing("lock")},
		Then: []etcd.Op{etcd.PutRequest{Key: "lock", Value: []byte("me")}},
		Else: []etcd.Op{etcd.GetRequest{Key: "lock"}},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, resp.Succeeded)
	return nil
}

func ourCompareAndSwap(ctx context.Context, c *etcd.Client, out io.Writer) error {
	got, err := c.Get(ctx, etcd.GetRequest{Key: "color"})
	if err != nil || len(got.KVs) == 0 {
		return err
	}
	kv := got.KVs[0]
	resp, err := c.Txn(ctx, etcd.TxnRequest{
		If:   []etcd.Compare{etcd.Unchanged(kv)},
		Then: []etcd.Op{etcd.PutRequest{Key: "color", Value: append(kv.Value, "dish"...)}},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, resp.Succeeded)
	return nil
}

func ourReadTogether(ctx context.Context, c *etcd.Client, out io.Writer) error {
	resp, err := c.Txn(ctx, etcd.TxnRequest{
		Then: []etcd.Op{etcd.GetRequest{Key: "color"}, etcd.GetRequest{Key: "fruit/apple"}},
	})
	if err != nil {
		return err
	}
	for _, r := range resp.Responses {
		for _, kv := range r.Get.KVs {
			fmt.Fprintf(out, "%s = %s\n", kv.Key, kv.Value)
		}
	}
	return nil
}

func ourManyPuts(ctx context.Context, c *etcd.Client, out io.Writer) error {
	var puts []etcd.Op
	for i := range 300 {
		puts = append(puts, etcd.PutRequest{Key: fmt.Sprintf("item/%d", i), Value: []byte("x")})
	}
	return c.Batch(ctx, puts...).Err() // three requests
}

func ourWatch(ctx context.Context, c *etcd.Client, out io.Writer) error {
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "color"}) // the server has confirmed it
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := c.Put(ctx, etcd.PutRequest{Key: "color", Value: []byte("blue")}); err != nil {
		return err
	}
	for resp, err := range w.All(ctx) {
		if err != nil {
			return err
		}
		for _, ev := range resp.Events {
			fmt.Fprintf(out, "%s is %s\n", ev.KV.Key, ev.KV.Value)
			return nil
		}
	}
	return nil
}

func ourWatchFrom(ctx context.Context, c *etcd.Client, out io.Writer) error {
	list, err := c.Get(ctx, etcd.GetRequest{Key: "fruit/", Prefix: true})
	if err != nil {
		return err
	}
	if _, err := c.Put(ctx, etcd.PutRequest{Key: "fruit/date", Value: []byte("brown")}); err != nil {
		return err
	}
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "fruit/", Prefix: true, Revision: list.Header.Revision + 1})
	if err != nil {
		return err
	}
	defer w.Close()
	resp, err := w.Read(ctx)
	if err != nil {
		return err
	}
	for _, ev := range resp.Events {
		fmt.Fprintf(out, "%s is new: %t\n", ev.KV.Key, ev.KV.Version == 1)
	}
	return nil
}

func ourWatchDeletes(ctx context.Context, c *etcd.Client, out io.Writer) error {
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "fruit/", Prefix: true, PrevKV: true, NoPut: true})
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: "fruit/apple"}); err != nil {
		return err
	}
	resp, err := w.Read(ctx)
	if err != nil {
		return err
	}
	for _, ev := range resp.Events {
		if ev.Type == etcd.EventDelete && ev.PrevKV != nil {
			fmt.Fprintf(out, "%s was %s\n", ev.KV.Key, ev.PrevKV.Value)
		}
	}
	return nil
}

func ourWatchCompacted(ctx context.Context, c *etcd.Client, out io.Writer) error {
	got, err := c.Get(ctx, etcd.GetRequest{Key: "color"})
	if err != nil {
		return err
	}
	if _, err := c.Compact(ctx, etcd.CompactRequest{Revision: got.Header.Revision}); err != nil {
		return err
	}
	w, err := c.Watch(ctx, etcd.WatchRequest{Key: "color", Revision: got.Header.Revision - 1})
	if err != nil {
		return err
	}
	defer w.Close()
	_, err = w.Read(ctx)
	if etcd.HistoryLost(err) {
		fmt.Fprintln(out, "read the keys again")
		return nil
	}
	return err
}

func ourGrant(ctx context.Context, c *etcd.Client, out io.Writer) error {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second}) // renewed from now on
	if err != nil {
		return err
	}
	_, err = c.Put(ctx, etcd.PutRequest{Key: "service/a", Value: []byte("10.0.0.1"), Lease: lease.ID})
	return err
}

func ourLeaseLost(ctx context.Context, c *etcd.Client, out io.Writer) error {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 5 * time.Second})
	if err != nil {
		return err
	}
	if err := lease.Revoke(ctx); err != nil {
		return err
	}
	<-lease.Done()
	if errors.Is(lease.Err(), etcd.ErrLeaseRevoked) {
		fmt.Fprintln(out, "the lease is over")
	}
	return nil
}

func ourRevoke(ctx context.Context, c *etcd.Client, out io.Writer) error {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second})
	if err != nil {
		return err
	}
	return lease.Revoke(ctx) // or c.Revoke, where only the ID is known
}

func ourTimeToLive(ctx context.Context, c *etcd.Client, out io.Writer) error {
	lease, err := c.Grant(ctx, etcd.GrantRequest{TTL: 10 * time.Second, NoKeepAlive: true})
	if err != nil {
		return err
	}
	left, err := c.TTL(ctx, etcd.TTLRequest{ID: lease.ID, Keys: true})
	if errors.Is(err, etcd.ErrLeaseNotFound) {
		fmt.Fprintln(out, "the lease is over")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, left.GrantedTTL.Seconds(), len(left.Keys))
	return nil
}

func ourCompact(ctx context.Context, c *etcd.Client, out io.Writer) error {
	got, err := c.Get(ctx, etcd.GetRequest{Key: "color"})
	if err != nil {
		return err
	}
	_, err = c.Compact(ctx, etcd.CompactRequest{Revision: got.Header.Revision, Physical: true})
	return err
}

func ourMemberList(ctx context.Context, c *etcd.Client, out io.Writer) error {
	list, err := c.Cluster().MemberList(ctx, etcd.MemberListRequest{})
	if err != nil {
		return err
	}
	for _, m := range list.Members {
		fmt.Fprintln(out, m.Name, m.ClientURLs)
	}
	return nil
}

func ourStatus(ctx context.Context, c *etcd.Client, out io.Writer) error {
	status, err := c.Maintenance().Status(ctx, etcd.StatusRequest{Endpoint: endpoints[0]})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, status.Version, status.Leader == status.Header.MemberID)
	return nil
}

func ourLock(ctx context.Context, c *etcd.Client, out io.Writer) error {
	co, err := concurrency.New(c, concurrency.Config{TTL: 10 * time.Second})
	if err != nil {
		return err
	}
	defer co.Close(ctx)
	l, err := co.Mutex("jobs/42", concurrency.MutexConfig{}).Lock(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "locked")
	return l.Unlock(ctx)
}

func ourElect(ctx context.Context, c *etcd.Client, out io.Writer) error {
	co, err := concurrency.New(c, concurrency.Config{TTL: 10 * time.Second})
	if err != nil {
		return err
	}
	defer co.Close(ctx)
	e := co.Election("scheduler", concurrency.ElectionConfig{Value: []byte("host-1")})
	ld, err := e.Campaign(ctx)
	if err != nil {
		return err
	}
	leader, err := e.Leader(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s leads\n", leader.Value)
	return ld.Resign(ctx)
}

func ourSTM(ctx context.Context, c *etcd.Client, out io.Writer) error {
	_, err := stm.Run(ctx, c, stm.Config{}, func(tx *stm.Tx) error {
		color, _, err := tx.Get("color")
		if err != nil {
			return err
		}
		return tx.Put(etcd.PutRequest{Key: "fruit/plum", Value: color.Value})
	})
	return err
}
