package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// An isolated member answers from local state only on request. Here it has missed a
// write: a transaction with only compares, which etcd would answer from local
// state, must not see the old value. And calls that wait for a leader are answered
// within one attempt once there is one.
func TestLaggingMember(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	members := cluster.Members()
	all := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Retry: 100, RetrySleep: 50 * time.Millisecond})
	put(t, all, "k", "old")

	lagging := members[0]
	alone := connect(t, etcd.Config{Endpoints: lagging.Endpoints(), Retry: -1, Timeout: 700 * time.Millisecond})
	local := etcd.GetRequest{Key: "k", Serializable: true}
	eventually(t, "the first value on every member", func() bool { return len(get(t, alone, local).KVs) == 1 })
	// While stopped it receives nothing. The others restart, so that nothing of the
	// next write waits for it in a socket.
	for _, step := range []func() error{
		lagging.Stop, members[1].Kill, members[2].Kill, members[1].Launch, members[2].Restart,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	others := connect(t, etcd.Config{
		Endpoints: []string{members[1].Endpoints()[0], members[2].Endpoints()[0]}, Retry: 100, RetrySleep: 50 * time.Millisecond,
	})
	put(t, others, "k", "new")
	for _, step := range []func() error{members[1].Kill, members[2].Kill, lagging.Continue} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	isOld := []etcd.Compare{etcd.CompareValue("k", etcd.Equal, []byte("old"))}
	getOld := etcd.GetRequest{Key: "k", Serializable: true}
	linearizable := map[string]etcd.TxnRequest{
		"compares":                 {If: isOld},
		"a serializable get":       {If: isOld, Then: ops(getOld)},
		"a serializable Else":      {If: isOld, Else: ops(getOld)},
		"serializable gets":        {Then: ops(getOld, getOld)},
		"serializable and other":   {If: isOld, Then: ops(getOld), Else: ops(etcd.GetRequest{Key: "k"})},
		"a range compare":          {If: []etcd.Compare{{Prefix: true, Target: etcd.TargetVersion, Result: etcd.Less, Version: 2}}},
		"a nested transaction":     {If: isOld, Then: ops(etcd.TxnRequest{If: isOld})},
		"a nested get":             {If: isOld, Then: ops(etcd.TxnRequest{Then: ops(getOld)})},
		"linearizable in one only": {If: isOld, Then: ops(etcd.GetRequest{Key: "k"})},
	}
	// For a second it still assumes a leader, and answers everything that it can
	// from local state.
	allFail := func(check func(err error)) {
		var calls sync.WaitGroup
		for name, req := range linearizable {
			calls.Go(func() {
				resp, err := alone.Txn(t.Context(), req)
				if err == nil {
					t.Errorf("%s: answered by a member that is alone: %+v", name, resp)
					return
				}
				check(err)
			})
		}
		calls.Go(func() {
			if resp, err := alone.Get(t.Context(), etcd.GetRequest{Key: "k"}); err == nil {
				t.Errorf("answered by a member that is alone: %+v", resp)
			}
		})
		calls.Wait()
	}
	allFail(func(error) {})
	leaderless := func() bool {
		_, err := alone.Get(t.Context(), etcd.GetRequest{Key: "k"})
		return errors.Is(err, etcd.ErrNoLeader)
	}
	eventually(t, "the member to see that it is alone", leaderless)

	t.Run("serializable", func(t *testing.T) {
		for name, req := range map[string]etcd.TxnRequest{
			"compares":  {If: isOld, Serializable: true},
			"a get":     {If: isOld, Then: ops(etcd.GetRequest{Key: "k"}), Serializable: true},
			"both":      {If: isOld, Then: ops(getOld), Else: ops(getOld), Serializable: true},
			"only gets": {Then: ops(etcd.GetRequest{Key: "k"}, getOld), Serializable: true},
		} {
			resp, err := alone.Txn(t.Context(), req)
			if err != nil || !resp.Succeeded || len(resp.Responses) != len(req.Then) {
				t.Errorf("%s: %+v, %v", name, resp, err)
				continue
			}
			for _, r := range resp.Responses {
				if string(r.Get.KVs[0].Value) != "old" {
					t.Errorf("%s: %+v", name, r.Get)
				}
			}
		}
	})

	t.Run("linearizable without leader", func(t *testing.T) {
		allFail(func(err error) {
			// It knows no leader and says so at once. The client keeps asking, so
			// an election is not an error.
			noLeader(t, err)
		})
		t.Run("others", func(t *testing.T) {
			_, err := alone.Get(t.Context(), etcd.GetRequest{Key: "k"})
			noLeader(t, err)
			_, err = alone.Put(t.Context(), etcd.PutRequest{Key: "k"})
			noLeader(t, err)
			_, err = alone.Range(t.Context(), etcd.GetRequest{Key: "k"})
			noLeader(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err = alone.Put(ctx, etcd.PutRequest{Key: "k"})
			wants(t, err, context.DeadlineExceeded, outcomeOf(err))
			err = alone.Ready(within(t, 300*time.Millisecond))
			wants(t, err, context.DeadlineExceeded, outcomeOf(err))
			mustSay(t, err, "Ready", lagging.Endpoints()[0])
		})
	})

	// Calls in one attempt each, while there is no leader yet.
	patient := connect(t, etcd.Config{Endpoints: lagging.Endpoints(), Retry: -1, Timeout: 30 * time.Second})
	var waiting []<-chan error
	for i := range 4 {
		waiting = append(waiting,
			async(func() error {
				_, err := patient.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprint("waited/", i)})
				return err
			}),
			async(func() error {
				resp, err := patient.Get(t.Context(), etcd.GetRequest{Key: "k"})
				if err == nil && string(resp.KVs[0].Value) != "new" {
					err = fmt.Errorf("read %q", resp.KVs[0].Value)
				}
				return err
			}),
			async(func() error {
				resp, err := patient.Txn(t.Context(), etcd.TxnRequest{If: isOld})
				if err == nil && (resp.Succeeded || resp.Responses != nil) {
					err = fmt.Errorf("answered %+v", resp)
				}
				return err
			}))
	}
	for _, m := range members[1:] {
		if err := m.Launch(); err != nil {
			t.Fatal(err)
		}
	}
	for i, done := range waiting {
		if err := await(t, done); err != nil {
			t.Errorf("waiting call %d: %v", i, err)
		}
	}
	for i := range 4 {
		if v := stored(t, all, fmt.Sprint("waited/", i)).Version; v != 1 {
			t.Errorf("put %d that waited has version %d", i, v)
		}
	}
	// Only the requested fields are returned.
	for name, req := range linearizable {
		resp := txn(t, all, req)
		if want := map[bool]int{true: len(req.Then), false: len(req.Else)}[resp.Succeeded]; len(resp.Responses) != want || resp.Succeeded && req.If != nil {
			t.Errorf("%s: succeeded %v with %d responses, want %d", name, resp.Succeeded, len(resp.Responses), want)
		}
	}
}

