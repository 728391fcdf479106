package rpc

import "silly.store/etcd/internal/balance"

// The methods that the client calls. This table alone decides which ones may be
// retried.
var (
	Get              = &Method{Op: "Get", Path: "/etcdserverpb.KV/Range", Class: Read, Linearizable: true, Smaller: smallerGet}
	Ready            = &Method{Op: "Ready", Path: "/etcdserverpb.KV/Range", Class: Read}
	RangeFirst       = &Method{Op: "Range", Path: "/etcdserverpb.KV/Range", Class: Read, Linearizable: true, Smaller: smallerRange}
	RangeFirstLocal  = &Method{Op: "Range", Path: "/etcdserverpb.KV/Range", Class: Read, Local: true, Smaller: smallerRange}
	RangePage        = &Method{Op: "Range", Path: "/etcdserverpb.KV/Range", Class: Read, Lane: balance.Bulk, Linearizable: true, Smaller: smallerRange}
	RangeStream      = &Method{Op: "Range", Path: "/etcdserverpb.KV/RangeStream", Class: Read, Lane: balance.Bulk, Unbounded: true, Smaller: smallerRange}
	GetLocal         = &Method{Op: "Get", Path: "/etcdserverpb.KV/Range", Class: Read, Local: true, Smaller: smallerGet}
	RangeStreamLocal = &Method{Op: "Range", Path: "/etcdserverpb.KV/RangeStream", Class: Read, Lane: balance.Bulk, Unbounded: true, Local: true, Smaller: smallerRange}
	RangePageLocal   = &Method{Op: "Range", Path: "/etcdserverpb.KV/Range", Class: Read, Lane: balance.Bulk, Local: true, Smaller: smallerRange}
	Put              = &Method{Op: "Put", Path: "/etcdserverpb.KV/Put", Class: Write, Linearizable: true, Smaller: smallerWrite}
	Delete           = &Method{Op: "Delete", Path: "/etcdserverpb.KV/DeleteRange", Class: Write, Linearizable: true, Smaller: smallerWrite}
	Txn              = &Method{Op: "Txn", Path: "/etcdserverpb.KV/Txn", Class: Write, Linearizable: true, Smaller: smallerTxn}
	TxnRead          = &Method{Op: "Txn", Path: "/etcdserverpb.KV/Txn", Class: Read, Linearizable: true, Smaller: smallerTxn}
	TxnEmpty         = &Method{Op: "Txn", Path: "/etcdserverpb.KV/Txn", Class: Read}
	TxnLocal         = &Method{Op: "Txn", Path: "/etcdserverpb.KV/Txn", Class: Read, Local: true, Smaller: smallerTxn}

	// One transaction that several calls share.
	GetShared      = &Method{Op: "Get", Path: Txn.Path, Class: Read, Linearizable: true, Shared: true, Smaller: smallerGet}
	GetSharedLocal = &Method{Op: "Get", Path: Txn.Path, Class: Read, Local: true, Shared: true, Smaller: smallerGet}
	PutShared      = &Method{Op: "Put", Path: Txn.Path, Class: Write, Linearizable: true, Shared: true, Smaller: smallerWrite}
	TxnShared      = &Method{Op: "Txn", Path: Txn.Path, Class: Write, Linearizable: true, Shared: true, Smaller: smallerTxn}
	DeleteShared   = &Method{Op: "Delete", Path: Txn.Path, Class: Write, Linearizable: true, Shared: true, Smaller: smallerWrite}

	// WatchNow reads the revision after which a watch from now starts, and checks
	// that the member of a watch still belongs to the cluster.
	WatchNow = &Method{Op: "Watch", Path: "/etcdserverpb.KV/Range", Class: Read, Linearizable: true, IgnoresReset: true}
	Watch    = &Method{Op: "Watch", Path: "/etcdserverpb.Watch/Watch", Class: Read, Lane: balance.Watch, Unbounded: true, Smaller: smallerWatch}

	// The client chooses the ID of a Grant, so a repeated Grant that had succeeded
	// fails with "exists", and a repeated Revoke with "not found". Renewing twice
	// is the same as renewing later.
	Grant  = &Method{Op: "Grant", Path: "/etcdserverpb.Lease/LeaseGrant", Class: Idempotent}
	Revoke = &Method{Op: "Revoke", Path: "/etcdserverpb.Lease/LeaseRevoke", Class: Idempotent}
	TTL    = &Method{Op: "TTL", Path: "/etcdserverpb.Lease/LeaseTimeToLive", Class: Read, Smaller: smallerTTL}
	Leases = &Method{Op: "Leases", Path: "/etcdserverpb.Lease/LeaseLeases", Class: Read}
	// Renew opens the keeper's streams, which carry GrantRenew, Adopt and
	// KeepAliveOnce. KeepAlive opens a stream for its caller alone.
	Renew         = &Method{Op: "KeepAlive", Path: "/etcdserverpb.Lease/LeaseKeepAlive", Class: Idempotent, Unbounded: true}
	GrantRenew    = &Method{Op: "Grant", Path: Renew.Path, Class: Idempotent}
	Adopt         = &Method{Op: "Adopt", Path: Renew.Path, Class: Idempotent}
	KeepAliveOnce = &Method{Op: "KeepAliveOnce", Path: Renew.Path, Class: Idempotent}
	KeepAlive     = &Method{Op: "KeepAlive", Path: Renew.Path, Class: Idempotent}

	// Authenticate obtains the token that all other calls carry. A repeated request
	// makes the server issue a second token, which does no harm.
	Authenticate = &Method{Op: "Authenticate", Path: "/etcdserverpb.Auth/Authenticate", Class: Read, Anonymous: true}

	AuthEnable           = &Method{Op: "AuthEnable", Path: "/etcdserverpb.Auth/AuthEnable", Class: Write}
	AuthDisable          = &Method{Op: "AuthDisable", Path: "/etcdserverpb.Auth/AuthDisable", Class: Write}
	AuthStatus           = &Method{Op: "AuthStatus", Path: "/etcdserverpb.Auth/AuthStatus", Class: Read}
	UserAdd              = &Method{Op: "UserAdd", Path: "/etcdserverpb.Auth/UserAdd", Class: Write}
	UserDelete           = &Method{Op: "UserDelete", Path: "/etcdserverpb.Auth/UserDelete", Class: Write}
	UserGet              = &Method{Op: "UserGet", Path: "/etcdserverpb.Auth/UserGet", Class: Read}
	UserList             = &Method{Op: "UserList", Path: "/etcdserverpb.Auth/UserList", Class: Read}
	UserChangePassword   = &Method{Op: "UserChangePassword", Path: "/etcdserverpb.Auth/UserChangePassword", Class: Write}
	UserGrantRole        = &Method{Op: "UserGrantRole", Path: "/etcdserverpb.Auth/UserGrantRole", Class: Write}
	UserRevokeRole       = &Method{Op: "UserRevokeRole", Path: "/etcdserverpb.Auth/UserRevokeRole", Class: Write}
	RoleAdd              = &Method{Op: "RoleAdd", Path: "/etcdserverpb.Auth/RoleAdd", Class: Write}
	RoleDelete           = &Method{Op: "RoleDelete", Path: "/etcdserverpb.Auth/RoleDelete", Class: Write}
	RoleGet              = &Method{Op: "RoleGet", Path: "/etcdserverpb.Auth/RoleGet", Class: Read}
	RoleList             = &Method{Op: "RoleList", Path: "/etcdserverpb.Auth/RoleList", Class: Read}
	RoleGrantPermission  = &Method{Op: "RoleGrantPermission", Path: "/etcdserverpb.Auth/RoleGrantPermission", Class: Write}
	RoleRevokePermission = &Method{Op: "RoleRevokePermission", Path: "/etcdserverpb.Auth/RoleRevokePermission", Class: Write}

	// A member answers questions about itself even without a leader.
	Status       = &Method{Op: "Status", Path: "/etcdserverpb.Maintenance/Status", Class: Read, Local: true}
	Hash         = &Method{Op: "Hash", Path: "/etcdserverpb.Maintenance/Hash", Class: Read, Local: true, Unbounded: true}
	HashKV       = &Method{Op: "HashKV", Path: "/etcdserverpb.Maintenance/HashKV", Class: Read, Local: true, Unbounded: true}
	Defragment   = &Method{Op: "Defragment", Path: "/etcdserverpb.Maintenance/Defragment", Class: Write, Local: true, Unbounded: true}
	Snapshot     = &Method{Op: "Snapshot", Path: "/etcdserverpb.Maintenance/Snapshot", Class: Read, Lane: balance.Bulk, Local: true, Unbounded: true}
	SaveSnapshot = &Method{Op: "SaveSnapshot", Path: Snapshot.Path, Class: Read, Lane: balance.Bulk, Local: true, Unbounded: true}
	Alarms       = &Method{Op: "Alarms", Path: "/etcdserverpb.Maintenance/Alarm", Class: Read}
	Disarm       = &Method{Op: "Disarm", Path: Alarms.Path, Class: Write}
	MoveLeader   = &Method{Op: "MoveLeader", Path: "/etcdserverpb.Maintenance/MoveLeader", Class: Write}
	DisarmList   = &Method{Op: "Disarm", Path: Alarms.Path, Class: Read}
	// A member without a leader refuses FindLeader, so the call waits out an
	// election.
	FindLeader   = &Method{Op: "MoveLeader", Path: Status.Path, Class: Read}
	FindMembers  = &Method{Op: "MoveLeader", Path: MemberList.Path, Class: Read}
	FindLeaderAt = &Method{Op: "MoveLeader", Path: Status.Path, Class: Read, Local: true}

	Downgrade         = &Method{Op: "Downgrade", Path: "/etcdserverpb.Maintenance/Downgrade", Class: Write}
	DowngradeValidate = &Method{Op: "Downgrade", Path: Downgrade.Path, Class: Read}

	MemberList      = &Method{Op: "MemberList", Path: "/etcdserverpb.Cluster/MemberList", Class: Read}
	Sync            = &Method{Op: "Sync", Path: MemberList.Path, Class: Read}
	MemberListLocal = &Method{Op: "MemberList", Path: MemberList.Path, Class: Read, Local: true}
	MemberAdd       = &Method{Op: "MemberAdd", Path: "/etcdserverpb.Cluster/MemberAdd", Class: Write}
	MemberRemove    = &Method{Op: "MemberRemove", Path: "/etcdserverpb.Cluster/MemberRemove", Class: Write}
	MemberUpdate    = &Method{Op: "MemberUpdate", Path: "/etcdserverpb.Cluster/MemberUpdate", Class: Write}
	MemberPromote   = &Method{Op: "MemberPromote", Path: "/etcdserverpb.Cluster/MemberPromote", Class: Write}

	// A repeated compaction that had succeeded fails with "compacted", so for its
	// caller it is not idempotent.
	Compact         = &Method{Op: "Compact", Path: "/etcdserverpb.KV/Compact", Class: Write}
	CompactPhysical = &Method{Op: "Compact", Path: "/etcdserverpb.KV/Compact", Class: Write, Unbounded: true}

	// Identify is an empty transaction. A member answers it locally, with a header
	// and for any user, because it touches no key and so needs no permission. Status
	// would require a user if authentication is on. A learner refuses it.
	Identify = &Method{Op: "Connect", Path: Txn.Path, Class: Read, Local: true}

	// FindPreferred finds the leader and how long a member takes to answer.
	FindPreferred = &Method{Op: "Status", Path: Status.Path, Class: Read, Local: true}
)
