package call

import (
	"testing"

	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// What each of etcd's texts means for a write. This list was made from etcd's
// sources, independently of the table that it checks.
func TestAnswers(t *testing.T) {
	type meaning struct {
		is      error
		outcome Outcome
		again   bool // transient
		polls   bool // election
	}
	want := map[string]meaning{
		"etcdserver: key is not provided":                          {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: value is provided":                            {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: lease is provided":                            {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: invalid sort option":                          {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: invalid client api version":                   {ErrInvalidRequest, OutcomeRejected, false, false},
		"RangeStream does not support custom sort orders":          {ErrInvalidRequest, OutcomeRejected, false, false},
		"RangeStream does not support revision filters":            {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: too many operations in txn request":           {ErrTooManyOps, OutcomeRejected, false, false},
		"etcdserver: duplicate key given in txn request":           {ErrDuplicateKey, OutcomeRejected, false, false},
		"etcdserver: mvcc: required revision is a future revision": {ErrFutureRevision, OutcomeRejected, false, false},
		"etcdserver: mvcc: required revision has been compacted":   {ErrCompacted, OutcomeRejected, false, false},
		"etcdserver: key not found":                                {ErrKeyNotFound, OutcomeRejected, false, false},
		"etcdserver: requested lease not found":                    {ErrLeaseNotFound, OutcomeRejected, false, false},
		"etcdserver: lease already exists":                         {ErrLeaseExists, OutcomeRejected, false, false},
		"etcdserver: too large lease TTL":                          {ErrLeaseTTLTooLarge, OutcomeRejected, false, false},
		"etcdserver: request is too large":                         {ErrRequestTooLarge, OutcomeRejected, false, false},
		"etcdserver: corrupt cluster":                              {ErrCorrupt, OutcomeRejected, false, false},
		"etcdserver: permission denied":                            {ErrPermissionDenied, OutcomeRejected, false, false},
		"etcdserver: user name is empty":                           {ErrUnauthenticated, OutcomeRejected, false, false},
		"etcdserver: user name not found":                          {ErrUserNotFound, OutcomeRejected, false, false},
		"etcdserver: user name already exists":                     {ErrUserExists, OutcomeRejected, false, false},
		"etcdserver: role name not found":                          {ErrRoleNotFound, OutcomeRejected, false, false},
		"etcdserver: role name already exists":                     {ErrRoleExists, OutcomeRejected, false, false},
		"etcdserver: role name is empty":                           {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: role is not granted to the user":              {ErrRoleNotGranted, OutcomeRejected, false, false},
		"etcdserver: permission not given":                         {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: permission is not granted to the role":        {ErrPermissionNotGranted, OutcomeRejected, false, false},
		"etcdserver: root user does not exist":                     {ErrRootUserMissing, OutcomeRejected, false, false},
		"etcdserver: root user does not have root role":            {ErrRootUserMissing, OutcomeRejected, false, false},
		"etcdserver: invalid auth management":                      {ErrRootRequired, OutcomeRejected, false, false},
		"etcdserver: authentication is not enabled":                {ErrAuthNotEnabled, OutcomeRejected, false, false},
		"auth: token signing attempted with verify-only key":       {ErrAuthFailed, OutcomeRejected, false, false},
		"etcdserver: authentication failed, invalid user ID or password": {
			ErrAuthFailed, OutcomeRejected, false, false},
		"auth: authentication failed, password was given for no password user": {
			ErrAuthFailed, OutcomeRejected, false, false},
		"etcdserver: invalid auth token": {ErrInvalidAuthToken, OutcomeRejected, false, false},

		"etcdserver: not capable":                   {ErrClusterVersionUnknown, OutcomeRejected, true, false},
		"bcrypt: password length exceeds 72 bytes":  {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: too many requests":             {ErrTooManyRequests, OutcomeRejected, true, false},
		"etcdserver: rpc not supported for learner": {ErrNotSupportedForLearner, OutcomeRejected, true, false},
		"etcdserver: revision of auth store is old": {nil, OutcomeRejected, true, false},

		"not a primary lessor":       {ErrLeaderChanged, OutcomeRejected, true, true},
		"etcdserver: no leader":      {ErrNoLeader, OutcomeRejected, true, true},
		"etcdserver: not leader":     {ErrNotLeader, OutcomeRejected, false, false},
		"etcdserver: leader changed": {ErrLeaderChanged, OutcomeRejected, true, true},
		"raft proposal dropped":      {ErrLeaderChanged, OutcomeRejected, true, true},

		"etcdserver: member not found":                                               {ErrMemberNotFound, OutcomeRejected, false, false},
		"etcdserver: member ID already exist":                                        {ErrMemberExists, OutcomeRejected, false, false},
		"etcdserver: Peer URLs already exists":                                       {ErrPeerURLExists, OutcomeRejected, false, false},
		"etcdserver: given member URLs are invalid":                                  {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: can only promote a learner member":                              {ErrMemberNotLearner, OutcomeRejected, false, false},
		"etcdserver: can only promote a learner member which is in sync with leader": {ErrLearnerNotReady, OutcomeRejected, false, false},
		"etcdserver: too many learner members in cluster":                            {ErrTooManyLearners, OutcomeRejected, false, false},
		"etcdserver: re-configuration failed due to not enough started members":      {ErrNotEnoughStarted, OutcomeRejected, false, false},
		"etcdserver: cluster ID mismatch":                                            {ErrClusterIDMismatch, OutcomeRejected, false, false},
		"etcdserver: unhealthy cluster":                                              {ErrUnhealthy, OutcomeRejected, true, false},
		"etcdserver: bad leader transferee":                                          {ErrBadLeaderTransferee, OutcomeRejected, false, false},
		"etcdserver: wrong downgrade target version format":                          {ErrInvalidRequest, OutcomeRejected, false, false},
		"etcdserver: invalid downgrade target version":                               {ErrInvalidDowngradeVersion, OutcomeRejected, false, false},
		"etcdserver: cluster has a downgrade job in progress":                        {ErrDowngradeInProgress, OutcomeRejected, false, false},
		"etcdserver: no inflight downgrade job":                                      {ErrNoDowngrade, OutcomeRejected, false, false},
		"etcdserver: cluster version not found during downgrade":                     {ErrClusterVersionUnknown, OutcomeRejected, true, false},
		"etcdserver: request timed out, leader transfer took too long":               {ErrServerTimeout, OutcomeUnknown, true, false},

		// Applied, or perhaps later.
		"etcdserver: mvcc: database space exceeded":                                       {ErrNoSpace, OutcomeUnknown, false, false},
		"etcdserver: server stopped":                                                      {ErrServerStopped, OutcomeUnknown, true, false},
		"etcdserver: request timed out":                                                   {ErrServerTimeout, OutcomeUnknown, true, false},
		"etcdserver: request timed out, possibly due to previous leader failure":          {ErrServerTimeout, OutcomeUnknown, true, false},
		"etcdserver: request timed out, possibly due to connection lost":                  {ErrServerTimeout, OutcomeUnknown, true, false},
		"etcdserver: request timed out, waiting for the applied index took too long":      {ErrServerTimeout, OutcomeUnknown, true, false},
		"etcdserver: request canceled":                                                    {ErrUnavailable, OutcomeUnknown, true, false},
		"etcdserver: watch canceled":                                                      {ErrUnavailable, OutcomeUnknown, true, false},
		"context canceled":                                                                {ErrUnavailable, OutcomeUnknown, true, false},
		"etcdserver: context deadline exceeded":                                           {ErrServerTimeout, OutcomeUnknown, true, false},
		"context deadline exceeded":                                                       {ErrServerTimeout, OutcomeUnknown, true, false},
		"rangeKeys: context cancelled: context deadline exceeded":                         {ErrServerTimeout, OutcomeUnknown, true, false},
		"rangeKeys: context cancelled: context canceled":                                  {ErrUnavailable, OutcomeUnknown, true, false},
		"applyTxn: failed Range: rangeKeys: context cancelled: context deadline exceeded": {ErrServerTimeout, OutcomeUnknown, true, false},
		"applyTxn: failed Range: rangeKeys: context cancelled: context canceled":          {ErrUnavailable, OutcomeUnknown, true, false},
		"raft: stopped": {ErrServerStopped, OutcomeUnknown, true, false},
	}
	for text := range serverErrors {
		if _, ok := want[text]; !ok {
			t.Errorf("the table has %q, which this test does not know", text)
		}
	}
	for text, w := range want {
		e := FromTransport(rpc.Put, "a:1", &transport.Error{Code: transport.Aborted, Message: text, Outcome: transport.Answered})
		if e.Sentinel != w.is || e.Outcome != w.outcome || e.Transient != w.again || e.election != w.polls {
			t.Errorf("%q: %v, %v, transient %v, election %v; want %+v", text, e.Sentinel, e.Outcome, e.Transient, e.election, w)
		}
		if e.Message != text || e.Code != transport.Aborted {
			t.Errorf("%q became %v %q", text, e.Code, e.Message)
		}
	}
}

// Unknown texts keep their code, and their outcome is unknown.
func TestUnknownAnswers(t *testing.T) {
	for _, test := range []struct {
		code      transport.Code
		text      string
		is        error
		outcome   Outcome
		transient bool
	}{
		{transport.Unknown, "something new", nil, OutcomeUnknown, false},
		{transport.Internal, "etcdserver: no leader, sort of", nil, OutcomeUnknown, false},
		{transport.Unavailable, "shutting down", ErrUnavailable, OutcomeUnknown, true},
		{transport.DeadlineExceeded, "something else", nil, OutcomeUnknown, false},
		{transport.Canceled, "something else", nil, OutcomeUnknown, false},
		{transport.Internal, "grpc: error unmarshalling request: proto: bad", ErrInvalidRequest, OutcomeRejected, false},
		{transport.Unimplemented, "unknown method X", nil, OutcomeRejected, false},
		{transport.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)", ErrRequestTooLarge, OutcomeRejected, false},
		{transport.ResourceExhausted, "something else", nil, OutcomeUnknown, false},
		{transport.PermissionDenied, "", nil, OutcomeUnknown, false},
	} {
		e := FromTransport(rpc.Put, "a:1", &transport.Error{Code: test.code, Message: test.text, Outcome: transport.Answered})
		if e.Sentinel != test.is || e.Outcome != test.outcome || e.Transient != test.transient || e.election || e.Code != test.code {
			t.Errorf("%v %q: %+v", test.code, test.text, e)
		}
		if e.Error() == "" {
			t.Error("no text")
		}
	}
}
