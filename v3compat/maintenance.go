package v3compat

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"silly.store/etcd"
	"silly.store/etcd/internal/compat"
)

// maintenanceServer answers the requests of etcd's Maintenance service, which
// name no endpoint: whichever member it is.
type maintenanceServer struct {
	pb.UnimplementedMaintenanceServer
	c       *etcd.Client
	schemes schemes
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
	resp, err := call(ctx, without(s.c.Maintenance().Alarms), nothing{})
	if err != nil {
		return nil, err
	}
	return &pb.AlarmResponse{Header: header(resp.Header), Alarms: alarms(resp.Alarms)}, nil
}

func (s *maintenanceServer) disarm(ctx context.Context, req *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	resp, err := call(ctx, s.c.Maintenance().Disarm, etcd.DisarmRequest{MemberID: req.MemberID, Alarm: etcd.AlarmType(req.Alarm)})
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
	resp, err := call(ctx, s.c.Maintenance().Status, etcd.StatusRequest{Endpoint: s.schemes.own(endpoint)})
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
	resp, err := call(ctx, s.c.Maintenance().HashKV, etcd.HashKVRequest{Endpoint: s.schemes.own(endpoint), Revision: max(revision, 0)})
	if err != nil {
		return nil, err
	}
	return &pb.HashKVResponse{
		Header: header(resp.Header), Hash: resp.Hash, CompactRevision: resp.CompactRevision, HashRevision: resp.HashRevision,
	}, nil
}

func (s *maintenanceServer) defragmentAt(ctx context.Context, endpoint string) (*pb.DefragmentResponse, error) {
	if _, err := call(ctx, s.c.Maintenance().Defragment, etcd.DefragmentRequest{Endpoint: s.schemes.own(endpoint)}); err != nil {
		return nil, err
	}
	return new(pb.DefragmentResponse), nil // etcd sends no header
}

// Hash, HashKV and Defragment go to whichever member answers the next request. client/v3
// names a member for them; requests without one come from generated clients.
func (s *maintenanceServer) Hash(ctx context.Context, req *pb.HashRequest) (*pb.HashResponse, error) {
	return through(ctx, s.c, request{pb.Maintenance_Hash_FullMethodName, reads | byAnyMember}, req, new(pb.HashResponse))
}

func (s *maintenanceServer) HashKV(ctx context.Context, req *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	return through(ctx, s.c, request{pb.Maintenance_HashKV_FullMethodName, reads | byAnyMember}, req, new(pb.HashKVResponse))
}

func (s *maintenanceServer) Defragment(ctx context.Context, req *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
	return through(ctx, s.c, request{pb.Maintenance_Defragment_FullMethodName, byAnyMember}, req, new(pb.DefragmentResponse))
}

// MoveLeader has a member of the endpoints refuse it when the leader cannot be reached, as
// a follower refuses client/v3.
func (s *maintenanceServer) MoveLeader(ctx context.Context, req *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	ctx = compat.WithElectionLimit(ctx, 0)
	move := etcd.MoveLeaderRequest{TargetID: req.TargetID}
	_, err := s.c.Maintenance().MoveLeader(ctx, move)
	for unsent(err) {
		for _, move.Endpoint = range s.c.Endpoints() {
			if _, err = s.c.Maintenance().MoveLeader(ctx, move); !unsent(err) {
				break
			}
		}
		if unsent(err) && !pause(ctx) {
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, asStatus(err)
	}
	return new(pb.MoveLeaderResponse), nil // etcd sends no header
}

func (s *maintenanceServer) Downgrade(ctx context.Context, req *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	downgrade := etcd.DowngradeRequest{Action: etcd.DowngradeAction(req.Action), Version: req.Version}
	resp, err := call(ctx, s.c.Maintenance().Downgrade, downgrade)
	if err != nil {
		return nil, err
	}
	return &pb.DowngradeResponse{Header: header(resp.Header), Version: resp.Version}, nil
}

// pieceOfSnapshot is how many bytes Snapshot sends at a time.
const pieceOfSnapshot = 64 << 10

func (s *maintenanceServer) Snapshot(_ *pb.SnapshotRequest, stream grpc.ServerStreamingServer[pb.SnapshotResponse]) error {
	snapshot, err := call(stream.Context(), s.c.Maintenance().Snapshot, etcd.SnapshotRequest{})
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
// an endpoint. remote is server, maybe behind interceptors.
type maintenance struct {
	server *maintenanceServer
	remote pb.MaintenanceClient
}

func (m *maintenance) AlarmList(ctx context.Context) (*clientv3.AlarmResponse, error) {
	resp, err := m.remote.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
	return (*clientv3.AlarmResponse)(resp), clientv3.ContextError(ctx, err)
}

func (m *maintenance) AlarmDisarm(ctx context.Context, alarm *clientv3.AlarmMember) (*clientv3.AlarmResponse, error) {
	disarm := &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: alarm.MemberID, Alarm: alarm.Alarm}
	resp, err := m.remote.Alarm(ctx, disarm)
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
	snapshot, err := call(ctx, m.server.c.Maintenance().Snapshot, etcd.SnapshotRequest{})
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
	resp, err := m.remote.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: transferee})
	return (*clientv3.MoveLeaderResponse)(resp), clientv3.ContextError(ctx, err)
}

func (m *maintenance) Downgrade(ctx context.Context, action clientv3.DowngradeAction, version string) (*clientv3.DowngradeResponse, error) {
	resp, err := m.remote.Downgrade(ctx, &pb.DowngradeRequest{Action: pb.DowngradeRequest_DowngradeAction(action), Version: version})
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
