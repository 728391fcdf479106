package v3compat

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
)

func TestClusterAnswersAlike(t *testing.T) {
	t.Parallel()
	added := make(map[*clientv3.Client]uint64) // a member's ID comes from its URLs and the second
	var nextSecond time.Time
	forgetMembers := func(list []*pb.Member) {
		slices.SortFunc(list, func(a, b *pb.Member) int { return strings.Compare(a.Name, b.Name) })
		for _, m := range list {
			m.ID, m.ClientURLs = min(m.ID, 1), nil
			if m.Name != "" {
				m.PeerURLs, m.Name = nil, "the one"
			}
		}
	}
	answersAlike(t, []step{
		{"MemberList", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.MemberList(ctx)
			if err == nil {
				forgetMembers(r.Members)
			}
			return (*pb.MemberListResponse)(r), err
		}},
		{"MemberList, serializable", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.MemberList(ctx, clientv3.WithSerializable())
			if err == nil {
				forgetMembers(r.Members)
			}
			return (*pb.MemberListResponse)(r), err
		}},
		{"MemberAdd of nonsense", func(ctx context.Context, c *clientv3.Client) (any, error) {
			return c.MemberAdd(ctx, []string{"nonsense"})
		}},
		{"MemberAddAsLearner", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
			if err == nil {
				added[c] = r.Member.ID
				nextSecond = time.Now().Truncate(time.Second).Add(time.Second)
				forgetMembers(r.Members)
				forgetMembers([]*pb.Member{r.Member})
			}
			return (*pb.MemberAddResponse)(r), err
		}},
		{"MemberAdd of a URL that there is", func(ctx context.Context, c *clientv3.Client) (any, error) {
			// Within the second of the first addition the server refuses the ID, and later the URLs.
			<-time.After(time.Until(nextSecond))
			return c.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
		}},
		{"MemberUpdate", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.MemberUpdate(ctx, added[c], []string{"http://127.0.0.1:2"})
			if err == nil {
				forgetMembers(r.Members)
			}
			return (*pb.MemberUpdateResponse)(r), err
		}},
		{"MemberPromote", func(ctx context.Context, c *clientv3.Client) (any, error) {
			return c.MemberPromote(ctx, added[c])
		}},
		{"MemberRemove", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.MemberRemove(ctx, added[c])
			if err == nil {
				forgetMembers(r.Members)
			}
			return (*pb.MemberRemoveResponse)(r), err
		}},
		{"MemberRemove of none", func(ctx context.Context, c *clientv3.Client) (any, error) {
			return c.MemberRemove(ctx, 42)
		}},
		{"MemberPromote of none", func(ctx context.Context, c *clientv3.Client) (any, error) {
			return c.MemberPromote(ctx, 42)
		}},
		{"MemberRemove of 0", func(ctx context.Context, c *clientv3.Client) (any, error) {
			return c.MemberRemove(ctx, 0)
		}},
		{"MemberUpdate of 0", func(ctx context.Context, c *clientv3.Client) (any, error) {
			return c.MemberUpdate(ctx, 0, []string{"http://127.0.0.1:2"})
		}},
	})
}

func TestMaintenanceAnswersAlike(t *testing.T) {
	t.Parallel()
	answersAlike(t, []step{
		put("k", "v"),
		{"AlarmList", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.AlarmList(ctx)
			return (*pb.AlarmResponse)(r), err
		}},
		{"AlarmList, whether it is nil", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.AlarmList(ctx)
			return err == nil && r.Alarms == nil, err
		}},
		{"AlarmDisarm", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: 1, Alarm: pb.AlarmType_NOSPACE})
			return (*pb.AlarmResponse)(r), err
		}},
		{"Defragment", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.Defragment(ctx, c.Endpoints()[0])
			return (*pb.DefragmentResponse)(r), err
		}},
		{"Status", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.Status(ctx, c.Endpoints()[0])
			if err == nil {
				r.DbSize, r.DbSizeInUse, r.Leader, r.RaftTerm, r.StorageVersion = 0, 0, min(r.Leader, 1), 0, ""
			}
			return (*pb.StatusResponse)(r), err
		}},
		{"HashKV", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.HashKV(ctx, c.Endpoints()[0], 0)
			return (*pb.HashKVResponse)(r), err
		}},
		{"HashKV of the future", func(ctx context.Context, c *clientv3.Client) (any, error) {
			return c.HashKV(ctx, c.Endpoints()[0], 4000)
		}},
		{"MoveLeader to nobody", func(ctx context.Context, c *clientv3.Client) (any, error) {
			return c.MoveLeader(ctx, 42)
		}},
		{"Downgrade, validate", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.Downgrade(ctx, clientv3.DowngradeValidate, "3.6")
			return (*pb.DowngradeResponse)(r), err
		}},
		{"Downgrade, validate nonsense", func(ctx context.Context, c *clientv3.Client) (any, error) {
			return c.Downgrade(ctx, clientv3.DowngradeValidate, "3.1")
		}},
		{"Snapshot", func(ctx context.Context, c *clientv3.Client) (any, error) {
			r, err := c.SnapshotWithVersion(ctx)
			if err != nil {
				return nil, err
			}
			defer func() { _ = r.Snapshot.Close() }()
			_, err = wholeSnapshot(r.Snapshot)
			return []any{r.Header.GetRevision(), err}, nil
		}},
	})
}

// wholeSnapshot reads a snapshot to its end and checks the digest there.
func wholeSnapshot(r io.Reader) (int, error) {
	all, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	body := len(all) - sha256.Size
	if body < 0 {
		return len(all), errors.New("too short")
	}
	if sum := sha256.Sum256(all[:body]); !bytes.Equal(sum[:], all[body:]) {
		return len(all), errors.New("the digest is wrong")
	}
	return len(all), nil
}

func TestSnapshotWithoutVersion(t *testing.T) {
	t.Parallel()
	r, err := connect(t, clientv3.Config{}).Snapshot(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if n, err := wholeSnapshot(r); err != nil || n < 16<<10 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestSnapshotEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := connect(t, clientv3.Config{}).Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	cancel()
	if _, err = io.ReadAll(r); err != nil && err != context.Canceled {
		t.Errorf("the error is %v (%T)", err, err)
	}
}

// MoveLeader finds the leader; with client/v3 the request succeeds only if it
// happens to reach it.
func TestMoveLeader(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	client := connect(t, clientv3.Config{Endpoints: cluster.Endpoints()})
	ctx := within(t, 30*time.Second)
	leader, err := cluster.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	status, err := client.Status(ctx, leader.Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list.Members {
		if m.ID != status.Leader {
			if _, err := client.MoveLeader(ctx, m.ID); err != nil && err != rpctypes.ErrNotLeader {
				t.Fatal(err)
			}
			break
		}
	}
	var urls []string
	for _, m := range list.Members {
		urls = append(urls, m.ClientURLs...)
	}
	if err := client.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if got := client.Endpoints(); strings.Join(got, " ") != strings.Join(urls, " ") {
		t.Errorf("endpoints after Sync are %v, not %v", got, urls)
	}
}
