package etcd

import (
	"errors"
	"strings"
)

// Errors that errors.Is finds in what this package returns. Those that the
// server reports keep its text in Error.Message.
var (
	// Of the client itself. Nothing was sent.

	// ErrInvalidConfig: a field of Config is wrong; the text names it.
	ErrInvalidConfig = errors.New("invalid configuration")
	// ErrInvalidRequest: a field of the request is wrong; the text names it.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrClosed: the client was closed. A call that was waiting then may have
	// been sent: see MaybeApplied.
	ErrClosed = errors.New("client is closed")
	// ErrBadEndpoint: there is no etcd behind the endpoint, or TLS does not work
	// with it as configured; the text says what to look at.
	ErrBadEndpoint = errors.New("endpoint is not usable as configured")

	// ErrForeignCluster: the endpoint belongs to another cluster than the first
	// one that answered this client. It is not used. A write that met it all the
	// same, where the cluster behind the only endpoint was replaced, may have
	// been applied there.
	ErrForeignCluster = errors.New("endpoint belongs to another cluster")

	// Of the way to the server.

	// ErrUnavailable: no member could be reached, or the connection was lost.
	ErrUnavailable = errors.New("etcd is unavailable")
	// ErrTimeout: an attempt had no answer within Config.Timeout.
	ErrTimeout = errors.New("no answer within Config.Timeout")
	// ErrResponseTooLarge: the answer is larger than Config.MaxResponseBytes.
	ErrResponseTooLarge = errors.New("response too large")

	// Of the server, about requests.

	// ErrCompacted: the revision asked for has been compacted.
	ErrCompacted = errors.New("revision has been compacted")
	// ErrFutureRevision: the revision asked for does not exist yet.
	ErrFutureRevision = errors.New("revision is in the future")
	// ErrKeyNotFound: IgnoreValue or IgnoreLease for a key that does not exist.
	ErrKeyNotFound = errors.New("key not found")
	// ErrLeaseNotFound: the lease does not exist, or no longer.
	ErrLeaseNotFound = errors.New("lease not found")
	// ErrLeaseExists: a lease with this ID exists.
	ErrLeaseExists = errors.New("lease already exists")
	// ErrLeaseTTLTooLarge: the TTL is beyond etcd's limit of 9,000,000,000 s.
	ErrLeaseTTLTooLarge = errors.New("lease TTL too large")
	// ErrRequestTooLarge: the request is larger than the server's
	// --max-request-bytes (1.5 MiB unless configured).
	ErrRequestTooLarge = errors.New("request too large")
	// ErrTooManyOps: a Txn has more operations or compares than the server's
	// --max-txn-ops (128 unless configured).
	ErrTooManyOps = errors.New("too many operations in a transaction")
	// ErrDuplicateKey: a Txn puts a key twice, or puts what it also deletes.
	ErrDuplicateKey = errors.New("duplicate key in a transaction")

	// Of leases: why one is over, see Lease.Err.

	// ErrLeaseExpired: the lease was not renewed in time, or the server does not
	// know it any longer.
	ErrLeaseExpired = errors.New("lease has expired")
	// ErrLeaseRevoked: this client has revoked the lease.
	ErrLeaseRevoked = errors.New("lease was revoked")
	// ErrLeaseNotRenewed: the lease could not be renewed until its deadline.
	ErrLeaseNotRenewed = errors.New("lease could not be renewed in time")
	// ErrStreamClosed: the KeepAliveStream or Snapshot was closed.
	ErrStreamClosed = errors.New("stream is closed")

	// Of watches.

	// ErrWatchClosed: the watch was closed.
	ErrWatchClosed = errors.New("watch is closed")
	// ErrHistoryReset: the cluster's revisions run backwards, most likely
	// because it was restored from a backup. What was read before need no
	// longer be so: read the keys anew and watch from behind that. It ends the
	// watches that have seen more than is left. A linearizable Get, Range or Txn
	// without writes whose answer shows it fails with it, once; from then on the
	// new history counts. Writes do not fail with it, for they were applied:
	// where a write's answer shows it and no watch has ended, the next read fails.
	ErrHistoryReset = errors.New("revisions run backwards; was the cluster restored from a backup?")
	// ErrRevisionTooLarge: the events of one revision are too large to be put
	// together.
	ErrRevisionTooLarge = errors.New("the events of one revision exceed 256 MiB")

	// Of the server, about the cluster's members.

	// ErrMemberNotFound: there is no member with this ID, or no longer.
	ErrMemberNotFound = errors.New("member not found")
	// ErrMemberExists: there is a member with this ID already. An ID is
	// made from the peer URLs and the second: the same request twice.
	ErrMemberExists = errors.New("member already exists")
	// ErrPeerURLExists: another member has one of these peer URLs.
	ErrPeerURLExists = errors.New("peer URL already exists")
	// ErrMemberNotLearner: only a learner can be promoted.
	ErrMemberNotLearner = errors.New("member is not a learner")
	// ErrLearnerNotReady: the learner has not caught up with the leader yet.
	ErrLearnerNotReady = errors.New("learner has not caught up with the leader")
	// ErrTooManyLearners: the cluster has as many learners as its
	// --max-learners allows (1 unless configured).
	ErrTooManyLearners = errors.New("too many learners")
	// ErrNotEnoughStarted: the change could cost the cluster its majority, since
	// too few of its members have started.
	ErrNotEnoughStarted = errors.New("not enough members have started")
	// ErrUnhealthy: the member was not connected to a majority of the others for
	// the last 5 s, so the change could cost the cluster its majority.
	ErrUnhealthy = errors.New("cluster is not healthy enough for the change")
	// ErrClusterIDMismatch: the member belongs to another cluster.
	ErrClusterIDMismatch = errors.New("cluster ID does not match")

	// Of the server, about maintenance.

	// ErrNotLeader: only the leader can do this, and this member is not.
	ErrNotLeader = errors.New("member is not the leader")
	// ErrBadLeaderTransferee: leadership cannot go to this member: there is no
	// such member, or it is a learner.
	ErrBadLeaderTransferee = errors.New("member cannot become the leader")
	// ErrInvalidDowngradeVersion: the cluster can be downgraded to the minor
	// version before its own, and to no other.
	ErrInvalidDowngradeVersion = errors.New("cluster cannot be downgraded to this version")
	// ErrDowngradeInProgress: the cluster is being downgraded already.
	ErrDowngradeInProgress = errors.New("a downgrade is in progress")
	// ErrNoDowngrade: the cluster is not being downgraded.
	ErrNoDowngrade = errors.New("no downgrade is in progress")
	// ErrClusterVersionUnknown: the members have not agreed on the cluster's
	// version yet, shortly after they have started.
	ErrClusterVersionUnknown = errors.New("cluster version is not known yet")
	// ErrSnapshotCorrupt: what was received is not the snapshot that the member
	// has sent: it was cut short, or its SHA-256 does not match.
	ErrSnapshotCorrupt = errors.New("snapshot is not intact")

	// Of the server, about who asks.

	// ErrPermissionDenied: the user may not do this.
	ErrPermissionDenied = errors.New("permission denied")
	// ErrUnauthenticated: the cluster wants a user name and password, and Config
	// has none.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrAuthFailed: the user name or the password is wrong, or this user has no
	// password.
	ErrAuthFailed = errors.New("wrong user name or password")
	// ErrNoCredentials: Config.Credentials failed, or returned what cannot be
	// used; the text says why.
	ErrNoCredentials = errors.New("no credentials")
	// ErrInvalidAuthToken: the server does not know the token, or no longer.
	ErrInvalidAuthToken = errors.New("invalid auth token")

	// Of the server, about users and roles.

	// ErrAuthNotEnabled: authentication is off in the cluster.
	ErrAuthNotEnabled = errors.New("authentication is not enabled")
	// ErrRootUserMissing: authentication can be switched on only when there is a
	// user "root" that has the role "root".
	ErrRootUserMissing = errors.New("there is no user root with the role root")
	// ErrRootRequired: neither the user nor the role "root" can be deleted, nor
	// the one taken from the other, while authentication is on.
	ErrRootRequired = errors.New("the user and the role root are needed while authentication is on")
	// ErrUserExists: there is a user of this name.
	ErrUserExists = errors.New("user already exists")
	// ErrUserNotFound: there is no user of this name.
	ErrUserNotFound = errors.New("user not found")
	// ErrRoleExists: there is a role of this name.
	ErrRoleExists = errors.New("role already exists")
	// ErrRoleNotFound: there is no role of this name.
	ErrRoleNotFound = errors.New("role not found")
	// ErrRoleNotGranted: the user does not have the role.
	ErrRoleNotGranted = errors.New("role is not granted to the user")
	// ErrPermissionNotGranted: the role has no permission for exactly this key or
	// range.
	ErrPermissionNotGranted = errors.New("permission is not granted to the role")

	// Of the server, about its state.

	// ErrNoSpace: the database has reached the server's quota. The request that
	// reached it may have been applied.
	ErrNoSpace = errors.New("database space exceeded")
	// ErrNoLeader: the member knows no leader.
	ErrNoLeader = errors.New("no leader")
	// ErrLeaderChanged: the leader changed while the request was under way.
	ErrLeaderChanged = errors.New("leader changed")
	// ErrTooManyRequests: the member has too many requests waiting to be applied.
	ErrTooManyRequests = errors.New("too many requests")
	// ErrServerTimeout: the server gave up waiting for the cluster to agree. A
	// write may be applied all the same, later.
	ErrServerTimeout = errors.New("server timed out")
	// ErrServerStopped: the member is shutting down. A write may be applied.
	ErrServerStopped = errors.New("server stopped")
	// ErrCorrupt: the cluster has raised its CORRUPT alarm.
	ErrCorrupt = errors.New("cluster is corrupt")
	// ErrNotSupportedForLearner: the member is a learner, which serves only
	// serializable reads and its status.
	ErrNotSupportedForLearner = errors.New("not supported by a learner")
)