// noLeader checks the error of a call that waited for a leader until its time was
// up, possibly during its last try.
func noLeader(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, etcd.ErrTimeout) {
		return
	}
	wants(t, err, etcd.ErrNoLeader, etcd.OutcomeRejected)
	if etcd.MaybeApplied(err) {
		t.Errorf("%v: said to be applied, maybe", err)
	}
}

// Leadership moves during calls. Reads succeed, and so do writes that are refused
// at first. Lost writes are reported as such.
func TestLeaderMoves(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Retry: -1})
	stop := make(chan struct{})
	var calls sync.WaitGroup
	var pairs atomic.Int64
	for i := range 6 {
		calls.Go(func() {
			key := fmt.Sprint("k", i)
			for v := int64(1); ; v++ {
				select {
				case <-stop:
					return
				default:
				}
				unknown := int64(0)
				if _, err := c.Put(t.Context(), etcd.PutRequest{Key: key}); err != nil {
					// A proposal on its way to the old leader may be lost, which
					// the server notices only after seconds.
					wants(t, err, etcd.ErrServerTimeout, etcd.OutcomeUnknown)
					unknown = 1
				}
				kv := stored(t, c, key)
				if kv.Version > v || kv.Version < v-unknown {
					t.Errorf("version %d after %d puts, %d of them unknown", kv.Version, v, unknown)
				}
				if pairs.Add(1); unknown > 0 {
					return
				}
			}
		})
	}
	for i := range 6 {
		leader, err := cluster.Leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		to := cluster.Members()[i%3]
		if to == leader {
			to = cluster.Members()[(i+1)%3]
		}
		status, err := pb.NewMaintenanceClient(official(t, to)).Status(t.Context(), &pb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = pb.NewMaintenanceClient(official(t, leader)).MoveLeader(t.Context(), &pb.MoveLeaderRequest{TargetID: status.Header.MemberId})
		if err != nil {
			t.Logf("move %d: %v", i, err)
		}
		for j := range 10 {
			_, err := c.Put(t.Context(), etcd.PutRequest{Key: "after", Value: []byte{byte(j)}})
			if err != nil {
				wants(t, err, etcd.ErrServerTimeout, etcd.OutcomeUnknown)
			}
		}
	}
	close(stop)
	calls.Wait()
	t.Logf("%d pairs of calls over six moves", pairs.Load())
}
