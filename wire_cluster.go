package etcd

//etcd:message etcdserverpb.Member
type member struct {
	ID         uint64   `etcd:"1"`
	Name       string   `etcd:"2"` // empty while the member has not started
	PeerURLs   []string `etcd:"3"`
	ClientURLs []string `etcd:"4"` // none while the member has not started
	IsLearner  bool     `etcd:"5"`
}

//etcd:message etcdserverpb.MemberAddRequest
type memberAddRequest struct {
	PeerURLs  []string `etcd:"1"`
	IsLearner bool     `etcd:"2"`
}

//etcd:message etcdserverpb.MemberAddResponse
type memberAddResponse struct {
	Header  ResponseHeader `etcd:"1"`
	Member  member         `etcd:"2"` // the one that was added
	Members []member       `etcd:"3"` // all of them, after it was added
}

//etcd:message etcdserverpb.MemberRemoveRequest
type memberRemoveRequest struct {
	ID uint64 `etcd:"1"`
}

//etcd:message etcdserverpb.MemberRemoveResponse
type memberRemoveResponse struct {
	Header  ResponseHeader `etcd:"1"`
	Members []member       `etcd:"2"`
}

//etcd:message etcdserverpb.MemberUpdateRequest
type memberUpdateRequest struct {
	ID       uint64   `etcd:"1"`
	PeerURLs []string `etcd:"2"`
}

//etcd:message etcdserverpb.MemberUpdateResponse
type memberUpdateResponse struct {
	Header  ResponseHeader `etcd:"1"`
	Members []member       `etcd:"2"`
}

//etcd:message etcdserverpb.MemberListRequest
type memberListRequest struct {
	Linearizable bool `etcd:"1"`
}

//etcd:message etcdserverpb.MemberListResponse
type memberListResponse struct {
	Header  ResponseHeader `etcd:"1"`
	Members []member       `etcd:"2"`
}

//etcd:message etcdserverpb.MemberPromoteRequest
type memberPromoteRequest struct {
	ID uint64 `etcd:"1"`
}

//etcd:message etcdserverpb.MemberPromoteResponse
type memberPromoteResponse struct {
	Header  ResponseHeader `etcd:"1"`
	Members []member       `etcd:"2"`
}
