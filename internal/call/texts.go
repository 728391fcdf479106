package call

import (
	"strings"

	"silly.store/etcd/internal/transport"
)

// serverError is what the client knows about one of etcd's error texts.
type serverError struct {
	sentinel  error
	outcome   Outcome
	transient bool // the same request may succeed later or elsewhere
	election  bool // transient until there is a leader again, so poll
	reauth    bool // another token may help
	// hint is added to the text: what the reader can do.
	hint string
}

// Hints about what the reader can do.
const (
	hintRequestSize = "; the limit is the server's --max-request-bytes, 1.5 MiB unless it is set"
	hintUser        = "; the cluster asks for a user: set Config.Username and Password, or Credentials"
)

// textOldAuthRevision means that users or roles changed while the request was in
// flight, or since its JWT was issued.
const textOldAuthRevision = "etcdserver: revision of auth store is old"

// serverErrors has one line per text, with its origin in etcd (below server/).
// Misleading texts have a note. A text that is not listed keeps its code, and its
// outcome is unknown.
var serverErrors = map[string]serverError{
	// api/v3rpc/key.go, before anything is proposed.
	"etcdserver: key is not provided":                          {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: value is provided":                            {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: lease is provided":                            {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: invalid sort option":                          {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: too many operations in txn request":           {sentinel: ErrTooManyOps, outcome: OutcomeRejected},
	"etcdserver: duplicate key given in txn request":           {sentinel: ErrDuplicateKey, outcome: OutcomeRejected},
	"RangeStream does not support custom sort orders":          {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"RangeStream does not support revision filters":            {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: rpc not supported for learner":                {sentinel: ErrNotSupportedForLearner, outcome: OutcomeRejected, transient: true},
	"etcdserver: invalid client api version":                   {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: mvcc: required revision is a future revision": {sentinel: ErrFutureRevision, outcome: OutcomeRejected},

	// etcdserver/apply, txn: checked before the store is touched.
	"etcdserver: key not found":                              {sentinel: ErrKeyNotFound, outcome: OutcomeRejected},
	"etcdserver: requested lease not found":                  {sentinel: ErrLeaseNotFound, outcome: OutcomeRejected},
	"etcdserver: lease already exists":                       {sentinel: ErrLeaseExists, outcome: OutcomeRejected},
	"etcdserver: too large lease TTL":                        {sentinel: ErrLeaseTTLTooLarge, outcome: OutcomeRejected},
	"etcdserver: mvcc: required revision has been compacted": {sentinel: ErrCompacted, outcome: OutcomeRejected},
	// applierV3Corrupt refuses every write.
	"etcdserver: corrupt cluster": {sentinel: ErrCorrupt, outcome: OutcomeRejected},
	// quotaApplierV3 applies the write first and reports afterwards; only the
	// capped applier and the check before the proposal refuse.
	"etcdserver: mvcc: database space exceeded": {sentinel: ErrNoSpace, outcome: OutcomeUnknown},

	// etcdserver/v3_server.go, before the proposal.
	"etcdserver: request is too large": {sentinel: ErrRequestTooLarge, outcome: OutcomeRejected, hint: hintRequestSize},
	"etcdserver: too many requests":    {sentinel: ErrTooManyRequests, outcome: OutcomeRejected, transient: true},

	// The outcome is unknown: these end the wait for the proposal, not the
	// proposal.
	"etcdserver: server stopped":                                                 {sentinel: ErrServerStopped, transient: true},
	"etcdserver: request timed out":                                              {sentinel: ErrServerTimeout, transient: true},
	"etcdserver: request timed out, possibly due to previous leader failure":     {sentinel: ErrServerTimeout, transient: true},
	"etcdserver: request timed out, possibly due to connection lost":             {sentinel: ErrServerTimeout, transient: true},
	"etcdserver: request timed out, waiting for the applied index took too long": {sentinel: ErrServerTimeout, transient: true},
	// From the request's context on the server. Our context has not ended, or the
	// error would be ours: the server has its own limit or is shutting down.
	"etcdserver: context deadline exceeded": {sentinel: ErrServerTimeout, transient: true},
	"context deadline exceeded":             {sentinel: ErrServerTimeout, transient: true},
	"etcdserver: request canceled":          {sentinel: ErrUnavailable, transient: true},
	"context canceled":                      {sentinel: ErrUnavailable, transient: true},
	"etcdserver: watch canceled":            {sentinel: ErrUnavailable, transient: true},
	// mvcc/kvstore_txn.go, during a read, and txn.go, from a Txn that only reads;
	// 3.5 sends both with codes.Unknown.
	"rangeKeys: context cancelled: context deadline exceeded":                         {sentinel: ErrServerTimeout, transient: true},
	"rangeKeys: context cancelled: context canceled":                                  {sentinel: ErrUnavailable, transient: true},
	"applyTxn: failed Range: rangeKeys: context cancelled: context deadline exceeded": {sentinel: ErrServerTimeout, transient: true},
	"applyTxn: failed Range: rangeKeys: context cancelled: context canceled":          {sentinel: ErrUnavailable, transient: true},
	// raft/node.go: raft may have accepted the proposal; arrives as codes.Unknown.
	"raft: stopped": {sentinel: ErrServerStopped, transient: true},

	// api/v3rpc/interceptor.go, before everything else; a member that has just
	// started does not know its cluster's capabilities.
	"etcdserver: not capable": {sentinel: ErrClusterVersionUnknown, outcome: OutcomeRejected, transient: true},

	// api/v3rpc/interceptor.go, and reads that find no leader.
	"etcdserver: no leader": {sentinel: ErrNoLeader, outcome: OutcomeRejected, transient: true, election: true},
	// etcdserver/read: only for linearizable reads.
	"etcdserver: leader changed": {sentinel: ErrLeaderChanged, outcome: OutcomeRejected, transient: true, election: true},
	// raft refuses to append during a leader transfer; arrives as codes.Unknown.
	"raft proposal dropped": {sentinel: ErrLeaderChanged, outcome: OutcomeRejected, transient: true, election: true},

	// From a leader that cannot confirm that it still leads; arrives as
	// codes.Unknown.
	"not a primary lessor": {sentinel: ErrLeaderChanged, outcome: OutcomeRejected, transient: true, election: true},

	// etcdserver/server.go (mayAddMember, mayRemoveMember, mayPromoteMember),
	// before the proposal; membership/cluster.go when the proposal is applied,
	// without effect.
	"etcdserver: member not found":                                               {sentinel: ErrMemberNotFound, outcome: OutcomeRejected},
	"etcdserver: member ID already exist":                                        {sentinel: ErrMemberExists, outcome: OutcomeRejected},
	"etcdserver: Peer URLs already exists":                                       {sentinel: ErrPeerURLExists, outcome: OutcomeRejected},
	"etcdserver: given member URLs are invalid":                                  {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: can only promote a learner member":                              {sentinel: ErrMemberNotLearner, outcome: OutcomeRejected},
	"etcdserver: can only promote a learner member which is in sync with leader": {sentinel: ErrLearnerNotReady, outcome: OutcomeRejected},
	"etcdserver: too many learner members in cluster":                            {sentinel: ErrTooManyLearners, outcome: OutcomeRejected},
	"etcdserver: re-configuration failed due to not enough started members":      {sentinel: ErrNotEnoughStarted, outcome: OutcomeRejected},
	// For the first 5 s of a member's connections.
	"etcdserver: unhealthy cluster":   {sentinel: ErrUnhealthy, outcome: OutcomeRejected, transient: true},
	"etcdserver: cluster ID mismatch": {sentinel: ErrClusterIDMismatch, outcome: OutcomeRejected},

	// api/v3rpc/maintenance.go: only for MoveLeader.
	"etcdserver: not leader":            {sentinel: ErrNotLeader, outcome: OutcomeRejected},
	"etcdserver: bad leader transferee": {sentinel: ErrBadLeaderTransferee, outcome: OutcomeRejected},
	// It may still succeed; arrives as codes.Unknown.
	"etcdserver: request timed out, leader transfer took too long": {sentinel: ErrServerTimeout, transient: true},
	// etcdserver/version and v3_server.go, before the proposal.
	"etcdserver: wrong downgrade target version format":      {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: invalid downgrade target version":           {sentinel: ErrInvalidDowngradeVersion, outcome: OutcomeRejected},
	"etcdserver: cluster has a downgrade job in progress":    {sentinel: ErrDowngradeInProgress, outcome: OutcomeRejected},
	"etcdserver: no inflight downgrade job":                  {sentinel: ErrNoDowngrade, outcome: OutcomeRejected},
	"etcdserver: cluster version not found during downgrade": {sentinel: ErrClusterVersionUnknown, outcome: OutcomeRejected, transient: true},

	// auth/store.go and apply/auth.go: token and permissions are checked before the
	// proposal, or by the applier before it applies. A read may learn only after it
	// was made that the revision is old.
	"etcdserver: permission denied":  {sentinel: ErrPermissionDenied, outcome: OutcomeRejected},
	"etcdserver: user name is empty": {sentinel: ErrUnauthenticated, outcome: OutcomeRejected, reauth: true, hint: hintUser},
	"etcdserver: invalid auth token": {sentinel: ErrInvalidAuthToken, outcome: OutcomeRejected, reauth: true},
	textOldAuthRevision:              {outcome: OutcomeRejected, transient: true, reauth: true},
	// auth/store.go, for Authenticate. Those that begin with "auth:" arrive as
	// codes.Unknown; the last comes from a server that can check JWTs but not issue
	// them.
	"etcdserver: authentication failed, invalid user ID or password":       {sentinel: ErrAuthFailed, outcome: OutcomeRejected},
	"auth: authentication failed, password was given for no password user": {sentinel: ErrAuthFailed, outcome: OutcomeRejected},
	"auth: token signing attempted with verify-only key":                   {sentinel: ErrAuthFailed, outcome: OutcomeRejected},
	"etcdserver: authentication is not enabled":                            {sentinel: ErrAuthNotEnabled, outcome: OutcomeRejected},
	// v3_server.go hashes passwords before the proposal; arrives as codes.Unknown.
	"bcrypt: password length exceeds 72 bytes": {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	// auth/store.go, for users and roles: checked before anything changes.
	"etcdserver: root user does not exist":              {sentinel: ErrRootUserMissing, outcome: OutcomeRejected},
	"etcdserver: root user does not have root role":     {sentinel: ErrRootUserMissing, outcome: OutcomeRejected},
	"etcdserver: user name already exists":              {sentinel: ErrUserExists, outcome: OutcomeRejected},
	"etcdserver: user name not found":                   {sentinel: ErrUserNotFound, outcome: OutcomeRejected},
	"etcdserver: role name already exists":              {sentinel: ErrRoleExists, outcome: OutcomeRejected},
	"etcdserver: role name not found":                   {sentinel: ErrRoleNotFound, outcome: OutcomeRejected},
	"etcdserver: role name is empty":                    {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: permission not given":                  {sentinel: ErrInvalidRequest, outcome: OutcomeRejected},
	"etcdserver: role is not granted to the user":       {sentinel: ErrRoleNotGranted, outcome: OutcomeRejected},
	"etcdserver: permission is not granted to the role": {sentinel: ErrPermissionNotGranted, outcome: OutcomeRejected},
	"etcdserver: invalid auth management":               {sentinel: ErrRootRequired, outcome: OutcomeRejected},
}

// classifyText fills e according to the server's text.
func (e *Error) classifyText() {
	a, ok := serverErrors[e.Message]
	switch {
	case ok:
	case e.Code == transport.Unimplemented:
		a = serverError{outcome: OutcomeRejected}
	case e.Code == transport.ResourceExhausted && strings.HasPrefix(e.Message, textTooLarge):
		a = serverError{sentinel: ErrRequestTooLarge, outcome: OutcomeRejected}
	case e.Code == transport.Internal && strings.HasPrefix(e.Message, "grpc: error unmarshalling request"):
		a = serverError{sentinel: ErrInvalidRequest, outcome: OutcomeRejected}
	case e.Code == transport.Unavailable:
		a = serverError{sentinel: ErrUnavailable, transient: true}
	}
	e.Sentinel, e.Outcome, e.Transient, e.election, e.reauth = a.sentinel, a.outcome, a.transient, a.election, a.reauth
}

// textTooLarge is how grpc-go begins its refusal of a request; the sizes follow.
const textTooLarge = "grpc: received message larger than max"

// hint is what the server's text leaves out. The message stays the server's own.
func (e *Error) hint() string {
	if strings.HasPrefix(e.Message, textTooLarge) && !strings.Contains(e.Message, hintRequestSize) {
		return hintRequestSize
	}
	return serverErrors[e.Message].hint
}
