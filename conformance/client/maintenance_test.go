package client

import (
	"errors"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// The requested member answers, whether it is an endpoint of the client or only one
// that the cluster advertises.
func TestMaintenanceOfOneMember(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	first := cluster.Endpoints()[0]
	c := connect(t, etcd.Config{Endpoints: []string{strings.TrimPrefix(first, "http://")}})
	m := c.Maintenance()
	ctx := within(t, time.Minute)
	revision := put(t, c, "k", "v")

	ids := map[uint64]bool{}
	hashes := map[uint32]bool{}
	for _, member := range memberList(t, c.Cluster(), etcd.MemberListRequest{}) {
		at := member.ClientURLs[0]
		status, err := m.Status(ctx, etcd.StatusRequest{Endpoint: at})
		if err != nil {
			t.Fatal(err)
		}
		if status.Header.MemberID != member.ID {
			t.Errorf("%x answered for %x", status.Header.MemberID, member.ID)
		}
		ids[status.Header.MemberID] = true
		if status.Version == "" || status.DBSize <= 0 || status.DBSizeInUse <= 0 || status.Leader == 0 || status.RaftTerm == 0 ||
			status.RaftIndex == 0 || status.RaftAppliedIndex == 0 || status.IsLearner || len(status.Errors) > 0 {
			t.Errorf("%+v", status)
		}
		if _, err := m.Defragment(ctx, etcd.DefragmentRequest{Endpoint: at}); err != nil {
			t.Error(err)
		}
		var hash *etcd.HashKVResponse
		eventually(t, "the member to have the write", func() bool {
			hash, err = m.HashKV(ctx, etcd.HashKVRequest{Endpoint: at, Revision: revision})
			return err == nil
		})
		hashes[hash.Hash] = true
		if hash.Header.MemberID != member.ID {
			t.Errorf("%x has hashed for %x", hash.Header.MemberID, member.ID)
		}
		whole, err := m.Hash(ctx, etcd.HashRequest{Endpoint: at})
		if err != nil || whole.Header.MemberID != member.ID || whole.Hash == 0 {
			t.Errorf("%+v, %v", whole, err)
		}
	}
	if len(ids) != 3 || len(hashes) != 1 {
		t.Errorf("members %v, hashes %v", ids, hashes)
	}
	if _, err := m.Status(ctx, etcd.StatusRequest{}); err != nil {
		t.Error(err)
	}
	_, err := m.HashKV(ctx, etcd.HashKVRequest{Endpoint: first, Revision: revision + 1000})
	wants(t, err, etcd.ErrFutureRevision, etcd.OutcomeRejected)
	if calls := get(t, c, etcd.GetRequest{Key: "k"}); calls.Header.MemberID == 0 {
		t.Errorf("%+v", calls.Header)
	}
}

// A member that is down is reported, although others could answer. A member without
// a majority answers about itself.
func TestMaintenanceOfADeadMember(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints(), Retry: -1})
	for _, member := range cluster.Members()[1:] {
		if err := member.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	dead, alone := cluster.Endpoints()[1], cluster.Endpoints()[0]
	for range 3 {
		_, err := c.Maintenance().Status(within(t, 10*time.Second), etcd.StatusRequest{Endpoint: dead})
		wants(t, err, etcd.ErrUnavailable, etcd.OutcomeNotSent)
		mustSay(t, err, "Status", dead)
	}
	eventually(t, "the member to be alone", func() bool {
		status, err := c.Maintenance().Status(t.Context(), etcd.StatusRequest{Endpoint: alone})
		return err == nil && status.Leader == 0
	})
	if _, err := c.Maintenance().HashKV(t.Context(), etcd.HashKVRequest{Endpoint: alone}); err != nil {
		t.Error(err)
	}
	_, err := c.Maintenance().MoveLeader(within(t, 300*time.Millisecond), etcd.MoveLeaderRequest{TargetID: 1})
	if err == nil || etcd.MaybeApplied(err) {
		t.Errorf("moved without a majority: %v", err)
	}
}

