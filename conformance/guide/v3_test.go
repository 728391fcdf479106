package guide

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func v3Connect(ctx context.Context, _ *clientv3.Client, out io.Writer) error {
	c, err := clientv3.New(clientv3.Config{
		Endpoints:   endpoints,
		DialTimeout: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Get(ctx, "health") // the first call connects
	return err
}

func v3Put(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	_, err := c.Put(ctx, "color", "blue")
	return err
}

func v3Get(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Get(ctx, "color")
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 0 {
		fmt.Fprintln(out, "no color")
		return nil
	}
	fmt.Fprintf(out, "%s\n", resp.Kvs[0].Value)
	return nil
}

func v3GetPrefix(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Get(ctx, "fruit/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		fmt.Fprintf(out, "%s = %s\n", kv.Key, kv.Value)
	}
	return nil
}

func v3GetInterval(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Get(ctx, "fruit/b", clientv3.WithRange("fruit/d"))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, len(resp.Kvs), "keys")
	return nil
}

func v3GetSorted(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Get(ctx, "fruit/", clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend),
		clientv3.WithLimit(1))
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		fmt.Fprintf(out, "%s changed last\n", kv.Key)
	}
	return nil
}

func v3Count(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Get(ctx, "fruit/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	fmt.Fprintln(out, resp.Count)
	return nil
}

func v3KeysOnly(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Get(ctx, "", clientv3.WithFromKey(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		fmt.Fprintf(out, "%s\n", kv.Key)
	}
	return nil
}

func v3Serializable(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	_, err := c.Get(ctx, "color", clientv3.WithSerializable())
	return err
}

func v3OldRevision(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	put, err := c.Put(ctx, "color", "blue")
	if err != nil {
		return err
	}
	old, err := c.Get(ctx, "color", clientv3.WithRev(put.Header.Revision-1))
	if errors.Is(err, rpctypes.ErrCompacted) {
		fmt.Fprintln(out, "compacted")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "was %s\n", old.Kvs[0].Value)
	return nil
}

func v3LargeRange(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	key, end := "fruit/", clientv3.GetPrefixRangeEnd("fruit/")
	var revision int64
	for {
		page, err := c.Get(ctx, key, clientv3.WithRange(end),
			clientv3.WithRev(revision), clientv3.WithLimit(1000))
		if err != nil {
			return err
		}
		revision = page.Header.Revision
		for _, kv := range page.Kvs {
			fmt.Fprintf(out, "%s\n", kv.Key)
			key = string(kv.Key) + "\x00"
		}
		if !page.More {
			return nil
		}
	}
}

func v3Delete(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Delete(ctx, "color")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, resp.Deleted)
	return nil
}

func v3DeletePrefix(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Delete(ctx, "fruit/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	for _, kv := range resp.PrevKvs {
		fmt.Fprintf(out, "%s was %s\n", kv.Key, kv.Value)
	}
	return nil
}

func v3PrevKV(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Put(ctx, "color", "blue", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	if resp.PrevKv != nil {
		fmt.Fprintf(out, "was %s\n", resp.PrevKv.Value)
	}
	return nil
}

func v3IgnoreLease(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	_, err := c.Put(ctx, "color", "blue", clientv3.WithIgnoreLease())
	return err
}

func v3CreateIfMissing(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision("lock"), "=", 0)).
		Then(clientv3.OpPut("lock", "me")).
		Else(clientv3.OpGet("lock")).
		Commit()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, resp.Succeeded)
	return nil
}

func v3CompareAndSwap(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	got, err := c.Get(ctx, "color")
	if err != nil || len(got.Kvs) == 0 {
		return err
	}
	kv := got.Kvs[0]
	resp, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision("color"), "=", kv.ModRevision)).
		Then(clientv3.OpPut("color", string(kv.Value)+"dish")).
		Commit()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, resp.Succeeded)
	return nil
}

func v3ReadTogether(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	resp, err := c.Txn(ctx).
		Then(clientv3.OpGet("color"), clientv3.OpGet("fruit/apple")).
		Commit()
	if err != nil {
		return err
	}
	for _, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().Kvs {
			fmt.Fprintf(out, "%s = %s\n", kv.Key, kv.Value)
		}
	}
	return nil
}

func v3ManyPuts(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	for i := range 300 {
		if _, err := c.Put(ctx, fmt.Sprintf("item/%d", i), "x"); err != nil {
			return err
		}
	}
	return nil
}

