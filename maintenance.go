package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
)

// Maintenance looks after the members of the cluster. Get it with
// [Client.Maintenance]. Its methods may be called concurrently.
//
// Requests with a field Endpoint are meant for one member. Endpoint is written
// as in [Config.Endpoints]: one of these, or another, like one of
// [Member.ClientURLs]. One that is not in use otherwise is connected to for such
// requests only, with Config.TLS and the client's user, and takes no others. Name
// only endpoints of this cluster.
type Maintenance struct {
	c *Client
}

// Maintenance is the part of the client that looks after the members.
func (c *Client) Maintenance() Maintenance { return Maintenance{c} }

// StatusRequest is what [Maintenance.Status] asks for.
type StatusRequest struct {
	// Endpoint is the member to ask; empty means any.
	Endpoint string
}

// DisarmRequest is what [Maintenance.Disarm] disarms.
type DisarmRequest struct {
	// MemberID is the member that the alarm is about; 0 means every member.
	MemberID uint64
	// Alarm is the kind of alarm; AlarmNone means every kind.
	Alarm AlarmType
}

// DisarmResponse is the answer of [Maintenance.Disarm].
type DisarmResponse struct {
	Header ResponseHeader
	// Alarms are those that were disarmed.
	Alarms []AlarmMember
}

// DefragmentRequest is the member that [Maintenance.Defragment] defragments.
type DefragmentRequest struct {
	// Endpoint is required.
	Endpoint string
}

// HashRequest is the member that [Maintenance.Hash] asks.
type HashRequest struct {
	// Endpoint is required.
	Endpoint string
}

// HashKVRequest is what [Maintenance.HashKV] asks for.
type HashKVRequest struct {
	// Endpoint is required.
	Endpoint string
	// Revision is up to which to hash; 0 means the member's current one. To
	// compare members give each the same.
	Revision int64
}

// MoveLeaderRequest is what [Maintenance.MoveLeader] does.
type MoveLeaderRequest struct {
	// TargetID is the member that becomes the leader. Required.
	TargetID uint64
	// Endpoint is the endpoint of the present leader; if empty, the client finds it.
	Endpoint string
}

// DowngradeRequest is what [Maintenance.Downgrade] does.
type DowngradeRequest struct {
	// Action is what to do; the zero value, DowngradeValidate, changes nothing.
	Action DowngradeAction
	// Version is the version to downgrade to, like "3.5": the minor version
	// before the cluster's. Required, but for DowngradeCancel.
	Version string
}