func TestMoveLeader(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, etcdtest.ClusterConfig{})
	// The client's only endpoint need not be the leader.
	c := connect(t, etcd.Config{Endpoints: cluster.Endpoints()[:1]})
	m := c.Maintenance()
	ctx := within(t, time.Minute)
	list := memberList(t, c.Cluster(), etcd.MemberListRequest{})
	for i := range 6 {
		target := list[i%3].ID
		if _, err := m.MoveLeader(ctx, etcd.MoveLeaderRequest{TargetID: target}); err != nil {
			t.Fatal(err)
		}
		// The old leader has seen the new one; the others are about to.
		eventually(t, "all to know the new leader", func() bool {
			status, err := m.Status(ctx, etcd.StatusRequest{})
			return err == nil && status.Leader == target
		})
	}
	_, err := m.MoveLeader(ctx, etcd.MoveLeaderRequest{TargetID: 4711})
	wants(t, err, etcd.ErrBadLeaderTransferee, etcd.OutcomeRejected)

	leader := list[5%3]
	for _, member := range list {
		_, err := m.MoveLeader(ctx, etcd.MoveLeaderRequest{TargetID: leader.ID, Endpoint: member.ClientURLs[0]})
		if member.ID == leader.ID && err != nil {
			t.Errorf("to the leader itself: %v", err)
		} else if member.ID != leader.ID {
			wants(t, err, etcd.ErrNotLeader, etcd.OutcomeRejected)
		}
	}
}