func v3Watch(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	changes := c.Watch(ctx, "color", clientv3.WithCreatedNotify())
	<-changes // the server has confirmed it
	if _, err := c.Put(ctx, "color", "blue"); err != nil {
		return err
	}
	for resp := range changes {
		if err := resp.Err(); err != nil {
			return err
		}
		for _, ev := range resp.Events {
			fmt.Fprintf(out, "%s is %s\n", ev.Kv.Key, ev.Kv.Value)
			return nil
		}
	}
	return ctx.Err() // the channel was closed
}

func v3WatchFrom(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	list, err := c.Get(ctx, "fruit/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if _, err := c.Put(ctx, "fruit/date", "brown"); err != nil {
		return err
	}
	changes := c.Watch(ctx, "fruit/", clientv3.WithPrefix(), clientv3.WithRev(list.Header.Revision+1))
	resp := <-changes
	if err := resp.Err(); err != nil {
		return err
	}
	for _, ev := range resp.Events {
		fmt.Fprintf(out, "%s is new: %t\n", ev.Kv.Key, ev.IsCreate())
	}
	return nil
}

func v3WatchDeletes(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := c.Watch(ctx, "fruit/", clientv3.WithPrefix(), clientv3.WithPrevKV(),
		clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
	<-changes
	if _, err := c.Delete(ctx, "fruit/apple"); err != nil {
		return err
	}
	resp := <-changes
	if err := resp.Err(); err != nil {
		return err
	}
	for _, ev := range resp.Events {
		if ev.Type == mvccpb.DELETE && ev.PrevKv != nil {
			fmt.Fprintf(out, "%s was %s\n", ev.Kv.Key, ev.PrevKv.Value)
		}
	}
	return nil
}

func v3WatchCompacted(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	got, err := c.Get(ctx, "color")
	if err != nil {
		return err
	}
	if _, err := c.Compact(ctx, got.Header.Revision); err != nil {
		return err
	}
	resp := <-c.Watch(ctx, "color", clientv3.WithRev(got.Header.Revision-1))
	if resp.CompactRevision != 0 {
		fmt.Fprintln(out, "read the keys again")
		return nil
	}
	return resp.Err()
}

func v3Grant(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	lease, err := c.Grant(ctx, 10)
	if err != nil {
		return err
	}
	renewals, err := c.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	go func() {
		for range renewals { // else the channel fills up
		}
	}()
	_, err = c.Put(ctx, "service/a", "10.0.0.1", clientv3.WithLease(lease.ID))
	return err
}

func v3LeaseLost(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	lease, err := c.Grant(ctx, 5)
	if err != nil {
		return err
	}
	renewals, err := c.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	if _, err := c.Revoke(ctx, lease.ID); err != nil {
		return err
	}
	for range renewals {
	}
	fmt.Fprintln(out, "the lease is over") // or ctx is, or the client was closed
	return nil
}

func v3Revoke(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	lease, err := c.Grant(ctx, 10)
	if err != nil {
		return err
	}
	_, err = c.Revoke(ctx, lease.ID)
	return err
}

func v3TimeToLive(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	lease, err := c.Grant(ctx, 10)
	if err != nil {
		return err
	}
	left, err := c.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	if left.TTL < 0 {
		fmt.Fprintln(out, "the lease is over")
		return nil
	}
	fmt.Fprintln(out, left.GrantedTTL, len(left.Keys))
	return nil
}

func v3Compact(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	got, err := c.Get(ctx, "color")
	if err != nil {
		return err
	}
	_, err = c.Compact(ctx, got.Header.Revision, clientv3.WithCompactPhysical())
	return err
}

func v3MemberList(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	list, err := c.MemberList(ctx)
	if err != nil {
		return err
	}
	for _, m := range list.Members {
		fmt.Fprintln(out, m.Name, m.ClientURLs)
	}
	return nil
}

func v3Status(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	status, err := c.Status(ctx, endpoints[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(out, status.Version, status.Leader == status.Header.MemberId)
	return nil
}

func v3Lock(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	session, err := concurrency.NewSession(c, concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer session.Close()
	m := concurrency.NewMutex(session, "jobs/42")
	if err := m.Lock(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "locked")
	return m.Unlock(ctx)
}

func v3Elect(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	session, err := concurrency.NewSession(c, concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer session.Close()
	e := concurrency.NewElection(session, "scheduler")
	if err := e.Campaign(ctx, "host-1"); err != nil {
		return err
	}
	leader, err := e.Leader(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s leads\n", leader.Kvs[0].Value)
	return e.Resign(ctx)
}

func v3STM(ctx context.Context, c *clientv3.Client, out io.Writer) error {
	_, err := concurrency.NewSTM(c, func(tx concurrency.STM) error {
		tx.Put("fruit/plum", tx.Get("color"))
		return nil
	})
	return err
}
