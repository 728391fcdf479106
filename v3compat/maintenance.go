package v3compat

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"silly.store/etcd"
)

// maintenanceServer answers the requests of etcd's Maintenance service, which
// name no endpoint: whichever member it is.
type maintenanceServer struct {
	pb.UnimplementedMaintenanceServer
	c *etcd.Client
}

func (s *maintenanceServer) Alarm(ctx context.Context, req *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	switch req.Action {
	case pb.AlarmRequest_GET:
		return s.alarms(ctx)
	case pb.AlarmRequest_DEACTIVATE:
		return s.disarm(ctx, req)
	}
	return nil, statusErrorf("action %v of an alarm is not for clients", req.Action)
}

func (s *maintenanceServer) alarms(ctx context.Context) (*pb.AlarmResponse, error) {
	resp, err := call(ctx, s.c, without(s.c.Maintenance().Alarms), nothing{})
	if err != nil {
		return nil, err
	}
	return &pb.AlarmResponse{Header: header(resp.Header), Alarms: alarms(resp.Alarms)}, nil
}

func (s *maintenanceServer) disarm(ctx context.Context, req *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	resp, err := call(ctx, s.c, s.c.Maintenance().Disarm, etcd.DisarmRequest{MemberID: req.MemberID, Alarm: etcd.AlarmType(req.Alarm)})
	if err != nil {
		return nil, err
	}
	return &pb.AlarmResponse{Header: header(resp.Header), Alarms: alarms(resp.Alarms)}, nil
}

func alarms(list []etcd.AlarmMember) []*pb.AlarmMember {
	out := make([]*pb.AlarmMember, len(list))
	for i, a := range list {
		out[i] = &pb.AlarmMember{MemberID: a.MemberID, Alarm: pb.AlarmType(a.Alarm)}
	}
	return out
}

func (s *maintenanceServer) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	return s.statusOf(ctx, "")
}

func (s *maintenanceServer) statusOf(ctx context.Context, endpoint string) (*pb.StatusResponse, error) {
	resp, err := call(ctx, s.c, s.c.Maintenance().Status, etcd.StatusRequest{Endpoint: endpoint})
	if err != nil {
		return nil, err
	}
	out := &pb.StatusResponse{
		Header: header(resp.Header), Version: resp.Version, DbSize: resp.DBSize, Leader: resp.Leader,
		RaftIndex: resp.RaftIndex, RaftTerm: resp.RaftTerm, RaftAppliedIndex: resp.RaftAppliedIndex,
		Errors: resp.Errors, DbSizeInUse: resp.DBSizeInUse, IsLearner: resp.IsLearner,
		StorageVersion: resp.StorageVersion, DbSizeQuota: resp.DBSizeQuota,
	}
	if resp.DowngradeInfo != (etcd.DowngradeInfo{}) || resp.StorageVersion != "" {
		out.DowngradeInfo = &pb.DowngradeInfo{Enabled: resp.DowngradeInfo.Enabled, TargetVersion: resp.DowngradeInfo.TargetVersion}
	}
	return out, nil
}

func (s *maintenanceServer) hashKVOf(ctx context.Context, endpoint string, revision int64) (*pb.HashKVResponse, error) {
	resp, err := call(ctx, s.c, s.c.Maintenance().HashKV, etcd.HashKVRequest{Endpoint: endpoint, Revision: max(revision, 0)})
	if err != nil {
		return nil, err
	}
	return &pb.HashKVResponse{
		Header: header(resp.Header), Hash: resp.Hash, CompactRevision: resp.CompactRevision, HashRevision: resp.HashRevision,
	}, nil
}

func (s *maintenanceServer) defragmentAt(ctx context.Context, endpoint string) (*pb.DefragmentResponse, error) {
	if _, err := call(ctx, s.c, s.c.Maintenance().Defragment, etcd.DefragmentRequest{Endpoint: endpoint}); err != nil {
		return nil, err
	}
	return new(pb.DefragmentResponse), nil // etcd sends no header
}

func (s *maintenanceServer) MoveLeader(ctx context.Context, req *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	if _, err := call(ctx, s.c, s.c.Maintenance().MoveLeader, etcd.MoveLeaderRequest{TargetID: req.TargetID}); err != nil {
		return nil, err
	}
	return new(pb.MoveLeaderResponse), nil // etcd sends no header
}