// A full database raises an alarm. The alarm is listed and disarmed, and writes
// succeed again.
func TestAlarms(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{QuotaBytes: 1 << 20}, etcd.Config{Retry: -1})
	m := c.Maintenance()
	ctx := within(t, time.Minute)
	none, err := m.Alarms(ctx)
	if err != nil || len(none.Alarms) != 0 {
		t.Fatalf("%+v, %v", none, err)
	}
	value := []byte(strings.Repeat("v", 100<<10))
	eventually(t, "the quota to be reached", func() bool {
		_, err := c.Put(ctx, etcd.PutRequest{Key: "k", Value: value})
		return errors.Is(err, etcd.ErrNoSpace)
	})
	var raised *etcd.AlarmsResponse
	eventually(t, "the alarm", func() bool {
		raised, err = m.Alarms(ctx)
		return err == nil && len(raised.Alarms) == 1
	})
	id := raised.Header.MemberID
	if a := raised.Alarms[0]; a.Alarm != etcd.AlarmNoSpace || a.MemberID != id || a.Alarm.String() != "NOSPACE" {
		t.Errorf("%+v", raised)
	}
	if status, err := m.Status(ctx, etcd.StatusRequest{}); err != nil || len(status.Errors) != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	for _, req := range []etcd.DisarmRequest{{Alarm: etcd.AlarmCorrupt}, {MemberID: 1}, {MemberID: id, Alarm: etcd.AlarmCorrupt}} {
		if got, err := m.Disarm(ctx, req); err != nil || len(got.Alarms) != 0 || got.Header.MemberID != id {
			t.Errorf("%+v disarmed %+v, %v", req, got, err)
		}
	}
	if _, err := c.Compact(ctx, etcd.CompactRequest{Revision: get(t, c, etcd.GetRequest{Key: "k"}).Header.Revision, Physical: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Defragment(ctx, etcd.DefragmentRequest{Endpoint: s.Endpoints()[0]}); err != nil {
		t.Fatal(err)
	}
	got, err := m.Disarm(ctx, etcd.DisarmRequest{})
	if err != nil || len(got.Alarms) != 1 || got.Alarms[0].Alarm != etcd.AlarmNoSpace {
		t.Errorf("disarmed %+v, %v", got, err)
	}
	put(t, c, "k", "v")
	if again, err := m.Disarm(ctx, etcd.DisarmRequest{}); err != nil || len(again.Alarms) != 0 || again.Header.MemberID != id {
		t.Errorf("with none left: %+v, %v", again, err)
	}
}

func TestDowngrade(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{}, etcd.Config{})
	m := c.Maintenance()
	ctx := within(t, time.Minute)
	status, err := m.Status(ctx, etcd.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	before := map[string]string{"3.5": "3.4", "3.6": "3.5", "3.7": "3.6"}[status.Version[:3]]
	validate := func(version string) error {
		return second(m.Downgrade(ctx, etcd.DowngradeRequest{Version: version}))
	}
	eventually(t, "the cluster's version", func() bool { return !errors.Is(validate(before), etcd.ErrClusterVersionUnknown) })
	if err := validate(before); err != nil {
		t.Error(err)
	}
	wants(t, validate("1.0"), etcd.ErrInvalidDowngradeVersion, etcd.OutcomeRejected)
	wants(t, validate("three"), etcd.ErrInvalidRequest, etcd.OutcomeRejected)
	// etcd 3.5 applies a change but never answers.
	change := func(req etcd.DowngradeRequest) {
		t.Helper()
		resp, err := m.Downgrade(ctx, req)
		if status.Version[:3] == "3.5" {
			wants(t, err, etcd.ErrServerTimeout, etcd.OutcomeUnknown)
		} else if err != nil || !strings.HasPrefix(resp.Version, status.Version[:3]) {
			t.Fatalf("%+v, %v", resp, err)
		}
	}
	change(etcd.DowngradeRequest{Action: etcd.DowngradeEnable, Version: before})
	wants(t, validate(before), etcd.ErrDowngradeInProgress, etcd.OutcomeRejected)
	if status, err := m.Status(ctx, etcd.StatusRequest{}); err != nil || status.StorageVersion != "" && status.DowngradeInfo != (etcd.DowngradeInfo{Enabled: true, TargetVersion: before + ".0"}) {
		t.Errorf("%+v, %v", status, err)
	}
	change(etcd.DowngradeRequest{Action: etcd.DowngradeCancel})
	if err := validate(before); err != nil {
		t.Errorf("after it was cancelled: %v", err)
	}
}

func TestMaintenanceRequestsRefused(t *testing.T) {
	t.Parallel()
	m := connect(t, etcd.Config{}).Maintenance()
	ctx := t.Context()
	for text, err := range map[string]error{
		"DefragmentRequest.Endpoint is empty":             second(m.Defragment(ctx, etcd.DefragmentRequest{})),
		"HashRequest.Endpoint is empty":                   second(m.Hash(ctx, etcd.HashRequest{})),
		"HashKVRequest.Endpoint is empty":                 second(m.HashKV(ctx, etcd.HashKVRequest{})),
		"HashKVRequest.Revision is negative":              second(m.HashKV(ctx, etcd.HashKVRequest{Endpoint: "h:1", Revision: -1})),
		"StatusRequest.Endpoint \"h\" has no port":        second(m.Status(ctx, etcd.StatusRequest{Endpoint: "h"})),
		"StatusRequest.Endpoint has a user or password":   second(m.Status(ctx, etcd.StatusRequest{Endpoint: "http://u:secret@h:1"})),
		"MoveLeaderRequest.TargetID is 0":                 second(m.MoveLeader(ctx, etcd.MoveLeaderRequest{})),
		"MoveLeaderRequest.Endpoint \"h\" has no port":    second(m.MoveLeader(ctx, etcd.MoveLeaderRequest{TargetID: 1, Endpoint: "h"})),
		"DisarmRequest.Alarm is 3":                        second(m.Disarm(ctx, etcd.DisarmRequest{Alarm: 3})),
		"DisarmRequest.Alarm is -1":                       second(m.Disarm(ctx, etcd.DisarmRequest{MemberID: 1, Alarm: -1})),
		"DowngradeRequest.Action is 3":                    second(m.Downgrade(ctx, etcd.DowngradeRequest{Action: 3})),
		"DowngradeRequest.Version is empty":               second(m.Downgrade(ctx, etcd.DowngradeRequest{})),
		"DowngradeRequest.Version \"\\xff\" is not UTF-8": second(m.Downgrade(ctx, etcd.DowngradeRequest{Version: "\xff"})),
	} {
		refused(t, err, etcd.ErrInvalidRequest, text)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("it shows the password: %v", err)
		}
	}
}

// Naming a member of another cluster does not make it one of ours.
func TestMaintenanceOfAForeignMember(t *testing.T) {
	t.Parallel()
	foreign, _ := private(t, etcdtest.Config{}, etcd.Config{})
	c := connect(t, etcd.Config{Retry: -1})
	put(t, c, ownKeys(t), "v")
	at := foreign.Endpoints()[0]
	err := second(c.Maintenance().Defragment(within(t, 10*time.Second), etcd.DefragmentRequest{Endpoint: at}))
	wants(t, err, etcd.ErrForeignCluster, etcd.OutcomeNotSent)
	err = second(c.Maintenance().Snapshot(within(t, 10*time.Second), etcd.SnapshotRequest{Endpoint: at}))
	wants(t, err, etcd.ErrForeignCluster, etcd.OutcomeNotSent)
	put(t, c, ownKeys(t), "v")
}
