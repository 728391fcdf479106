package client

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// answer is the expectation for one of etcd's error texts.
type answer struct {
	code    codes.Code
	is      error // nil: no Err variable
	outcome etcd.Outcome
	// put and get: the call is retried.
	put, get bool
	// from names a file of the server's module and the place in it that makes the
	// text.
	from string
}

const (
	rejected = etcd.OutcomeRejected
	unknown  = etcd.OutcomeUnknown
)

// answers has every text of rpctypes of etcd 3.5, 3.6 and 3.7, and the other texts
// that reach clients, as codes.Unknown or from gRPC.
var answers = map[string]answer{
	"etcdserver: key is not provided":                 {codes.InvalidArgument, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/api/v3rpc/key.go: rpctypes.ErrGRPCEmptyKey"},
	"etcdserver: value is provided":                   {codes.InvalidArgument, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/api/v3rpc/key.go: rpctypes.ErrGRPCValueProvided"},
	"etcdserver: lease is provided":                   {codes.InvalidArgument, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/api/v3rpc/key.go: rpctypes.ErrGRPCLeaseProvided"},
	"etcdserver: invalid sort option":                 {codes.InvalidArgument, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/api/v3rpc/key.go: rpctypes.ErrGRPCInvalidSortOption"},
	"etcdserver: too many operations in txn request":  {codes.InvalidArgument, etcd.ErrTooManyOps, rejected, false, false, "etcdserver/api/v3rpc/key.go: rpctypes.ErrGRPCTooManyOps"},
	"etcdserver: duplicate key given in txn request":  {codes.InvalidArgument, etcd.ErrDuplicateKey, rejected, false, false, "etcdserver/api/v3rpc/key.go: rpctypes.ErrGRPCDuplicateKey"},
	"RangeStream does not support custom sort orders": {codes.Unimplemented, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/api/v3rpc/key.go: RangeStream does not support custom sort orders"},
	"RangeStream does not support revision filters":   {codes.Unimplemented, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/api/v3rpc/key.go: RangeStream does not support revision filters"},
	"etcdserver: invalid client api version":          {codes.InvalidArgument, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/api/v3rpc/interceptor.go: rpctypes.ErrGRPCInvalidClientAPIVersion"},
	"etcdserver: not capable":                         {codes.FailedPrecondition, etcd.ErrClusterVersionUnknown, rejected, true, true, "etcdserver/api/v3rpc/interceptor.go: rpctypes.ErrGRPCNotCapable"},
	// The first refusal has the client look for another member behind the address.
	"etcdserver: rpc not supported for learner":                {codes.FailedPrecondition, etcd.ErrNotSupportedForLearner, rejected, true, false, "etcdserver/api/v3rpc/interceptor.go: rpctypes.ErrGRPCNotSupportedForLearner"},
	"etcdserver: no leader":                                    {codes.Unavailable, etcd.ErrNoLeader, rejected, true, true, "etcdserver/api/v3rpc/interceptor.go: rpctypes.ErrGRPCNoLeader"},
	"etcdserver: request is too large":                         {codes.InvalidArgument, etcd.ErrRequestTooLarge, rejected, false, false, "etcdserver/v3_server.go: errors.ErrRequestTooLarge"},
	"etcdserver: mvcc: required revision is a future revision": {codes.OutOfRange, etcd.ErrFutureRevision, rejected, false, false, "etcdserver/txn/range.go: mvcc.ErrFutureRev"},
	"etcdserver: mvcc: required revision has been compacted":   {codes.OutOfRange, etcd.ErrCompacted, rejected, false, false, "etcdserver/txn/range.go: mvcc.ErrCompacted"},
	"etcdserver: key not found":                                {codes.InvalidArgument, etcd.ErrKeyNotFound, rejected, false, false, "etcdserver/txn/put.go: errors.ErrKeyNotFound"},
	"etcdserver: requested lease not found":                    {codes.NotFound, etcd.ErrLeaseNotFound, rejected, false, false, "lease/lessor.go: ErrLeaseNotFound"},
	"etcdserver: lease already exists":                         {codes.FailedPrecondition, etcd.ErrLeaseExists, rejected, false, false, "lease/lessor.go: ErrLeaseExists"},
	"etcdserver: too large lease TTL":                          {codes.OutOfRange, etcd.ErrLeaseTTLTooLarge, rejected, false, false, "lease/lessor.go: ErrLeaseTTLTooLarge"},
	"etcdserver: corrupt cluster":                              {codes.DataLoss, etcd.ErrCorrupt, rejected, false, false, "etcdserver/apply/corrupt.go: errors.ErrCorrupt"},
	// The write is applied, then reported as out of space.
	"etcdserver: mvcc: database space exceeded": {codes.ResourceExhausted, etcd.ErrNoSpace, unknown, false, false, "etcdserver/apply/quota.go: errors.ErrNoSpace"},
	// etcd intends another code here, but answers with an error that is not a gRPC
	// status.
	"etcdserver: too many requests":                                         {codes.Unknown, etcd.ErrTooManyRequests, rejected, true, true, "etcdserver/v3_server.go: errors.ErrTooManyRequests"},
	"etcdserver: re-configuration failed due to not enough started members": {codes.Unknown, etcd.ErrNotEnoughStarted, rejected, false, false, "etcdserver/server.go: errors.ErrNotEnoughStartedMembers"},

	// The wait for the proposal ends, but perhaps not the proposal.
	"etcdserver: server stopped":                                                 {codes.Unavailable, etcd.ErrServerStopped, unknown, false, true, "etcdserver/v3_server.go: errors.ErrStopped"},
	"etcdserver: request timed out":                                              {codes.Unavailable, etcd.ErrServerTimeout, unknown, false, true, "etcdserver/server.go: errors.ErrTimeout"},
	"etcdserver: request timed out, possibly due to previous leader failure":     {codes.Unavailable, etcd.ErrServerTimeout, unknown, false, true, "etcdserver/server.go: errors.ErrTimeoutDueToLeaderFail"},
	"etcdserver: request timed out, possibly due to connection lost":             {codes.Unavailable, etcd.ErrServerTimeout, unknown, false, true, "etcdserver/server.go: errors.ErrTimeoutDueToConnectionLost"},
	"etcdserver: request timed out, waiting for the applied index took too long": {codes.Unavailable, etcd.ErrServerTimeout, unknown, false, true, "etcdserver/v3_server.go: errors.ErrTimeoutWaitAppliedIndex"},
	"etcdserver: request timed out, leader transfer took too long":               {codes.Unknown, etcd.ErrServerTimeout, unknown, false, true, "etcdserver/server.go: errors.ErrTimeoutLeaderTransfer"},
	"etcdserver: request canceled":                                               {codes.Canceled, etcd.ErrUnavailable, unknown, false, true, "etcdserver/server.go: errors.ErrCanceled"},
	"etcdserver: context deadline exceeded":                                      {codes.DeadlineExceeded, etcd.ErrServerTimeout, unknown, false, true, "etcdserver/api/v3rpc/util.go: rpctypes.ErrGRPCDeadlineExceeded"},
	"etcdserver: watch canceled":                                                 {codes.Canceled, etcd.ErrUnavailable, unknown, false, true, "etcdserver/api/v3rpc/watch.go: rpctypes.ErrGRPCWatchCanceled"},
	// togRPCError leaves those of contexts to gRPC.
	"context deadline exceeded": {codes.DeadlineExceeded, etcd.ErrServerTimeout, unknown, false, true, "etcdserver/api/v3rpc/util.go: context.DeadlineExceeded"},
	"context canceled":          {codes.Canceled, etcd.ErrUnavailable, unknown, false, true, "etcdserver/api/v3rpc/util.go: context.Canceled"},

	// Reads that have begun; since 3.6 with the codes of contexts.
	"rangeKeys: context cancelled: context deadline exceeded":                         {codes.Unknown, etcd.ErrServerTimeout, unknown, false, true, "storage/mvcc/kvstore_txn.go: rangeKeys: context cancelled: %w"},
	"rangeKeys: context cancelled: context canceled":                                  {codes.Unknown, etcd.ErrUnavailable, unknown, false, true, "storage/mvcc/kvstore_txn.go: rangeKeys: context cancelled: %w"},
	"applyTxn: failed Range: rangeKeys: context cancelled: context deadline exceeded": {codes.Unknown, etcd.ErrServerTimeout, unknown, false, true, "etcdserver/txn/txn.go: applyTxn: failed Range: %w"},
	"applyTxn: failed Range: rangeKeys: context cancelled: context canceled":          {codes.Unknown, etcd.ErrUnavailable, unknown, false, true, "etcdserver/txn/txn.go: applyTxn: failed Range: %w"},

	"etcdserver: leader changed": {codes.Unavailable, etcd.ErrLeaderChanged, rejected, true, true, "etcdserver/read/read.go: errors.ErrLeaderChanged"},
	"not a primary lessor":       {codes.Unknown, etcd.ErrLeaderChanged, rejected, true, true, "lease/lessor.go: ErrNotPrimary"},
	"raft proposal dropped":      {codes.Unknown, etcd.ErrLeaderChanged, rejected, true, true, "etcdserver/v3_server.go: s.r.Propose("},
	"raft: stopped":              {codes.Unknown, etcd.ErrServerStopped, unknown, false, true, "etcdserver/read/read.go: raft.ErrStopped"},

	"etcdserver: member ID already exist":                                        {codes.FailedPrecondition, etcd.ErrMemberExists, rejected, false, false, "etcdserver/api/membership/cluster.go: ErrIDExists"},
	"etcdserver: Peer URLs already exists":                                       {codes.FailedPrecondition, etcd.ErrPeerURLExists, rejected, false, false, "etcdserver/api/membership/cluster.go: ErrPeerURLexists"},
	"etcdserver: given member URLs are invalid":                                  {codes.InvalidArgument, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/api/v3rpc/member.go: rpctypes.ErrGRPCMemberBadURLs"},
	"etcdserver: member not found":                                               {codes.NotFound, etcd.ErrMemberNotFound, rejected, false, false, "etcdserver/api/membership/cluster.go: ErrIDNotFound"},
	"etcdserver: can only promote a learner member":                              {codes.FailedPrecondition, etcd.ErrMemberNotLearner, rejected, false, false, "etcdserver/api/membership/cluster.go: ErrMemberNotLearner"},
	"etcdserver: can only promote a learner member which is in sync with leader": {codes.FailedPrecondition, etcd.ErrLearnerNotReady, rejected, false, false, "etcdserver/server.go: errors.ErrLearnerNotReady"},
	"etcdserver: too many learner members in cluster":                            {codes.FailedPrecondition, etcd.ErrTooManyLearners, rejected, false, false, "etcdserver/api/membership/cluster.go: ErrTooManyLearners"},
	"etcdserver: unhealthy cluster":                                              {codes.Unavailable, etcd.ErrUnhealthy, rejected, true, true, "etcdserver/server.go: errors.ErrUnhealthy"},
	// Members send it only to each other.
	"etcdserver: cluster ID mismatch": {codes.FailedPrecondition, etcd.ErrClusterIDMismatch, rejected, false, false, "etcdserver/api/rafthttp/http.go: ErrClusterIDMismatch"},

	"etcdserver: not leader":                                 {codes.FailedPrecondition, etcd.ErrNotLeader, rejected, false, false, "etcdserver/api/v3rpc/maintenance.go: rpctypes.ErrGRPCNotLeader"},
	"etcdserver: bad leader transferee":                      {codes.FailedPrecondition, etcd.ErrBadLeaderTransferee, rejected, false, false, "etcdserver/server.go: errors.ErrBadLeaderTransferee"},
	"etcdserver: wrong downgrade target version format":      {codes.InvalidArgument, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/cluster_util.go: errors.ErrWrongDowngradeVersionFormat"},
	"etcdserver: invalid downgrade target version":           {codes.InvalidArgument, etcd.ErrInvalidDowngradeVersion, rejected, false, false, "etcdserver/version/version.go: ErrInvalidDowngradeTargetVersion"},
	"etcdserver: cluster version not found during downgrade": {codes.FailedPrecondition, etcd.ErrClusterVersionUnknown, rejected, true, true, "etcdserver/v3_server.go: errors.ErrClusterVersionUnavailable"},
	"etcdserver: cluster has a downgrade job in progress":    {codes.FailedPrecondition, etcd.ErrDowngradeInProgress, rejected, false, false, "etcdserver/version/version.go: ErrDowngradeInProcess"},
	"etcdserver: no inflight downgrade job":                  {codes.FailedPrecondition, etcd.ErrNoDowngrade, rejected, false, false, "etcdserver/version/version.go: ErrNoInflightDowngrade"},

	"etcdserver: permission denied":  {codes.PermissionDenied, etcd.ErrPermissionDenied, rejected, false, false, "auth/store.go: return ErrPermissionDenied"},
	"etcdserver: user name is empty": {codes.InvalidArgument, etcd.ErrUnauthenticated, rejected, false, false, "etcdserver/v3_server.go: auth.ErrUserEmpty"},
	"etcdserver: invalid auth token": {codes.Unauthenticated, etcd.ErrInvalidAuthToken, rejected, false, false, "auth/store.go: ErrInvalidAuthToken"},
	// Retried with the server's updated state.
	"etcdserver: revision of auth store is old":                            {codes.InvalidArgument, nil, rejected, true, true, "etcdserver/v3_server.go: auth.ErrAuthOldRevision"},
	"etcdserver: authentication failed, invalid user ID or password":       {codes.InvalidArgument, etcd.ErrAuthFailed, rejected, false, false, "auth/store.go: ErrAuthFailed"},
	"auth: authentication failed, password was given for no password user": {codes.Unknown, etcd.ErrAuthFailed, rejected, false, false, "auth/store.go: ErrNoPasswordUser"},
	"auth: token signing attempted with verify-only key":                   {codes.Unknown, etcd.ErrAuthFailed, rejected, false, false, "auth/jwt.go: ErrVerifyOnly"},
	"bcrypt: password length exceeds 72 bytes":                             {codes.Unknown, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/v3_server.go: bcrypt.GenerateFromPassword"},
	"etcdserver: authentication is not enabled":                            {codes.FailedPrecondition, etcd.ErrAuthNotEnabled, rejected, false, false, "auth/store.go: ErrAuthNotEnabled"},
	"etcdserver: root user does not exist":                                 {codes.FailedPrecondition, etcd.ErrRootUserMissing, rejected, false, false, "auth/store.go: ErrRootUserNotExist"},
	"etcdserver: root user does not have root role":                        {codes.FailedPrecondition, etcd.ErrRootUserMissing, rejected, false, false, "auth/store.go: ErrRootRoleNotExist"},
	"etcdserver: user name already exists":                                 {codes.FailedPrecondition, etcd.ErrUserExists, rejected, false, false, "auth/store.go: ErrUserAlreadyExist"},
	"etcdserver: user name not found":                                      {codes.FailedPrecondition, etcd.ErrUserNotFound, rejected, false, false, "auth/store.go: ErrUserNotFound"},
	"etcdserver: role name already exists":                                 {codes.FailedPrecondition, etcd.ErrRoleExists, rejected, false, false, "auth/store.go: ErrRoleAlreadyExist"},
	"etcdserver: role name not found":                                      {codes.FailedPrecondition, etcd.ErrRoleNotFound, rejected, false, false, "auth/store.go: ErrRoleNotFound"},
	"etcdserver: role name is empty":                                       {codes.InvalidArgument, etcd.ErrInvalidRequest, rejected, false, false, "auth/store.go: ErrRoleEmpty"},
	"etcdserver: permission not given":                                     {codes.InvalidArgument, etcd.ErrInvalidRequest, rejected, false, false, "auth/store.go: ErrPermissionNotGiven"},
	"etcdserver: role is not granted to the user":                          {codes.FailedPrecondition, etcd.ErrRoleNotGranted, rejected, false, false, "auth/store.go: ErrRoleNotGranted"},
	"etcdserver: permission is not granted to the role":                    {codes.FailedPrecondition, etcd.ErrPermissionNotGranted, rejected, false, false, "auth/store.go: ErrPermissionNotGranted"},
	"etcdserver: invalid auth management":                                  {codes.InvalidArgument, etcd.ErrRootRequired, rejected, false, false, "auth/store.go: ErrInvalidAuthMgmt"},

	// gRPC's own, before etcd sees the request.
	"grpc: received message larger than max (5 vs. 4)":  {codes.ResourceExhausted, etcd.ErrRequestTooLarge, rejected, false, false, "etcdserver/api/v3rpc/grpc.go: grpc.MaxRecvMsgSize"},
	"grpc: error unmarshalling request: proto: no UTF8": {codes.Internal, etcd.ErrInvalidRequest, rejected, false, false, "etcdserver/api/v3rpc/grpc.go: grpc.NewServer"},
	"unknown service etcdserverpb.KV":                   {codes.Unimplemented, nil, rejected, false, false, "etcdserver/api/v3rpc/grpc.go: grpc.NewServer"},
	"the connection is draining":                        {codes.Unavailable, etcd.ErrUnavailable, unknown, false, true, "etcdserver/api/v3rpc/grpc.go: grpc.NewServer"},
	// An unknown text.
	"a text of tomorrow": {codes.Unknown, nil, unknown, false, false, "etcdserver/api/v3rpc/util.go: status.Error(codes.Unknown"},
}

// rpctypesTexts returns every error text of etcd's rpctypes in the version under
// test, with the name of its code.
func rpctypesTexts(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(goList(t, "-f", "{{.Dir}}", "go.etcd.io/etcd/api/v3/v3rpc/rpctypes"), "error.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		code, isCode := call.Args[0].(*ast.SelectorExpr)
		text, isText := call.Args[1].(*ast.BasicLit)
		if !isCode || !isText {
			return true
		}
		if s, err := strconv.Unquote(text.Value); err == nil {
			found[s] = code.Sel.Name
		}
		return true
	})
	return found
}

// goList runs go list in the module of the server version under test.
func goList(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	if v := os.Getenv(etcdtest.VersionEnv); v != "" {
		cmd.Dir = "../../etcdtest/servers/v" + v
		cmd.Env = append(os.Environ(), "GOWORK=off")
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// No text of etcd is missing, and each comes from the place in the table.
func TestAnswersAreComplete(t *testing.T) {
	t.Parallel()
	all := rpctypesTexts(t)
	if len(all) < 60 {
		t.Fatalf("only %d texts were found: %v", len(all), all)
	}
	for text := range all {
		if _, ok := answers[text]; !ok {
			t.Errorf("the table has no %q", text)
		}
	}
	if v := os.Getenv(etcdtest.VersionEnv); v != "" && v != "3.7" {
		return // codes and places are those of 3.7
	}
	for text, code := range all {
		if a := answers[text]; a.code.String() != code && a.code != codes.Unknown {
			t.Errorf("%q has code %v, in the table %v", text, code, a.code)
		}
	}
	dir := goList(t, "-m", "-f", "{{.Dir}}", "go.etcd.io/etcd/server/v3")
	for text, a := range answers {
		name, what, _ := strings.Cut(a.from, ": ")
		source, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(source), what) {
			t.Errorf("%q does not come from %s: %v", text, a.from, err)
		}
	}
}

// failingKV answers every call with the same error. It counts those of one key: on a busy
// machine requests of earlier calls, which were given up, may still come.
type failingKV struct {
	pb.UnimplementedKVServer
	err   atomic.Pointer[status.Status]
	keys  int          // so far
	key   atomic.Value // string
	calls atomic.Int64
}

func (s *failingKV) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	return nil, s.fail(r.Key)
}

func (s *failingKV) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return nil, s.fail(r.Key)
}

func (s *failingKV) fail(key []byte) error {
	if string(key) == s.key.Load() {
		s.calls.Add(1)
	}
	return s.err.Load().Err()
}

// expect has the server count the requests of a new key, which expect returns.
func (s *failingKV) expect() (key string) {
	s.keys++
	key = strconv.Itoa(s.keys)
	s.key.Store(key)
	s.calls.Store(0)
	return key
}

// The error for each of the texts, and whether the call is retried.
func TestAnswers(t *testing.T) {
	t.Parallel()
	server := &failingKV{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterKVServer(g, server)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	var late atomic.Int64 // attempts that Timeout has ended, as it may on a busy machine
	c := connect(t, etcd.Config{
		Endpoints: []string{l.Addr().String()}, Retry: 1, RetrySleep: time.Millisecond, Timeout: 100 * time.Millisecond,
		Hooks: etcd.Hooks{Attempt: func(context.Context, etcd.AttemptInfo) func(etcd.AttemptResult) {
			return func(r etcd.AttemptResult) {
				if errors.Is(r.Err, etcd.ErrTimeout) {
					late.Add(1)
				}
			}
		}},
	})
	for text, a := range answers {
		server.err.Store(status.New(a.code, text))
		for _, call := range []struct {
			op    string
			again bool
			do    func(key string) error
		}{
			{"Put", a.put, func(key string) error { _, err := c.Put(t.Context(), etcd.PutRequest{Key: key}); return err }},
			{"Get", a.get, func(key string) error { _, err := c.Get(t.Context(), etcd.GetRequest{Key: key}); return err }},
		} {
			// Requests that fail because of an election are repeated within
			// Timeout. If Timeout ends a call rather than the pause after it, the
			// answer is lost, and with it what happened to the request. A call that is
			// not to be repeated may be, after such an attempt.
			var err error
			for tries, lost := 0, true; lost && tries < 20; tries++ {
				late.Store(0)
				err = call.do(server.expect())
				var e *etcd.Error
				lost = errors.As(err, &e) && (errors.Is(err, etcd.ErrTimeout) || a.outcome == etcd.OutcomeRejected && e.Outcome == etcd.OutcomeUnknown && e.Attempts > 1) || !call.again && late.Load() > 0
			}
			a.check(t, call.op, text, err)
			if again := server.calls.Load() > 1; again != call.again {
				t.Errorf("%s, %q: made %d times; again: %v, want %v", call.op, text, server.calls.Load(), again, call.again)
			}
		}
	}
}

func (a answer) check(t *testing.T, op, text string, err error) {
	t.Helper()
	var e *etcd.Error
	if !errors.As(err, &e) {
		t.Errorf("%s, %q: %v", op, text, err)
		return
	}
	if uint32(e.Code) != uint32(a.code) || e.Message != text || e.Outcome != a.outcome {
		t.Errorf("%s, %q: code %v, text %q, outcome %v; want %v, %v", op, text, e.Code, e.Message, e.Outcome, a.code, a.outcome)
	}
	if errs := e.Unwrap(); a.is == nil && len(errs) > 0 || a.is != nil && !errors.Is(err, a.is) {
		t.Errorf("%s, %q: it is %v, want %v", op, text, errs, a.is)
	}
	if maybe := op == "Put" && a.outcome == unknown; etcd.MaybeApplied(err) != maybe {
		t.Errorf("%s, %q: may have been applied: %v", op, text, !maybe)
	}
}
