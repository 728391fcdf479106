package etcd

//etcd:message etcdserverpb.LeaseGrantRequest
type leaseGrantRequest struct {
	TTL int64   `etcd:"1"` // seconds
	ID  LeaseID `etcd:"2"` // 0 lets the server choose
}

//etcd:message etcdserverpb.LeaseGrantResponse
type leaseGrantResponse struct {
	Header ResponseHeader `etcd:"1"`
	ID     LeaseID        `etcd:"2"`
	TTL    int64          `etcd:"3"` // seconds; the server may raise what was asked for
	Error  string         `etcd:"4"` // never set by etcd 3.5 to 3.7
}

//etcd:message etcdserverpb.LeaseRevokeRequest
type leaseRevokeRequest struct {
	ID LeaseID `etcd:"1"`
}

//etcd:message etcdserverpb.LeaseRevokeResponse
type leaseRevokeResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.LeaseKeepAliveRequest
type leaseKeepAliveRequest struct {
	ID LeaseID `etcd:"1"`
}

//etcd:message etcdserverpb.LeaseKeepAliveResponse
type leaseKeepAliveResponse struct {
	Header ResponseHeader `etcd:"1"`
	ID     LeaseID        `etcd:"2"`
	TTL    int64          `etcd:"3"` // seconds; 0 when the lease does not exist
}

//etcd:message etcdserverpb.LeaseTimeToLiveRequest
type leaseTimeToLiveRequest struct {
	ID   LeaseID `etcd:"1"`
	Keys bool    `etcd:"2"`
}

//etcd:message etcdserverpb.LeaseTimeToLiveResponse
type leaseTimeToLiveResponse struct {
	Header     ResponseHeader `etcd:"1"`
	ID         LeaseID        `etcd:"2"`
	TTL        int64          `etcd:"3"` // seconds left; -1 when the lease does not exist
	GrantedTTL int64          `etcd:"4"` // seconds
	Keys       []string       `etcd:"5"`
}

//etcd:message etcdserverpb.LeaseLeasesRequest
type leaseLeasesRequest struct{}

//etcd:message etcdserverpb.LeaseLeasesResponse
type leaseLeasesResponse struct {
	Header ResponseHeader `etcd:"1"`
	Leases []leaseStatus  `etcd:"2"`
}

//etcd:message etcdserverpb.LeaseStatus
type leaseStatus struct {
	ID LeaseID `etcd:"1"`
}
