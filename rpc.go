package etcd

import (
	"sync"

	"silly.store/etcd/internal/balance"
)

// class says when a failed request may be sent again.
type class uint8

const (
	// read changes nothing: again after any transient failure.
	read class = iota
	// idempotent may be applied any number of times with one effect: as read.
	idempotent
	// write may be sent again only when it was certainly not applied, unless
	// the user opted for AtLeastOnce.
	write
	// never is sent once.
	never
)

// rpc is one method of etcd's services.
type rpc struct {
	op    string // the Client method, for errors
	path  string
	class class
	lane  balance.Lane
	// unbounded: Config.Timeout does not apply.
	unbounded bool
	// anonymous: it carries no token.
	anonymous bool
	// linearizable: the revision of its answer is at least any that was seen
	// before it was sent, unless the history was reset.
	linearizable bool
	// untold: what it is for is not about the past, so it does not fail when the
	// history was reset.
	untold bool
	// local: a member without leader may answer too. All others ask it to refuse.
	local bool
	// member is the one that it is meant for; nil: any.
	member *balance.Endpoint
	// fate is told how a request goes that several calls share; nil: none do.
	fate *fate
	// shared: it stands for several operations, which can be made one by one.
	shared bool
}

// The RPCs that the client uses, each with its class. This is the one place
// that says what may be retried.
var (
	rpcRange       = rpc{op: "Get", path: "/etcdserverpb.KV/Range", class: read, linearizable: true}
	rpcReady       = rpc{op: "Ready", path: "/etcdserverpb.KV/Range", class: read}
	rpcRangePage   = rpc{op: "Range", path: "/etcdserverpb.KV/Range", class: read, lane: balance.Bulk, linearizable: true}
	rpcRangeStream = rpc{op: "Range", path: "/etcdserverpb.KV/RangeStream", class: read, lane: balance.Bulk, unbounded: true}
	rpcRangeLocal  = rpc{op: "Get", path: "/etcdserverpb.KV/Range", class: read, local: true}
	rpcPageLocal   = rpc{op: "Range", path: "/etcdserverpb.KV/Range", class: read, lane: balance.Bulk, local: true}
	rpcPut         = rpc{op: "Put", path: "/etcdserverpb.KV/Put", class: write, linearizable: true}
	rpcDelete      = rpc{op: "Delete", path: "/etcdserverpb.KV/DeleteRange", class: write, linearizable: true}
	rpcTxn         = rpc{op: "Txn", path: "/etcdserverpb.KV/Txn", class: write, linearizable: true}
	rpcTxnRead     = rpc{op: "Txn", path: "/etcdserverpb.KV/Txn", class: read, linearizable: true}
	rpcTxnEmpty    = rpc{op: "Txn", path: "/etcdserverpb.KV/Txn", class: read}
	rpcTxnLocal    = rpc{op: "Txn", path: "/etcdserverpb.KV/Txn", class: read, local: true}

	// Of calls that share a transaction.
	rpcGetShared      = rpc{op: "Get", path: rpcTxn.path, class: read, linearizable: true, shared: true}
	rpcGetSharedLocal = rpc{op: "Get", path: rpcTxn.path, class: read, local: true, shared: true}
	rpcPutShared      = rpc{op: "Put", path: rpcTxn.path, class: write, linearizable: true, shared: true}
	rpcDeleteShared   = rpc{op: "Delete", path: rpcTxn.path, class: write, linearizable: true, shared: true}

	// rpcWatchNow learns the revision that a watch from now starts behind, and
	// whether the member of a watch is still of the cluster.
	rpcWatchNow = rpc{op: "Watch", path: "/etcdserverpb.KV/Range", class: read, linearizable: true, untold: true}
	rpcWatch    = rpc{op: "Watch", path: "/etcdserverpb.Watch/Watch", class: read, lane: balance.Watch, unbounded: true}

	// A Grant names the ID itself, so that it meets its own earlier success as
	// "exists", and a Revoke as "not found". Renewing twice is renewing later.
	rpcGrant  = rpc{op: "Grant", path: "/etcdserverpb.Lease/LeaseGrant", class: idempotent}
	rpcRevoke = rpc{op: "Revoke", path: "/etcdserverpb.Lease/LeaseRevoke", class: idempotent}
	rpcTTL    = rpc{op: "TTL", path: "/etcdserverpb.Lease/LeaseTimeToLive", class: read}
	rpcLeases = rpc{op: "Leases", path: "/etcdserverpb.Lease/LeaseLeases", class: read}
	// rpcRenew is the keeper's streams; those below it ride on them, but for
	// rpcKeepAlive, which is a stream of its own.
	rpcRenew         = rpc{op: "KeepAlive", path: "/etcdserverpb.Lease/LeaseKeepAlive", class: idempotent, unbounded: true}
	rpcGrantRenew    = rpc{op: "Grant", path: rpcRenew.path, class: idempotent}
	rpcAdopt         = rpc{op: "Adopt", path: rpcRenew.path, class: idempotent}
	rpcKeepAliveOnce = rpc{op: "KeepAliveOnce", path: rpcRenew.path, class: idempotent}
	rpcKeepAlive     = rpc{op: "KeepAlive", path: rpcRenew.path, class: idempotent}

	// rpcAuthenticate obtains the token that all others carry. Asked twice the
	// server gives two tokens, which does no harm.
	rpcAuthenticate = rpc{op: "Authenticate", path: "/etcdserverpb.Auth/Authenticate", class: read, anonymous: true}

	rpcAuthEnable           = rpc{op: "AuthEnable", path: "/etcdserverpb.Auth/AuthEnable", class: write}
	rpcAuthDisable          = rpc{op: "AuthDisable", path: "/etcdserverpb.Auth/AuthDisable", class: write}
	rpcAuthStatus           = rpc{op: "AuthStatus", path: "/etcdserverpb.Auth/AuthStatus", class: read}
	rpcUserAdd              = rpc{op: "UserAdd", path: "/etcdserverpb.Auth/UserAdd", class: write}
	rpcUserDelete           = rpc{op: "UserDelete", path: "/etcdserverpb.Auth/UserDelete", class: write}
	rpcUserGet              = rpc{op: "UserGet", path: "/etcdserverpb.Auth/UserGet", class: read}
	rpcUserList             = rpc{op: "UserList", path: "/etcdserverpb.Auth/UserList", class: read}
	rpcUserChangePassword   = rpc{op: "UserChangePassword", path: "/etcdserverpb.Auth/UserChangePassword", class: write}
	rpcUserGrantRole        = rpc{op: "UserGrantRole", path: "/etcdserverpb.Auth/UserGrantRole", class: write}
	rpcUserRevokeRole       = rpc{op: "UserRevokeRole", path: "/etcdserverpb.Auth/UserRevokeRole", class: write}
	rpcRoleAdd              = rpc{op: "RoleAdd", path: "/etcdserverpb.Auth/RoleAdd", class: write}
	rpcRoleDelete           = rpc{op: "RoleDelete", path: "/etcdserverpb.Auth/RoleDelete", class: write}
	rpcRoleGet              = rpc{op: "RoleGet", path: "/etcdserverpb.Auth/RoleGet", class: read}
	rpcRoleList             = rpc{op: "RoleList", path: "/etcdserverpb.Auth/RoleList", class: read}
	rpcRoleGrantPermission  = rpc{op: "RoleGrantPermission", path: "/etcdserverpb.Auth/RoleGrantPermission", class: write}
	rpcRoleRevokePermission = rpc{op: "RoleRevokePermission", path: "/etcdserverpb.Auth/RoleRevokePermission", class: write}

	// What asks a member about itself is answered without a leader too.
	rpcStatus       = rpc{op: "Status", path: "/etcdserverpb.Maintenance/Status", class: read, local: true}
	rpcHash         = rpc{op: "Hash", path: "/etcdserverpb.Maintenance/Hash", class: read, local: true, unbounded: true}
	rpcHashKV       = rpc{op: "HashKV", path: "/etcdserverpb.Maintenance/HashKV", class: read, local: true, unbounded: true}
	rpcDefragment   = rpc{op: "Defragment", path: "/etcdserverpb.Maintenance/Defragment", class: write, local: true, unbounded: true}
	rpcSnapshot     = rpc{op: "Snapshot", path: "/etcdserverpb.Maintenance/Snapshot", class: read, lane: balance.Bulk, local: true, unbounded: true}
	rpcSaveSnapshot = rpc{op: "SaveSnapshot", path: rpcSnapshot.path, class: read, lane: balance.Bulk, local: true, unbounded: true}
	rpcAlarms       = rpc{op: "Alarms", path: "/etcdserverpb.Maintenance/Alarm", class: read}
	rpcDisarm       = rpc{op: "Disarm", path: rpcAlarms.path, class: write}
	rpcMoveLeader   = rpc{op: "MoveLeader", path: "/etcdserverpb.Maintenance/MoveLeader", class: write}
	rpcDisarmList   = rpc{op: "Disarm", path: rpcAlarms.path, class: read}
	// A member without leader refuses the first, so that an election is waited for.
	rpcFindLeader   = rpc{op: "MoveLeader", path: rpcStatus.path, class: read}
	rpcFindMembers  = rpc{op: "MoveLeader", path: rpcMemberList.path, class: read}
	rpcFindLeaderAt = rpc{op: "MoveLeader", path: rpcStatus.path, class: read, local: true}

	rpcDowngrade         = rpc{op: "Downgrade", path: "/etcdserverpb.Maintenance/Downgrade", class: write}
	rpcDowngradeValidate = rpc{op: "Downgrade", path: rpcDowngrade.path, class: read}

	rpcMemberList      = rpc{op: "MemberList", path: "/etcdserverpb.Cluster/MemberList", class: read}
	rpcSync            = rpc{op: "Sync", path: rpcMemberList.path, class: read}
	rpcMemberListLocal = rpc{op: "MemberList", path: rpcMemberList.path, class: read, local: true}
	rpcMemberAdd       = rpc{op: "MemberAdd", path: "/etcdserverpb.Cluster/MemberAdd", class: write}
	rpcMemberRemove    = rpc{op: "MemberRemove", path: "/etcdserverpb.Cluster/MemberRemove", class: write}
	rpcMemberUpdate    = rpc{op: "MemberUpdate", path: "/etcdserverpb.Cluster/MemberUpdate", class: write}
	rpcMemberPromote   = rpc{op: "MemberPromote", path: "/etcdserverpb.Cluster/MemberPromote", class: write}

	// A compaction that meets its own earlier success is told that the revision
	// is compacted, so it is not idempotent to its caller.
	rpcCompact         = rpc{op: "Compact", path: "/etcdserverpb.KV/Compact", class: write}
	rpcCompactPhysical = rpc{op: "Compact", path: "/etcdserverpb.KV/Compact", class: write, unbounded: true}
)

// message is the buffer that a request is encoded into. The transport has
// copied it by the time a call returns.
type message struct {
	bytes []byte
}

var messages = sync.Pool{New: func() any { return new(message) }}

// maxPooledMessage keeps a few large values from making every buffer large.
const maxPooledMessage = 64 << 10

func newMessage() *message { return messages.Get().(*message) }

func (m *message) release() {
	if cap(m.bytes) > maxPooledMessage {
		return
	}
	m.bytes = m.bytes[:0]
	messages.Put(m)
}
