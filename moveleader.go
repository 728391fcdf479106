package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// leaderTries is how often the leader is looked for while leadership moves by
// itself.
const leaderTries = 3

// MoveLeader makes another member the leader and returns once that leads. The
// request has to reach the present leader, which is found by its advertised
// client URLs or, where these do not work from here, among the client's
// endpoints.
//
// Errors: ErrInvalidRequest, ErrBadLeaderTransferee, ErrNotLeader (the member at
// req.Endpoint does not lead), ErrNoLeader, ErrServerTimeout and those of every
// call. It may have been done if [MaybeApplied] says so.
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
	rpc, err := m.at(&rpcMoveLeader, endpoint)
	if err == nil {
		err = req.check()
	}
	resp := new(MoveLeaderResponse)
	if err := m.c.do(ctx, rpc, &moveLeaderRequest{TargetID: req.TargetID}, err, resp); err != nil {
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
	if err := m.c.do(ctx, &rpcFindLeader, &statusRequest{}, nil, &status); err != nil {
		return "", err
	}
	var list MemberListResponse
	if err := m.c.do(ctx, &rpcFindMembers, &memberListRequest{Linearizable: true}, nil, &list); err != nil {
		return "", err
	}
	var urls []string
	for _, member := range list.Members {
		if member.ID == status.Leader {
			urls = member.ClientURLs
		}
	}
	for _, endpoint := range append(slices.Clone(urls), m.c.set.Endpoints()...) {
		if m.answersAt(ctx, endpoint, status.Leader) {
			return endpoint, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return "", &Error{
		Op: rpcMoveLeader.op, Code: CodeUnavailable, Outcome: NotSent, Attempts: 1, sentinel: ErrUnavailable, cause: ctx.Err(),
		Message: fmt.Sprintf("the leader, member %x, answers neither at its client URLs %q nor at an endpoint of the client", status.Leader, urls),
	}
}

// answersAt reports whether the member with that ID is the one at endpoint. It
// asks once.
func (m Maintenance) answersAt(ctx context.Context, endpoint string, id uint64) bool {
	rpc, err := m.at(&rpcFindLeaderAt, endpoint)
	if err != nil {
		return false
	}
	reply, e := m.c.attempt(ctx, rpc, nil)
	var resp StatusResponse
	return e == nil && resp.decodeWire(reply) == nil && resp.Header.MemberID == id
}