// Status returns a member's state: its version, its database, and what it knows about
// the leader. A member answers even without a leader.
//
// Errors: ErrInvalidRequest and those of every call (see [Error]).
//
// etcd: Maintenance/Status (since 3.0)
func (m Maintenance) Status(ctx context.Context, req StatusRequest) (*StatusResponse, error) {
	member, err := m.member(req.Endpoint)
	resp := new(StatusResponse)
	if err := m.c.doAt(ctx, rpc.Status, member, &statusRequest{}, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// Alarms lists the alarms that are raised.
//
// Errors: those of every call (see [Error]).
//
// etcd: Maintenance/Alarm (since 3.0)
func (m Maintenance) Alarms(ctx context.Context) (*AlarmsResponse, error) {
	resp := new(AlarmsResponse)
	if err := m.c.do(ctx, rpc.Alarms, &alarmRequest{Action: alarmGet}, nil, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// Disarm takes back alarms once their cause is gone, so that the cluster accepts
// writes again. Where req leaves the member or the kind open, the alarms that are
// raised are listed first, and those that fit are disarmed one by one.
//
// Errors: ErrInvalidRequest and those of every call (see [Error]). Alarms may have
// been disarmed if [MaybeApplied] says so; after an error some of several may be, too.
//
// etcd: Maintenance/Alarm (since 3.0)
func (m Maintenance) Disarm(ctx context.Context, req DisarmRequest) (*DisarmResponse, error) {
	if req.MemberID != 0 && req.Alarm != AlarmNone {
		return m.disarm(ctx, []AlarmMember{{req.MemberID, req.Alarm}})
	}
	raised := new(AlarmsResponse)
	if err := m.c.do(ctx, rpc.DisarmList, &alarmRequest{Action: alarmGet}, req.Alarm.check(), raised); err != nil {
		return nil, err
	}
	wanted := slices.DeleteFunc(raised.Alarms, func(a AlarmMember) bool {
		return req.MemberID != 0 && a.MemberID != req.MemberID || req.Alarm != AlarmNone && a.Alarm != req.Alarm
	})
	resp, err := m.disarm(ctx, wanted)
	if err == nil && len(wanted) == 0 {
		resp.Header = raised.Header
	}
	return resp, err
}

func (m Maintenance) disarm(ctx context.Context, alarms []AlarmMember) (*DisarmResponse, error) {
	out := new(DisarmResponse)
	for _, a := range alarms {
		wire := alarmRequest{Action: alarmDeactivate, MemberID: a.MemberID, Alarm: a.Alarm}
		var resp AlarmsResponse
		if err := m.c.do(ctx, rpc.Disarm, &wire, a.Alarm.check(), &resp); err != nil {
			return nil, err
		}
		out.Header = resp.Header
		out.Alarms = append(out.Alarms, resp.Alarms...)
	}
	return out, nil
}

func (a AlarmType) check() error {
	if a < AlarmNone || a > AlarmCorrupt {
		return fmt.Errorf("Alarm is %d; use AlarmNone, AlarmNoSpace or AlarmCorrupt", a)
	}
	return nil
}

// Defragment gives the unused pages of a member's database file back to its file
// system. The member answers nothing else meanwhile, which may take long: do one
// member after the other, the leader last. Config.Timeout does not bound it, only
// ctx does.
//
// Errors: ErrInvalidRequest, ErrNotSupportedForLearner and those of every call (see
// [Error]). If [MaybeApplied] says so the member may have done it, or be at it.
//
// etcd: Maintenance/Defragment (since 3.0)
func (m Maintenance) Defragment(ctx context.Context, req DefragmentRequest) (*DefragmentResponse, error) {
	member, err := m.one(req.Endpoint)
	resp := new(DefragmentResponse)
	if err := m.c.doAt(ctx, rpc.Defragment, member, &defragmentRequest{}, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// Hash hashes the whole database of a member, which takes long. The hashes of members
// with the same data need not be the same: use [Maintenance.HashKV] to compare members.
// Config.Timeout does not bound it, only ctx does.
//
// Errors: ErrInvalidRequest, ErrNotSupportedForLearner and those of every call (see
// [Error]).
//
// etcd: Maintenance/Hash (since 3.0)
func (m Maintenance) Hash(ctx context.Context, req HashRequest) (*HashResponse, error) {
	member, err := m.one(req.Endpoint)
	resp := new(HashResponse)
	if err := m.c.doAt(ctx, rpc.Hash, member, &hashRequest{}, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// HashKV hashes the keys of a member with their history since the last
// compaction: the same revision on another member gives the same hash, if both
// have compacted the same. It may take long; Config.Timeout does not bound it,
// only ctx does.
//
// Errors: ErrInvalidRequest, ErrCompacted, ErrFutureRevision (the member may be
// behind), ErrNotSupportedForLearner and those of every call (see [Error]).
//
// etcd: Maintenance/HashKV (since 3.3)
func (m Maintenance) HashKV(ctx context.Context, req HashKVRequest) (*HashKVResponse, error) {
	member, err := m.one(req.Endpoint)
	if err == nil && req.Revision < 0 {
		err = fmt.Errorf("Revision is negative: %d", req.Revision)
	}
	resp := new(HashKVResponse)
	if err := m.c.doAt(ctx, rpc.HashKV, member, &hashKVRequest{Revision: req.Revision}, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// Downgrade prepares the cluster for members of the minor version before its own,
// or asks whether that can be done, or takes it back.
//
// Errors: ErrInvalidRequest, ErrInvalidDowngradeVersion, ErrDowngradeInProgress,
// ErrNoDowngrade (etcd 3.5; later ones do nothing then), ErrClusterVersionUnknown
// and those of every call (see [Error]). It may have been done if [MaybeApplied] says so:
// [StatusResponse] shows it. etcd 3.5 does it and then never answers, which ends with
// ErrServerTimeout after some seconds.
//
// etcd: Maintenance/Downgrade (since 3.5; downgrades of members since 3.6)
func (m Maintenance) Downgrade(ctx context.Context, req DowngradeRequest) (*DowngradeResponse, error) {
	method := rpc.Downgrade
	if req.Action == DowngradeValidate {
		method = rpc.DowngradeValidate
	}
	resp := new(DowngradeResponse)
	if err := m.c.do(ctx, method, (*downgradeRequest)(&req), req.check(), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func (r *DowngradeRequest) check() error {
	switch {
	case r.Action < DowngradeValidate || r.Action > DowngradeCancel:
		return fmt.Errorf("Action is %d; use DowngradeValidate, DowngradeEnable or DowngradeCancel", r.Action)
	case r.Action != DowngradeCancel && r.Version == "":
		return errors.New(`Version is empty; give the minor version before the cluster's, like "3.5"`)
	case !utf8.ValidString(r.Version):
		return fmt.Errorf("Version %q is not UTF-8", r.Version)
	}
	return nil
}

// member is the one at endpoint; nil, which means any, if endpoint is empty.
func (m Maintenance) member(endpoint string) (*balance.Endpoint, error) {
	if endpoint == "" {
		return nil, nil
	}
	e, err := balance.ParseEndpoint(endpoint, m.c.endpoints.tls)
	if err != nil {
		return nil, fmt.Errorf("Endpoint %w", err)
	}
	return &e, nil
}

// one is member for requests that make no sense without an endpoint.
func (m Maintenance) one(endpoint string) (*balance.Endpoint, error) {
	if endpoint == "" {
		return nil, errors.New("Endpoint is empty; name the member that it is meant for")
	}
	return m.member(endpoint)
}

// leaderTries is how often the client looks for the leader while leadership moves.
const leaderTries = 3

// MoveLeader makes another member the leader and returns when that member leads. The
// request has to reach the current leader. The client finds it by the leader's
// advertised client URLs or, where these do not work from here, among its own
// endpoints.
//
// Errors: ErrInvalidRequest, ErrBadLeaderTransferee, ErrNotLeader (the member at
// req.Endpoint does not lead), ErrNoLeader, ErrServerTimeout and those of every call
// (see [Error]). It may have been done if [MaybeApplied] says so.
//
// etcd: Maintenance/MoveLeader (since 3.3)
func (m Maintenance) MoveLeader(ctx context.Context, req MoveLeaderRequest) (*MoveLeaderResponse, error) {
	if req.Endpoint != "" || ctx == nil || req.check() != nil {
		return m.moveLeader(ctx, &req, req.Endpoint)
	}
	for try := 1; ; try++ {
		endpoint, err := m.leader(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := m.moveLeader(ctx, &req, endpoint)
		if err == nil || try == leaderTries || !errors.Is(err, ErrNotLeader) {
			return resp, err
		}
	}
}

func (m Maintenance) moveLeader(ctx context.Context, req *MoveLeaderRequest, endpoint string) (*MoveLeaderResponse, error) {
	member, err := m.member(endpoint)
	if err == nil {
		err = req.check()
	}
	resp := new(MoveLeaderResponse)
	if err := m.c.doAt(ctx, rpc.MoveLeader, member, &moveLeaderRequest{TargetID: req.TargetID}, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func (r *MoveLeaderRequest) check() error {
	if r.TargetID == 0 {
		return errors.New("TargetID is 0, which is no member")
	}
	return nil
}

// leader finds an endpoint at which the leader answers.
func (m Maintenance) leader(ctx context.Context) (string, error) {
	var status StatusResponse
	if err := m.c.do(ctx, rpc.FindLeader, &statusRequest{}, nil, &status); err != nil {
		return "", err
	}
	var list MemberListResponse
	if err := m.c.do(ctx, rpc.FindMembers, &memberListRequest{Linearizable: true}, nil, &list); err != nil {
		return "", err
	}
	var urls []string
	for _, member := range list.Members {
		if member.ID == status.Leader {
			urls = member.ClientURLs
		}
	}
	for _, endpoint := range append(slices.Clone(urls), m.c.Endpoints()...) {
		if m.answersAt(ctx, endpoint, status.Leader) {
			return endpoint, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return "", &Error{
		Op: rpc.MoveLeader.Op, Code: CodeUnavailable, Outcome: OutcomeNotSent, Attempts: 1, sentinel: ErrUnavailable, cause: ctx.Err(),
		Message: fmt.Sprintf("the leader, member %x, answers neither at its client URLs %q nor at an endpoint of the client", status.Leader, urls),
	}
}

// leaderPatience is how long the client waits for one address to answer while it looks for
// the leader.
const leaderPatience = 5 * time.Second

// answersAt reports whether the member with that ID is the one at endpoint. It
// asks once.
func (m Maintenance) answersAt(ctx context.Context, endpoint string, id uint64) bool {
	member, err := m.member(endpoint)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, leaderPatience)
	defer cancel()
	reply, e := m.c.engine.Once(ctx, call.Request{Method: rpc.FindLeaderAt, Member: member})
	var resp StatusResponse
	return e == nil && resp.decodeWire(reply) == nil && resp.Header.MemberID == id
}
