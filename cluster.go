package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"unicode/utf8"

	"silly.store/etcd/internal/rpc"
)

// Cluster lists and changes the members of the cluster. Get it with
// [Client.Cluster]. Its methods may be called concurrently.
//
// One change at a time is safest: let the cluster be healthy again before the
// next one.
type Cluster struct {
	c *Client
}

// Cluster is the part of the client that is about the cluster's members.
func (c *Client) Cluster() Cluster { return Cluster{c} }

// MemberListRequest is what [Cluster.MemberList] asks for.
type MemberListRequest struct {
	// Serializable lets a member answer from its local state, without asking the
	// leader: it works without a majority, and may be behind.
	Serializable bool
}

// MemberAddRequest is the member that [Cluster.MemberAdd] adds.
type MemberAddRequest struct {
	// PeerURLs are where the other members will reach it, like
	// "http://10.0.0.4:2380". Required.
	PeerURLs []string
	// Learner adds it without a vote, so that it weakens nothing while it
	// catches up; [Cluster.MemberPromote] gives it one.
	Learner bool
}

// MemberRemoveRequest is the member that [Cluster.MemberRemove] removes.
type MemberRemoveRequest struct {
	// ID is required.
	ID uint64
}

// MemberUpdateRequest is what [Cluster.MemberUpdate] changes.
type MemberUpdateRequest struct {
	// ID is required.
	ID uint64
	// PeerURLs take the place of those that the member has. Required.
	PeerURLs []string
}

// MemberPromoteRequest is the learner that [Cluster.MemberPromote] gives a vote.
type MemberPromoteRequest struct {
	// ID is required.
	ID uint64
}

// MemberList lists the members of the cluster.
//
// Errors: those of every call (see [Error]).
//
// etcd: Cluster/MemberList (since 3.0)
func (cl Cluster) MemberList(ctx context.Context, req MemberListRequest) (*MemberListResponse, error) {
	method := rpc.MemberList
	if req.Serializable {
		method = rpc.MemberListLocal
	}
	resp := new(MemberListResponse)
	if err := cl.c.do(ctx, method, &memberListRequest{Linearizable: !req.Serializable}, nil, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// MemberAdd puts a member on record, which is then to be started with
// --initial-cluster-state=existing. A voting member counts for the majority from
// now on, started or not: add a learner first unless the cluster can spare one.
//
// Errors: ErrInvalidRequest, ErrPeerURLExists, ErrTooManyLearners, ErrUnhealthy
// (retried for as long as Config.Retry says: a member that has just started needs some
// seconds), ErrNotEnoughStarted and those of every call (see [Error]). The member may
// have been added if [MaybeApplied] says so: look at [Cluster.MemberList] before
// adding it again.
//
// etcd: Cluster/MemberAdd (since 3.0; Learner 3.4)
func (cl Cluster) MemberAdd(ctx context.Context, req MemberAddRequest) (*MemberAddResponse, error) {
	resp := new(MemberAddResponse)
	wire := memberAddRequest{PeerURLs: req.PeerURLs, IsLearner: req.Learner}
	if err := cl.c.do(ctx, rpc.MemberAdd, &wire, checkPeerURLs(req.PeerURLs), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// MemberRemove takes a member out of the cluster. The member stops by itself if
// it runs, and its ID is never used again.
//
// Errors: ErrInvalidRequest, ErrMemberNotFound, ErrUnhealthy, ErrNotEnoughStarted and
// those of every call (see [Error]). The member may have been removed if
// [MaybeApplied] says so.
//
// etcd: Cluster/MemberRemove (since 3.0)
func (cl Cluster) MemberRemove(ctx context.Context, req MemberRemoveRequest) (*MemberRemoveResponse, error) {
	resp := new(MemberRemoveResponse)
	if err := cl.c.do(ctx, rpc.MemberRemove, &memberRemoveRequest{ID: req.ID}, checkMemberID(req.ID), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// MemberUpdate changes where the other members reach a member.
//
// Errors: ErrInvalidRequest, ErrMemberNotFound, ErrPeerURLExists and those of every
// call (see [Error]). The URLs may have been changed if [MaybeApplied] says so.
//
// etcd: Cluster/MemberUpdate (since 3.0)
func (cl Cluster) MemberUpdate(ctx context.Context, req MemberUpdateRequest) (*MemberUpdateResponse, error) {
	err := checkMemberID(req.ID)
	if err == nil {
		err = checkPeerURLs(req.PeerURLs)
	}
	resp := new(MemberUpdateResponse)
	if err := cl.c.do(ctx, rpc.MemberUpdate, (*memberUpdateRequest)(&req), err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// MemberPromote gives a learner a vote once it has caught up with the leader.
//
// Errors: ErrInvalidRequest, ErrMemberNotFound, ErrLearnerNotReady (it has not caught
// up yet: try again later), ErrMemberNotLearner and those of every call (see [Error]).
// It may have been promoted if [MaybeApplied] says so.
//
// etcd: Cluster/MemberPromote (since 3.4)
func (cl Cluster) MemberPromote(ctx context.Context, req MemberPromoteRequest) (*MemberPromoteResponse, error) {
	resp := new(MemberPromoteResponse)
	if err := cl.c.do(ctx, rpc.MemberPromote, &memberPromoteRequest{ID: req.ID}, checkMemberID(req.ID), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func checkMemberID(id uint64) error {
	if id == 0 {
		return errors.New("ID is 0, which is no member")
	}
	return nil
}

// checkPeerURLs is needed all the more because etcd itself takes anything for
// the URLs of an update.
func checkPeerURLs(urls []string) error {
	if len(urls) == 0 {
		return errors.New(`PeerURLs is empty; give at least one, like "http://10.0.0.4:2380"`)
	}
	for i, s := range urls {
		if err := checkPeerURL(s); err != nil {
			return fmt.Errorf("PeerURLs[%d] %w", i, err)
		}
	}
	return nil
}

func checkPeerURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case !utf8.ValidString(s):
		return fmt.Errorf("%q is not UTF-8", s)
	case err != nil:
		return errors.New("is not a URL; write http://host:port or https://host:port")
	case u.User != nil:
		return errors.New("has a user or password in it, which a peer URL cannot have")
	case u.Scheme == "unix" || u.Scheme == "unixs":
		return nil
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q does not begin with http:// or https://", s)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q has a path or query; a peer URL is only a host and a port", s)
	case u.Hostname() == "":
		return fmt.Errorf("%q has no host", s)
	case u.Port() == "":
		return fmt.Errorf("%q has no port; etcd's peer port is usually 2380", s)
	}
	return nil
}
