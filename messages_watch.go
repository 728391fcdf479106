package etcd

// watchRequest is one message to a watch stream: the first field that is set.
//
//etcd:message etcdserverpb.WatchRequest
type watchRequest struct {
	Create   *watchCreateRequest   `etcd:"1,name=create_request,oneof=request_union"`
	Cancel   *watchCancelRequest   `etcd:"2,name=cancel_request,oneof=request_union"`
	Progress *watchProgressRequest `etcd:"3,name=progress_request,oneof=request_union"`
}

//etcd:message etcdserverpb.WatchCreateRequest
type watchCreateRequest struct {
	space          string        `etcd:"-"` // of a view: what Key begins with, see space.interval
	Key            string        `etcd:"1,after=space"`
	RangeEnd       string        `etcd:"2"`
	StartRevision  int64         `etcd:"3"` // 0 means from now
	ProgressNotify bool          `etcd:"4"`
	Filters        []watchFilter `etcd:"5"`
	PrevKV         bool          `etcd:"6"`
	WatchID        int64         `etcd:"7"` // 0 lets the server choose
	Fragment       bool          `etcd:"8"`
}

//etcd:enum etcdserverpb.WatchCreateRequest.FilterType
//etcd:value watchNoPut NOPUT
//etcd:value watchNoDelete NODELETE
type watchFilter int32

const (
	watchNoPut    watchFilter = 0
	watchNoDelete watchFilter = 1
)

//etcd:message etcdserverpb.WatchCancelRequest
type watchCancelRequest struct {
	WatchID int64 `etcd:"1"`
}

//etcd:message etcdserverpb.WatchProgressRequest
type watchProgressRequest struct{}

// watchResponse is one message of a watch stream. Its Events, the KeyValues
// of their PrevKV included, lie in two blocks of memory and point into the
// message's bytes.
//
//etcd:message etcdserverpb.WatchResponse
type watchResponse struct {
	Header          ResponseHeader `etcd:"1"`
	WatchID         int64          `etcd:"2"` // -1 when a creation failed or progress concerns all watches
	Created         bool           `etcd:"3"`
	Canceled        bool           `etcd:"4"`
	CompactRevision int64          `etcd:"5"` // not 0 when the watch asked for a compacted revision
	CancelReason    string         `etcd:"6"`
	Fragment        bool           `etcd:"7"` // more of the same revisions follows
	Events          []Event        `etcd:"11"`
}
