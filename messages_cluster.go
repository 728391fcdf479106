package etcd

// Member is a member of the cluster, as the cluster has it on record.
//
//etcd:message etcdserverpb.Member
type Member struct {
	// ID is the member's ID, which the cluster has chosen.
	ID uint64 `etcd:"1"`
	// Name is the member's --name, which need not be unique.
	// Empty until it has started.
	Name string `etcd:"2"`
	// PeerURLs are where the other members reach it.
	PeerURLs []string `etcd:"3"`
	// ClientURLs are where clients shall reach it, as it advertises them; from
	// outside of its network that may not work. None until it has started.
	ClientURLs []string `etcd:"4"`
	// IsLearner: it receives the log and has no vote.
	IsLearner bool `etcd:"5"`
}

//etcd:message etcdserverpb.MemberAddRequest
type memberAddRequest struct {
	PeerURLs  []string `etcd:"1"`
	IsLearner bool     `etcd:"2"`
}

// MemberAddResponse is the answer of [Cluster.MemberAdd].
//
//etcd:message etcdserverpb.MemberAddResponse
type MemberAddResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Member is the new member. It has no name before it starts.
	Member Member `etcd:"2"`
	// Members are all members, the new one included: what a new member's
	// --initial-cluster is made of.
	Members []Member `etcd:"3"`
}

//etcd:message etcdserverpb.MemberRemoveRequest
type memberRemoveRequest struct {
	ID uint64 `etcd:"1"`
}

// MemberRemoveResponse is the answer of [Cluster.MemberRemove].
//
//etcd:message etcdserverpb.MemberRemoveResponse
type MemberRemoveResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Members are those that are left.
	Members []Member `etcd:"2"`
}

//etcd:message etcdserverpb.MemberUpdateRequest
type memberUpdateRequest struct {
	ID       uint64   `etcd:"1"`
	PeerURLs []string `etcd:"2"`
}

// MemberUpdateResponse is the answer of [Cluster.MemberUpdate].
//
//etcd:message etcdserverpb.MemberUpdateResponse
type MemberUpdateResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Members are all members, after the change.
	Members []Member `etcd:"2"`
}

//etcd:message etcdserverpb.MemberListRequest
type memberListRequest struct {
	Linearizable bool `etcd:"1"`
}

// MemberListResponse is the answer of [Cluster.MemberList].
//
//etcd:message etcdserverpb.MemberListResponse
type MemberListResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Members are all members, learners included, in no order.
	Members []Member `etcd:"2"`
}

//etcd:message etcdserverpb.MemberPromoteRequest
type memberPromoteRequest struct {
	ID uint64 `etcd:"1"`
}

// MemberPromoteResponse is the answer of [Cluster.MemberPromote].
//
//etcd:message etcdserverpb.MemberPromoteResponse
type MemberPromoteResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Members are all members, after the change.
	Members []Member `etcd:"2"`
}
