package etcd

import "silly.store/etcd/internal/call"

// Errors that errors.Is finds in what this package returns. Those that the
// server reports keep its text in Error.Message.
var (
	// Errors of the client itself. Nothing was sent.

	// ErrInvalidConfig: a field of Config is wrong; the text names it.
	ErrInvalidConfig = call.ErrInvalidConfig
	// ErrInvalidRequest: a field of the request is wrong; the text names it.
	ErrInvalidRequest = call.ErrInvalidRequest
	// ErrClosed: the client was closed. A call that was waiting then may have
	// been sent: see MaybeApplied.
	ErrClosed = call.ErrClosed
	// ErrBadEndpoint: there is no etcd behind the endpoint, or TLS does not work
	// with it as configured; the text says what to look at.
	ErrBadEndpoint = call.ErrBadEndpoint

	// ErrForeignCluster: the endpoint belongs to another cluster than the first
	// one that answered this client, and the client does not use it. Where the
	// cluster behind the only endpoint was replaced, a write may have been applied
	// to the other cluster.
	ErrForeignCluster = call.ErrForeignCluster

	// Errors on the way to the server.

	// ErrUnavailable: no member could be reached, or the connection was lost.
	ErrUnavailable = call.ErrUnavailable
	// ErrTimeout: an attempt had no answer within Config.Timeout.
	ErrTimeout = call.ErrTimeout
	// ErrResponseTooLarge: the answer is larger than Config.MaxResponseBytes.
	ErrResponseTooLarge = call.ErrResponseTooLarge

	// Errors of the server, about requests.

	// ErrCompacted: the revision asked for has been compacted.
	ErrCompacted = call.ErrCompacted
	// ErrFutureRevision: the revision asked for does not exist yet.
	ErrFutureRevision = call.ErrFutureRevision
	// ErrKeyNotFound: IgnoreValue or IgnoreLease for a key that does not exist.
	ErrKeyNotFound = call.ErrKeyNotFound
	// ErrLeaseNotFound: the lease does not exist, or no longer exists.
	ErrLeaseNotFound = call.ErrLeaseNotFound
	// ErrLeaseExists: a lease with this ID exists.
	ErrLeaseExists = call.ErrLeaseExists
	// ErrLeaseTTLTooLarge: the TTL is beyond etcd's limit of 9,000,000,000 s.
	ErrLeaseTTLTooLarge = call.ErrLeaseTTLTooLarge
	// ErrRequestTooLarge: the request is larger than the server's
	// --max-request-bytes (1.5 MiB unless configured), or than a proxy in front of it
	// accepts.
	ErrRequestTooLarge = call.ErrRequestTooLarge
	// ErrTooManyOps: a Txn has more operations or compares than the server's
	// --max-txn-ops (128 unless configured).
	ErrTooManyOps = call.ErrTooManyOps
	// ErrDuplicateKey: a Txn puts a key twice, or puts what it also deletes.
	ErrDuplicateKey = call.ErrDuplicateKey

	// The end of a lease, see Lease.Err.

	// ErrLeaseExpired: the lease was not renewed in time, or the server no longer
	// knows it.
	ErrLeaseExpired = call.ErrLeaseExpired
	// ErrLeaseRevoked: this client has revoked the lease.
	ErrLeaseRevoked = call.ErrLeaseRevoked
	// ErrLeaseNotRenewed: no renewal of the lease succeeded before its deadline.
	ErrLeaseNotRenewed = call.ErrLeaseNotRenewed
	// ErrStreamClosed: the KeepAliveStream or Snapshot was closed.
	ErrStreamClosed = call.ErrStreamClosed

	// The end of a watch.

	// ErrWatchClosed: the watch was closed.
	ErrWatchClosed = call.ErrWatchClosed
	// ErrHistoryReset: the cluster's revisions run backwards, most likely
	// because it was restored from a backup. Data that was read before may no
	// longer be true: read the keys again and watch from the revision after that
	// read. It ends the watches that have seen more than is left, and later watches that
	// begin after a revision that this client has seen and the store no longer has. A
	// linearizable Get, Range or Txn without writes whose answer shows the reset fails with
	// it, once; from then on the new history counts. A write does not fail with it,
	// because it was applied: where a write's answer shows the reset and no watch
	// has ended, the next read fails.
	ErrHistoryReset = call.ErrHistoryReset
	// ErrRevisionTooLarge: the events of one revision exceed what the client keeps.
	ErrRevisionTooLarge = call.ErrRevisionTooLarge

	// Errors of the server, about the cluster's members.

	// ErrMemberNotFound: no member has this ID.
	ErrMemberNotFound = call.ErrMemberNotFound
	// ErrMemberExists: a member has this ID already. etcd makes an ID from the peer
	// URLs and the second of the request, so the same request came twice.
	ErrMemberExists = call.ErrMemberExists
	// ErrPeerURLExists: another member has one of these peer URLs.
	ErrPeerURLExists = call.ErrPeerURLExists
	// ErrMemberNotLearner: only a learner can be promoted.
	ErrMemberNotLearner = call.ErrMemberNotLearner
	// ErrLearnerNotReady: the learner has not caught up with the leader yet.
	ErrLearnerNotReady = call.ErrLearnerNotReady
	// ErrTooManyLearners: the cluster has as many learners as its
	// --max-learners allows (1 unless configured).
	ErrTooManyLearners = call.ErrTooManyLearners
	// ErrNotEnoughStarted: the change could cost the cluster its majority, since
	// too few of its members have started.
	ErrNotEnoughStarted = call.ErrNotEnoughStarted
	// ErrUnhealthy: the member was not connected to a majority of the others for
	// the last 5 s, so the change could cost the cluster its majority.
	ErrUnhealthy = call.ErrUnhealthy
	// ErrClusterIDMismatch: the member belongs to another cluster.
	ErrClusterIDMismatch = call.ErrClusterIDMismatch

	// Errors of the server, about maintenance.

	// ErrNotLeader: only the leader can do this, and this member does not lead.
	ErrNotLeader = call.ErrNotLeader
	// ErrBadLeaderTransferee: leadership cannot move to this member: it does not
	// exist, or it is a learner.
	ErrBadLeaderTransferee = call.ErrBadLeaderTransferee
	// ErrInvalidDowngradeVersion: the cluster can be downgraded by one minor version
	// only.
	ErrInvalidDowngradeVersion = call.ErrInvalidDowngradeVersion
	// ErrDowngradeInProgress: a downgrade of the cluster is already in progress.
	ErrDowngradeInProgress = call.ErrDowngradeInProgress
	// ErrNoDowngrade: the cluster is not being downgraded.
	ErrNoDowngrade = call.ErrNoDowngrade
	// ErrClusterVersionUnknown: the members have only just started and have not yet
	// agreed on the cluster's version.
	ErrClusterVersionUnknown = call.ErrClusterVersionUnknown
	// ErrSnapshotCorrupt: the received bytes are not the snapshot that the member
	// sent: it was cut short, or its SHA-256 does not match.
	ErrSnapshotCorrupt = call.ErrSnapshotCorrupt

	// Errors of the server, about authentication and permissions.

	// ErrPermissionDenied: the user may not do this.
	ErrPermissionDenied = call.ErrPermissionDenied
	// ErrUnauthenticated: the cluster requires a user name and password, and Config
	// has none.
	ErrUnauthenticated = call.ErrUnauthenticated
	// ErrAuthFailed: the user name or the password is wrong, or this user has no
	// password.
	ErrAuthFailed = call.ErrAuthFailed
	// ErrNoCredentials: Config.Credentials failed, or its result cannot be used; the
	// text says why.
	ErrNoCredentials = call.ErrNoCredentials
	// ErrInvalidAuthToken: the server does not know the token, or no longer knows it.
	ErrInvalidAuthToken = call.ErrInvalidAuthToken

	// Errors of the server, about users and roles.

	// ErrAuthNotEnabled: authentication is off in the cluster.
	ErrAuthNotEnabled = call.ErrAuthNotEnabled
	// ErrRootUserMissing: authentication can be switched on only when there is a
	// user "root" that has the role "root".
	ErrRootUserMissing = call.ErrRootUserMissing
	// ErrRootRequired: while authentication is on, neither the user "root" nor the role
	// "root" can be deleted, and the user cannot lose the role.
	ErrRootRequired = call.ErrRootRequired
	// ErrUserExists: a user has this name.
	ErrUserExists = call.ErrUserExists
	// ErrUserNotFound: no user has this name.
	ErrUserNotFound = call.ErrUserNotFound
	// ErrRoleExists: a role has this name.
	ErrRoleExists = call.ErrRoleExists
	// ErrRoleNotFound: no role has this name.
	ErrRoleNotFound = call.ErrRoleNotFound
	// ErrRoleNotGranted: the user does not have the role.
	ErrRoleNotGranted = call.ErrRoleNotGranted
	// ErrPermissionNotGranted: the role has no permission for exactly this key or
	// range.
	ErrPermissionNotGranted = call.ErrPermissionNotGranted

	// Errors of the server, about its state.

	// ErrNoSpace: the database has reached the server's quota. The request that
	// reached it may have been applied.
	ErrNoSpace = call.ErrNoSpace
	// ErrNoLeader: the member knows no leader.
	ErrNoLeader = call.ErrNoLeader
	// ErrLeaderChanged: the leader changed while the request was in flight.
	ErrLeaderChanged = call.ErrLeaderChanged
	// ErrTooManyRequests: the member has too many requests waiting to be applied, or a
	// proxy in front of it accepts no more for now.
	ErrTooManyRequests = call.ErrTooManyRequests
	// ErrServerTimeout: the server gave up waiting for the cluster to agree. A
	// write may still be applied later.
	ErrServerTimeout = call.ErrServerTimeout
	// ErrServerStopped: the member is shutting down. A write may be applied.
	ErrServerStopped = call.ErrServerStopped
	// ErrCorrupt: the cluster has raised its CORRUPT alarm.
	ErrCorrupt = call.ErrCorrupt
	// ErrNotSupportedForLearner: the member is a learner, which serves only
	// serializable reads and its status. It is [Temporary] while some endpoint may lead
	// to another member.
	ErrNotSupportedForLearner = call.ErrNotSupportedForLearner
)