func (s *maintenanceServer) Downgrade(ctx context.Context, req *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	downgrade := etcd.DowngradeRequest{Action: etcd.DowngradeAction(req.Action), Version: req.Version}
	resp, err := call(ctx, s.c, s.c.Maintenance().Downgrade, downgrade)
	if err != nil {
		return nil, err
	}
	return &pb.DowngradeResponse{Header: header(resp.Header), Version: resp.Version}, nil
}

// pieceOfSnapshot is how many bytes Snapshot sends at a time.
const pieceOfSnapshot = 64 << 10

func (s *maintenanceServer) Snapshot(_ *pb.SnapshotRequest, stream grpc.ServerStreamingServer[pb.SnapshotResponse]) error {
	snapshot, err := call(stream.Context(), s.c, s.c.Maintenance().Snapshot, etcd.SnapshotRequest{})
	if err != nil {
		return err
	}
	defer func() { _ = snapshot.Close() }()
	for {
		blob := make([]byte, pieceOfSnapshot)
		n, err := snapshot.Read(blob)
		if n > 0 {
			piece := &pb.SnapshotResponse{
				Header: header(snapshot.Header()), Version: snapshot.StorageVersion(), Blob: blob[:n],
				RemainingBytes: uint64(max(snapshot.Size()-snapshot.Received(), 0)),
			}
			if err := stream.Send(piece); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return asStatus(err)
		}
	}
}

// maintenance is the Maintenance interface of client/v3, whose methods may name
// an endpoint.
type maintenance struct {
	server *maintenanceServer
}

func (m *maintenance) AlarmList(ctx context.Context) (*clientv3.AlarmResponse, error) {
	resp, err := m.server.alarms(ctx)
	return (*clientv3.AlarmResponse)(resp), clientv3.ContextError(ctx, err)
}

func (m *maintenance) AlarmDisarm(ctx context.Context, alarm *clientv3.AlarmMember) (*clientv3.AlarmResponse, error) {
	resp, err := m.server.disarm(ctx, &pb.AlarmRequest{MemberID: alarm.MemberID, Alarm: alarm.Alarm})
	return (*clientv3.AlarmResponse)(resp), clientv3.ContextError(ctx, err)
}

func (m *maintenance) Defragment(ctx context.Context, endpoint string) (*clientv3.DefragmentResponse, error) {
	resp, err := m.server.defragmentAt(ctx, endpoint)
	return (*clientv3.DefragmentResponse)(resp), clientv3.ContextError(ctx, err)
}

func (m *maintenance) Status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	resp, err := m.server.statusOf(ctx, endpoint)
	return (*clientv3.StatusResponse)(resp), clientv3.ContextError(ctx, err)
}

func (m *maintenance) HashKV(ctx context.Context, endpoint string, revision int64) (*clientv3.HashKVResponse, error) {
	resp, err := m.server.hashKVOf(ctx, endpoint, revision)
	return (*clientv3.HashKVResponse)(resp), clientv3.ContextError(ctx, err)
}

func (m *maintenance) SnapshotWithVersion(ctx context.Context) (*clientv3.SnapshotResponse, error) {
	snapshot, err := call(ctx, m.server.c, m.server.c.Maintenance().Snapshot, etcd.SnapshotRequest{})
	if err != nil {
		return nil, clientv3.ContextError(ctx, err)
	}
	return &clientv3.SnapshotResponse{
		Header: header(snapshot.Header()), Snapshot: snapshotReader{snapshot}, Version: snapshot.StorageVersion(),
	}, nil
}

func (m *maintenance) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	resp, err := m.SnapshotWithVersion(ctx)
	if err != nil {
		return nil, err
	}
	return resp.Snapshot, nil
}

func (m *maintenance) MoveLeader(ctx context.Context, transferee uint64) (*clientv3.MoveLeaderResponse, error) {
	resp, err := m.server.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: transferee})
	return (*clientv3.MoveLeaderResponse)(resp), clientv3.ContextError(ctx, err)
}

func (m *maintenance) Downgrade(ctx context.Context, action clientv3.DowngradeAction, version string) (*clientv3.DowngradeResponse, error) {
	resp, err := m.server.Downgrade(ctx, &pb.DowngradeRequest{Action: pb.DowngradeRequest_DowngradeAction(action), Version: version})
	return (*clientv3.DowngradeResponse)(resp), clientv3.ContextError(ctx, err)
}

// snapshotReader translates the errors of a snapshot.
type snapshotReader struct{ *etcd.Snapshot }

func (r snapshotReader) Read(p []byte) (int, error) {
	n, err := r.Snapshot.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = translate(err)
	}
	return n, err
}