// answer is what we know of an error text of etcd's.
type answer struct {
	sentinel  error
	outcome   Outcome
	transient bool // the same request may succeed later or elsewhere
	election  bool // transient until there is a leader again: poll
	reauth    bool // another token may help
}

// textOldAuthRevision: users or roles have changed while the request was under
// way, or since its JWT was issued.
const textOldAuthRevision = "etcdserver: revision of auth store is old"

// answers has a line for each text, with where in etcd (server/) it comes from.
// A text that misleads has a note. Texts that are not here keep their code and
// text, and their outcome is unknown.
var answers = map[string]answer{
	// api/v3rpc/key.go, before anything is proposed.
	"etcdserver: key is not provided":                          {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: value is provided":                            {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: lease is provided":                            {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: invalid sort option":                          {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: too many operations in txn request":           {sentinel: ErrTooManyOps, outcome: Rejected},
	"etcdserver: duplicate key given in txn request":           {sentinel: ErrDuplicateKey, outcome: Rejected},
	"RangeStream does not support custom sort orders":          {sentinel: ErrInvalidRequest, outcome: Rejected},
	"RangeStream does not support revision filters":            {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: rpc not supported for learner":                {sentinel: ErrNotSupportedForLearner, outcome: Rejected, transient: true},
	"etcdserver: invalid client api version":                   {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: mvcc: required revision is a future revision": {sentinel: ErrFutureRevision, outcome: Rejected},

	// etcdserver/apply, txn: checked before the store is touched.
	"etcdserver: key not found":                              {sentinel: ErrKeyNotFound, outcome: Rejected},
	"etcdserver: requested lease not found":                  {sentinel: ErrLeaseNotFound, outcome: Rejected},
	"etcdserver: lease already exists":                       {sentinel: ErrLeaseExists, outcome: Rejected},
	"etcdserver: too large lease TTL":                        {sentinel: ErrLeaseTTLTooLarge, outcome: Rejected},
	"etcdserver: mvcc: required revision has been compacted": {sentinel: ErrCompacted, outcome: Rejected},
	// applierV3Corrupt refuses every write.
	"etcdserver: corrupt cluster": {sentinel: ErrCorrupt, outcome: Rejected},
	// quotaApplierV3 applies the write first and reports afterwards; only the
	// capped applier and the check before the proposal refuse.
	"etcdserver: mvcc: database space exceeded": {sentinel: ErrNoSpace, outcome: OutcomeUnknown},

	// etcdserver/v3_server.go, before the proposal.
	"etcdserver: request is too large": {sentinel: ErrRequestTooLarge, outcome: Rejected},
	"etcdserver: too many requests":    {sentinel: ErrTooManyRequests, outcome: Rejected, transient: true},

	// The proposal's fate is open: these end the wait for it, not the proposal.
	"etcdserver: server stopped":                                                 {sentinel: ErrServerStopped, transient: true},
	"etcdserver: request timed out":                                              {sentinel: ErrServerTimeout, transient: true},
	"etcdserver: request timed out, possibly due to previous leader failure":     {sentinel: ErrServerTimeout, transient: true},
	"etcdserver: request timed out, possibly due to connection lost":             {sentinel: ErrServerTimeout, transient: true},
	"etcdserver: request timed out, waiting for the applied index took too long": {sentinel: ErrServerTimeout, transient: true},
	// Of the request's context on the server. Ours has not ended, or its error
	// would be ours: the server has a limit of its own, or is being shut down.
	"etcdserver: context deadline exceeded": {sentinel: ErrServerTimeout, transient: true},
	"context deadline exceeded":             {sentinel: ErrServerTimeout, transient: true},
	"etcdserver: request canceled":          {sentinel: ErrUnavailable, transient: true},
	"context canceled":                      {sentinel: ErrUnavailable, transient: true},
	"etcdserver: watch canceled":            {sentinel: ErrUnavailable, transient: true},
	// mvcc/kvstore_txn.go, in the middle of a read, and txn.go, of a Txn that only
	// reads; 3.5 says both with codes.Unknown.
	"rangeKeys: context cancelled: context deadline exceeded":                         {sentinel: ErrServerTimeout, transient: true},
	"rangeKeys: context cancelled: context canceled":                                  {sentinel: ErrUnavailable, transient: true},
	"applyTxn: failed Range: rangeKeys: context cancelled: context deadline exceeded": {sentinel: ErrServerTimeout, transient: true},
	"applyTxn: failed Range: rangeKeys: context cancelled: context canceled":          {sentinel: ErrUnavailable, transient: true},
	// raft/node.go: it may have taken the proposal; arrives as codes.Unknown.
	"raft: stopped": {sentinel: ErrServerStopped, transient: true},

	// api/v3rpc/interceptor.go, before everything else; a member that has just
	// started does not know what its cluster can do.
	"etcdserver: not capable": {sentinel: ErrClusterVersionUnknown, outcome: Rejected, transient: true},

	// api/v3rpc/interceptor.go, and reads that found no leader.
	"etcdserver: no leader": {sentinel: ErrNoLeader, outcome: Rejected, transient: true, election: true},
	// etcdserver/read: only linearizable reads end so.
	"etcdserver: leader changed": {sentinel: ErrLeaderChanged, outcome: Rejected, transient: true, election: true},
	// raft refuses to append while leadership moves; arrives as codes.Unknown.
	"raft proposal dropped": {sentinel: ErrLeaderChanged, outcome: Rejected, transient: true, election: true},

	// A leader that cannot make sure that it still is; arrives as codes.Unknown.
	"not a primary lessor": {sentinel: ErrLeaderChanged, outcome: Rejected, transient: true, election: true},

	// etcdserver/server.go (mayAddMember, mayRemoveMember, mayPromoteMember),
	// before the proposal; membership/cluster.go when it is applied, to nothing.
	"etcdserver: member not found":                                               {sentinel: ErrMemberNotFound, outcome: Rejected},
	"etcdserver: member ID already exist":                                        {sentinel: ErrMemberExists, outcome: Rejected},
	"etcdserver: Peer URLs already exists":                                       {sentinel: ErrPeerURLExists, outcome: Rejected},
	"etcdserver: given member URLs are invalid":                                  {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: can only promote a learner member":                              {sentinel: ErrMemberNotLearner, outcome: Rejected},
	"etcdserver: can only promote a learner member which is in sync with leader": {sentinel: ErrLearnerNotReady, outcome: Rejected},
	"etcdserver: too many learner members in cluster":                            {sentinel: ErrTooManyLearners, outcome: Rejected},
	"etcdserver: re-configuration failed due to not enough started members":      {sentinel: ErrNotEnoughStarted, outcome: Rejected},
	// For the first 5 s of a member's connections.
	"etcdserver: unhealthy cluster":   {sentinel: ErrUnhealthy, outcome: Rejected, transient: true},
	"etcdserver: cluster ID mismatch": {sentinel: ErrClusterIDMismatch, outcome: Rejected},

	// api/v3rpc/maintenance.go: only MoveLeader ends so.
	"etcdserver: not leader":            {sentinel: ErrNotLeader, outcome: Rejected},
	"etcdserver: bad leader transferee": {sentinel: ErrBadLeaderTransferee, outcome: Rejected},
	// It may still succeed; arrives as codes.Unknown.
	"etcdserver: request timed out, leader transfer took too long": {sentinel: ErrServerTimeout, transient: true},
	// etcdserver/version and v3_server.go, before the proposal.
	"etcdserver: wrong downgrade target version format":      {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: invalid downgrade target version":           {sentinel: ErrInvalidDowngradeVersion, outcome: Rejected},
	"etcdserver: cluster has a downgrade job in progress":    {sentinel: ErrDowngradeInProgress, outcome: Rejected},
	"etcdserver: no inflight downgrade job":                  {sentinel: ErrNoDowngrade, outcome: Rejected},
	"etcdserver: cluster version not found during downgrade": {sentinel: ErrClusterVersionUnknown, outcome: Rejected, transient: true},

	// auth/store.go and apply/auth.go: what is asked of the token and of the
	// user is checked before the proposal, or by the applier before it applies.
	// A read may learn that the revision is old when it has been made.
	"etcdserver: permission denied":  {sentinel: ErrPermissionDenied, outcome: Rejected},
	"etcdserver: user name is empty": {sentinel: ErrUnauthenticated, outcome: Rejected, reauth: true},
	"etcdserver: invalid auth token": {sentinel: ErrInvalidAuthToken, outcome: Rejected, reauth: true},
	textOldAuthRevision:              {outcome: Rejected, transient: true, reauth: true},
	// auth/store.go, of Authenticate. Those that begin with "auth:" arrive as
	// codes.Unknown; the last is of a server that can check JWTs but not issue them.
	"etcdserver: authentication failed, invalid user ID or password":       {sentinel: ErrAuthFailed, outcome: Rejected},
	"auth: authentication failed, password was given for no password user": {sentinel: ErrAuthFailed, outcome: Rejected},
	"auth: token signing attempted with verify-only key":                   {sentinel: ErrAuthFailed, outcome: Rejected},
	"etcdserver: authentication is not enabled":                            {sentinel: ErrAuthNotEnabled, outcome: Rejected},
	// v3_server.go hashes passwords before the proposal; arrives as codes.Unknown.
	"bcrypt: password length exceeds 72 bytes": {sentinel: ErrInvalidRequest, outcome: Rejected},
	// auth/store.go, of users and roles: checked before anything is changed.
	"etcdserver: root user does not exist":              {sentinel: ErrRootUserMissing, outcome: Rejected},
	"etcdserver: root user does not have root role":     {sentinel: ErrRootUserMissing, outcome: Rejected},
	"etcdserver: user name already exists":              {sentinel: ErrUserExists, outcome: Rejected},
	"etcdserver: user name not found":                   {sentinel: ErrUserNotFound, outcome: Rejected},
	"etcdserver: role name already exists":              {sentinel: ErrRoleExists, outcome: Rejected},
	"etcdserver: role name not found":                   {sentinel: ErrRoleNotFound, outcome: Rejected},
	"etcdserver: role name is empty":                    {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: permission not given":                  {sentinel: ErrInvalidRequest, outcome: Rejected},
	"etcdserver: role is not granted to the user":       {sentinel: ErrRoleNotGranted, outcome: Rejected},
	"etcdserver: permission is not granted to the role": {sentinel: ErrPermissionNotGranted, outcome: Rejected},
	"etcdserver: invalid auth management":               {sentinel: ErrRootRequired, outcome: Rejected},
}

// classifyAnswer fills e from the text that the server sent.
func (e *Error) classifyAnswer() {
	a, ok := answers[e.Message]
	switch {
	case ok:
	case e.Code == CodeUnimplemented:
		a = answer{outcome: Rejected}
	case e.Code == CodeResourceExhausted && strings.HasPrefix(e.Message, "grpc: received message larger than max"):
		a = answer{sentinel: ErrRequestTooLarge, outcome: Rejected}
	case e.Code == CodeInternal && strings.HasPrefix(e.Message, "grpc: error unmarshalling request"):
		a = answer{sentinel: ErrInvalidRequest, outcome: Rejected}
	case e.Code == CodeUnavailable:
		a = answer{sentinel: ErrUnavailable, transient: true}
	}
	e.sentinel, e.Outcome, e.transient, e.election, e.reauth = a.sentinel, a.outcome, a.transient, a.election, a.reauth
}
