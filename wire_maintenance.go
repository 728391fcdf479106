package etcd

//etcd:enum etcdserverpb.AlarmType
type alarmType int32

const (
	alarmNone    alarmType = 0 //etcd:value NONE
	alarmNoSpace alarmType = 1 //etcd:value NOSPACE
	alarmCorrupt alarmType = 2 //etcd:value CORRUPT
)

//etcd:enum etcdserverpb.AlarmRequest.AlarmAction
type alarmAction int32

const (
	alarmGet        alarmAction = 0 //etcd:value GET
	alarmActivate   alarmAction = 1 //etcd:value ACTIVATE
	alarmDeactivate alarmAction = 2 //etcd:value DEACTIVATE
)

//etcd:message etcdserverpb.AlarmRequest
type alarmRequest struct {
	Action   alarmAction `etcd:"1"`
	MemberID uint64      `etcd:"2"` // 0 means every member
	Alarm    alarmType   `etcd:"3"` // alarmNone asks for every alarm
}

//etcd:message etcdserverpb.AlarmMember
type alarmMember struct {
	MemberID uint64    `etcd:"1"`
	Alarm    alarmType `etcd:"2"`
}

//etcd:message etcdserverpb.AlarmResponse
type alarmResponse struct {
	Header ResponseHeader `etcd:"1"`
	Alarms []alarmMember  `etcd:"2"`
}

//etcd:message etcdserverpb.StatusRequest
type statusRequest struct{}

//etcd:message etcdserverpb.StatusResponse
type statusResponse struct {
	Header           ResponseHeader `etcd:"1"`
	Version          string         `etcd:"2"`
	DBSize           int64          `etcd:"3"` // bytes allocated
	Leader           uint64         `etcd:"4"` // 0 when the member knows of none
	RaftIndex        uint64         `etcd:"5"`
	RaftTerm         uint64         `etcd:"6"`
	RaftAppliedIndex uint64         `etcd:"7"`
	Errors           []string       `etcd:"8"`
	DBSizeInUse      int64          `etcd:"9"` // bytes
	IsLearner        bool           `etcd:"10"`
	StorageVersion   string         `etcd:"11"`
	DBSizeQuota      int64          `etcd:"12"` // bytes
	DowngradeInfo    downgradeInfo  `etcd:"13"`
}

//etcd:message etcdserverpb.DowngradeInfo
type downgradeInfo struct {
	Enabled       bool   `etcd:"1"`
	TargetVersion string `etcd:"2"`
}

//etcd:message etcdserverpb.DefragmentRequest
type defragmentRequest struct{}

//etcd:message etcdserverpb.DefragmentResponse
type defragmentResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.HashRequest
type hashRequest struct{}

//etcd:message etcdserverpb.HashResponse
type hashResponse struct {
	Header ResponseHeader `etcd:"1"`
	Hash   uint32         `etcd:"2"`
}

//etcd:message etcdserverpb.HashKVRequest
type hashKVRequest struct {
	Revision int64 `etcd:"1"` // 0 means the latest
}

//etcd:message etcdserverpb.HashKVResponse
type hashKVResponse struct {
	Header          ResponseHeader `etcd:"1"`
	Hash            uint32         `etcd:"2"`
	CompactRevision int64          `etcd:"3"`
	HashRevision    int64          `etcd:"4"`
}

//etcd:message etcdserverpb.SnapshotRequest
type snapshotRequest struct{}

// snapshotResponse is one chunk of a snapshot. Blob and Version point into
// the message's bytes.
//
//etcd:message etcdserverpb.SnapshotResponse
type snapshotResponse struct {
	Header         ResponseHeader `etcd:"1"`
	RemainingBytes uint64         `etcd:"2"` // after this chunk
	Blob           []byte         `etcd:"3"`
	Version        string         `etcd:"4"`
}

//etcd:message etcdserverpb.MoveLeaderRequest
type moveLeaderRequest struct {
	TargetID uint64 `etcd:"1"`
}

//etcd:message etcdserverpb.MoveLeaderResponse
type moveLeaderResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:enum etcdserverpb.DowngradeRequest.DowngradeAction
type downgradeAction int32

const (
	downgradeValidate downgradeAction = 0 //etcd:value VALIDATE
	downgradeEnable   downgradeAction = 1 //etcd:value ENABLE
	downgradeCancel   downgradeAction = 2 //etcd:value CANCEL
)

//etcd:message etcdserverpb.DowngradeRequest
type downgradeRequest struct {
	Action  downgradeAction `etcd:"1"`
	Version string          `etcd:"2"`
}

//etcd:message etcdserverpb.DowngradeResponse
type downgradeResponse struct {
	Header  ResponseHeader `etcd:"1"`
	Version string         `etcd:"2"`
}
