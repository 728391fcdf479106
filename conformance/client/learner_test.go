package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// Three members and a learner. A client of the learner alone is refused at once, whatever
// it asks for; one that has another endpoint is served there, or waits for it.
func TestLearner(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	admin := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Retry: 20}) // a new cluster takes no member for 5 s
	put(t, admin, "k", "v")
	lease, err := admin.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	learner, _ := startLearner(t, admin)
	local := connect(t, etcd.Config{Endpoints: learner.Endpoints(), Retry: -1})
	eventually(t, "the learner to have caught up", func() bool {
		resp, err := local.Get(t.Context(), etcd.GetRequest{Key: "k", Serializable: true})
		return err == nil && len(resp.KVs) == 1
	})

	for name, request := range map[string]func(ctx context.Context, c *etcd.Client) error{
		"Get": func(ctx context.Context, c *etcd.Client) error {
			_, err := c.Get(ctx, etcd.GetRequest{Key: "k"})
			return err
		},
		"Put": func(ctx context.Context, c *etcd.Client) error {
			_, err := c.Put(ctx, etcd.PutRequest{Key: "k"})
			return err
		},
		"Txn":   func(ctx context.Context, c *etcd.Client) error { _, err := c.Txn(ctx, etcd.TxnRequest{}); return err },
		"Ready": func(ctx context.Context, c *etcd.Client) error { return c.Ready(ctx) },
		"Grant": func(ctx context.Context, c *etcd.Client) error {
			_, err := c.Grant(ctx, etcd.GrantRequest{TTL: time.Minute})
			return err
		},
		"KeepAliveOnce": func(ctx context.Context, c *etcd.Client) error {
			_, err := c.KeepAliveOnce(ctx, etcd.KeepAliveRequest{ID: lease.ID})
			return err
		},
		"KeepAlive": func(ctx context.Context, c *etcd.Client) error {
			for {
				s, err := c.KeepAlive(ctx, etcd.KeepAliveRequest{ID: lease.ID})
				if err != nil {
					return err
				}
				defer s.Close()
				// The refusal ends the stream, before Write or after it.
				if err = s.Write(ctx, etcd.KeepAliveRequest{}); err == nil {
					_, err = s.Read(ctx)
				}
				if !etcd.Temporary(err) {
					return err
				}
			}
		},
		"Adopt": func(ctx context.Context, c *etcd.Client) error { _, err := c.Adopt(ctx, lease.ID); return err },
		"Watch": func(ctx context.Context, c *etcd.Client) error {
			w, err := c.Watch(ctx, etcd.WatchRequest{Key: "k"})
			if err == nil {
				_ = w.Close()
			}
			return err
		},
		"Watch from a revision": func(ctx context.Context, c *etcd.Client) error {
			w, err := c.Watch(ctx, etcd.WatchRequest{Key: "k", Revision: 1})
			if err == nil {
				_ = w.Close()
			}
			return err
		},
		"Range": func(ctx context.Context, c *etcd.Client) error {
			_, err := c.Range(ctx, etcd.GetRequest{Key: "k", Prefix: true})
			return err
		},
		"MemberList": func(ctx context.Context, c *etcd.Client) error {
			_, err := c.Cluster().MemberList(ctx, etcd.MemberListRequest{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alone := connect(t, etcd.Config{Endpoints: learner.Endpoints()})
			for range 2 {
				took, err := limited(t, 20*time.Second, func(ctx context.Context) error { return request(ctx, alone) })
				if !errors.Is(err, etcd.ErrNotSupportedForLearner) || errors.Is(err, context.DeadlineExceeded) || etcd.Temporary(err) {
					t.Errorf("by the learner: %v (temporary: %v)", err, etcd.Temporary(err))
				}
				if took > 5*time.Second {
					t.Errorf("it took the learner %v to refuse", took)
				}
			}
			if resp, err := alone.Get(within(t, 10*time.Second), etcd.GetRequest{Key: "k", Serializable: true}); err != nil || len(resp.KVs) != 1 {
				t.Errorf("a serializable read: %+v, %v", resp, err)
			}
			both := connect(t, etcd.Config{Endpoints: append(learner.Endpoints(), cluster.Endpoints()[0])})
			for range 5 {
				took, err := limited(t, 20*time.Second, func(ctx context.Context) error { return request(ctx, both) })
				if err != nil || took > 10*time.Second {
					t.Errorf("beside a member: %v after %v", err, took)
				}
			}
			// Several members behind one address, of which the balancer chooses the learner
			// first: the client connects again.
			balancer := etcdtest.StartBalancer(t, append(learner.Endpoints(), cluster.Endpoints()[1])...)
			behind := connect(t, etcd.Config{Endpoints: []string{balancer.Endpoint()}})
			for range 5 {
				took, err := limited(t, 20*time.Second, func(ctx context.Context) error { return request(ctx, behind) })
				if err != nil || took > 10*time.Second {
					t.Errorf("behind a balancer: %v after %v", err, took)
				}
			}
		})
	}
}
