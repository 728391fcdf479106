package etcd

// AlarmType is a kind of alarm that a member raises for the whole cluster.
//
//etcd:enum etcdserverpb.AlarmType
//etcd:value AlarmNone NONE
//etcd:value AlarmNoSpace NOSPACE
//etcd:value AlarmCorrupt CORRUPT
type AlarmType int32

// The kinds of alarms.
const (
	// AlarmNone is no alarm; in a request it means every kind.
	AlarmNone AlarmType = 0
	// AlarmNoSpace: the member's database has reached its quota. Until it is
	// disarmed the cluster takes no puts.
	AlarmNoSpace AlarmType = 1
	// AlarmCorrupt: the member's data differs from the others'. Until it is
	// disarmed the cluster takes no writes.
	AlarmCorrupt AlarmType = 2
)

//etcd:enum etcdserverpb.AlarmRequest.AlarmAction
//etcd:value alarmGet GET
//etcd:value alarmActivate ACTIVATE
//etcd:value alarmDeactivate DEACTIVATE
type alarmAction int32

const (
	alarmGet        alarmAction = 0
	alarmActivate   alarmAction = 1
	alarmDeactivate alarmAction = 2
)

//etcd:message etcdserverpb.AlarmRequest
type alarmRequest struct {
	Action   alarmAction `etcd:"1"`
	MemberID uint64      `etcd:"2"` // no matter when they are listed
	Alarm    AlarmType   `etcd:"3"` // AlarmNone lists all, and disarms none
}

// AlarmMember is an alarm that a member has raised.
//
//etcd:message etcdserverpb.AlarmMember
type AlarmMember struct {
	// MemberID is the member that it is about.
	MemberID uint64 `etcd:"1"`
	// Alarm is the kind of alarm.
	Alarm AlarmType `etcd:"2"`
}

// AlarmsResponse is the answer of [Maintenance.Alarms].
//
//etcd:message etcdserverpb.AlarmResponse
type AlarmsResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Alarms are the raised alarms, in no particular order.
	Alarms []AlarmMember `etcd:"2"`
}

//etcd:message etcdserverpb.StatusRequest
type statusRequest struct{}

// StatusResponse is the answer of [Maintenance.Status], about the member that
// Header.MemberID names.
//
//etcd:message etcdserverpb.StatusResponse
type StatusResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Version is that of the member's program, like "3.6.4".
	Version string `etcd:"2"`
	// DBSize is the size of the database file in bytes.
	DBSize int64 `etcd:"3"`
	// Leader is the ID of the member that this one takes for the leader, 0 when
	// it knows of none.
	Leader uint64 `etcd:"4"`
	// RaftIndex is the index of the last entry of the log that is committed.
	RaftIndex uint64 `etcd:"5"`
	// RaftTerm is the term of the log.
	RaftTerm uint64 `etcd:"6"`
	// RaftAppliedIndex is the index of the last applied entry; compared with RaftIndex
	// it shows how far behind the member is.
	RaftAppliedIndex uint64 `etcd:"7"`
	// Errors are texts: the raised alarms, and the lack of a leader.
	Errors []string `etcd:"8"`
	// DBSizeInUse is how many bytes of the database file are in use. Defragment
	// gives back the difference to DBSize.
	DBSizeInUse int64 `etcd:"9"`
	// IsLearner: the member has no vote.
	IsLearner bool `etcd:"10"`
	// StorageVersion is the version of the database's format, like "3.6.0".
	// Empty before etcd 3.6.
	StorageVersion string `etcd:"11"`
	// DBSizeQuota is the size in bytes that DBSize must not reach. 0 before etcd
	// 3.6.
	DBSizeQuota int64 `etcd:"12"`
	// DowngradeInfo says whether a downgrade is in progress. Zero before etcd 3.6.
	DowngradeInfo DowngradeInfo `etcd:"13"`
}

// DowngradeInfo says whether the cluster is being downgraded, and to what.
//
//etcd:message etcdserverpb.DowngradeInfo
type DowngradeInfo struct {
	// Enabled: a downgrade is in progress.
	Enabled bool `etcd:"1"`
	// TargetVersion is the version that it leads to, like "3.5.0".
	TargetVersion string `etcd:"2"`
}

//etcd:message etcdserverpb.DefragmentRequest
type defragmentRequest struct{}

// DefragmentResponse is the answer of [Maintenance.Defragment].
//
//etcd:message etcdserverpb.DefragmentResponse
type DefragmentResponse struct {
	// Header is zero: etcd leaves it out.
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.HashRequest
type hashRequest struct{}

// HashResponse is the answer of [Maintenance.Hash].
//
//etcd:message etcdserverpb.HashResponse
type HashResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Hash is the hash of the whole database, at Header.Revision.
	Hash uint32 `etcd:"2"`
}

//etcd:message etcdserverpb.HashKVRequest
type hashKVRequest struct {
	Revision int64 `etcd:"1"` // 0 means the latest
}

// HashKVResponse is the answer of [Maintenance.HashKV]. Hash is the same on every
// member where CompactRevision and the revision asked for are.
//
//etcd:message etcdserverpb.HashKVResponse
type HashKVResponse struct {
	// Header has the member's current revision.
	Header ResponseHeader `etcd:"1"`
	// Hash is the hash of all keys and their revisions up to HashRevision.
	Hash uint32 `etcd:"2"`
	// CompactRevision is the revision that was compacted last before.
	CompactRevision int64 `etcd:"3"`
	// HashRevision is the revision up to which was hashed. 0 before etcd 3.6.
	HashRevision int64 `etcd:"4"`
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

// MoveLeaderResponse is the answer of [Maintenance.MoveLeader].
//
//etcd:message etcdserverpb.MoveLeaderResponse
type MoveLeaderResponse struct {
	// Header is zero: etcd leaves it out.
	Header ResponseHeader `etcd:"1"`
}

// DowngradeAction is what [Maintenance.Downgrade] does.
//
//etcd:enum etcdserverpb.DowngradeRequest.DowngradeAction
//etcd:value DowngradeValidate VALIDATE
//etcd:value DowngradeEnable ENABLE
//etcd:value DowngradeCancel CANCEL
type DowngradeAction int32

// The steps of a downgrade.
const (
	// DowngradeValidate asks whether the cluster could be downgraded, and
	// changes nothing.
	DowngradeValidate DowngradeAction = 0
	// DowngradeEnable lets members of the target version join: replace them one
	// by one then.
	DowngradeEnable DowngradeAction = 1
	// DowngradeCancel ends a downgrade before its time.
	DowngradeCancel DowngradeAction = 2
)

//etcd:message etcdserverpb.DowngradeRequest
type downgradeRequest struct {
	Action  DowngradeAction `etcd:"1"`
	Version string          `etcd:"2"`
}

// DowngradeResponse is the answer of [Maintenance.Downgrade].
//
//etcd:message etcdserverpb.DowngradeResponse
type DowngradeResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Version is the cluster's version before the downgrade, like "3.6".
	Version string `etcd:"2"`
}
