package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*Error{
		"etcd: Get: no such luck":                                              {Op: "Get", Message: "no such luck"},
		"etcd: Put via a:1: text (after 3 attempts)":                           {Op: "Put", Endpoint: "a:1", Message: "text", Attempts: 3, Outcome: Rejected, write: true},
		"etcd: Put via a:1: text; the request may have been applied":           {Op: "Put", Endpoint: "a:1", Message: "text", Attempts: 1, write: true},
		"etcd: Put: EOF (after 2 attempts); the request may have been applied": {Op: "Put", cause: io.EOF, Attempts: 2, write: true},
		"etcd: Get: key not found":                                             {Op: "Get", sentinel: ErrKeyNotFound},
		"etcd: Get: Aborted":                                                   {Op: "Get", Code: CodeAborted},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for code, want := range map[Code]string{CodeOK: "OK", CodeUnauthenticated: "Unauthenticated", 99: "Code(99)"} {
		if got := code.String(); got != want {
			t.Errorf("code %d is %q", uint32(code), got)
		}
	}
	for outcome, want := range map[Outcome]string{OutcomeUnknown: "unknown", NotSent: "not sent", Rejected: "rejected"} {
		if got := outcome.String(); got != want {
			t.Errorf("outcome %d is %q", outcome, got)
		}
	}
}

func TestErrorUnwrap(t *testing.T) {
	var err error = &Error{sentinel: ErrUnavailable, cause: io.EOF}
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, io.EOF) || errors.Is(err, ErrClosed) {
		t.Error("the sentinel and the cause are not what is found")
	}
	if err = new(Error); errors.Is(err, ErrUnavailable) || errors.Unwrap(err) != nil {
		t.Error("an error of nothing is something")
	}
}

func TestMaybeApplied(t *testing.T) {
	for _, write := range []bool{false, true} {
		for _, outcome := range []Outcome{OutcomeUnknown, NotSent, Rejected} {
			for _, cause := range []error{nil, context.Canceled, context.DeadlineExceeded, io.EOF} {
				var err error = &Error{Op: "Put", write: write, Outcome: outcome, cause: cause}
				want := write && outcome == OutcomeUnknown
				if MaybeApplied(err) != want || MaybeApplied(fmt.Errorf("wrapped: %w", err)) != want {
					t.Errorf("write %v, outcome %v, cause %v: want %v", write, outcome, cause, want)
				}
			}
		}
	}
	for _, err := range []error{nil, io.EOF, context.Canceled} {
		if MaybeApplied(err) {
			t.Errorf("%v may be applied", err)
		}
	}
	for class, want := range map[class]bool{read: false, idempotent: true, write: true, never: true} {
		err := callError(&rpc{class: class}, "", &transport.Error{Code: transport.Unavailable})
		if MaybeApplied(err) != want {
			t.Errorf("class %d that was lost: want %v", class, want)
		}
	}
}

// Failures that the server did not report.
func TestLocalErrors(t *testing.T) {
	unreachable := func(errs ...error) error {
		u := &balance.UnreachableError{}
		for _, err := range errs {
			u.Failures = append(u.Failures, balance.EndpointError{Endpoint: "a:1", Err: err})
		}
		return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: u}
	}
	down := &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: io.EOF}
	wrong := &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: transport.ErrMisconfigured}
	for name, test := range map[string]struct {
		err       error
		is        error
		outcome   Outcome
		transient bool
	}{
		"lost":              {&transport.Error{Code: transport.Unavailable, Cause: io.EOF}, ErrUnavailable, OutcomeUnknown, true},
		"silent":            {&transport.Error{Code: transport.Unavailable, Cause: transport.ErrSilent}, ErrUnavailable, OutcomeUnknown, true},
		"draining":          {&transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: transport.ErrDraining}, ErrUnavailable, NotSent, true},
		"down":              {unreachable(down), ErrUnavailable, NotSent, true},
		"wrong":             {unreachable(wrong), ErrBadEndpoint, NotSent, false},
		"wrong and down":    {unreachable(wrong, down), ErrUnavailable, NotSent, true},
		"wrong and wrong":   {unreachable(wrong, wrong), ErrBadEndpoint, NotSent, false},
		"time is up":        {&transport.Error{Code: transport.DeadlineExceeded, Cause: transport.ErrTimeout}, ErrTimeout, OutcomeUnknown, true},
		"not sent in time":  {&transport.Error{Code: transport.DeadlineExceeded, Outcome: transport.NotSent, Cause: transport.ErrTimeout}, ErrTimeout, NotSent, true},
		"cancelled":         {&transport.Error{Code: transport.Canceled, Cause: context.Canceled}, context.Canceled, OutcomeUnknown, false},
		"deadline":          {&transport.Error{Code: transport.DeadlineExceeded, Cause: context.DeadlineExceeded}, context.DeadlineExceeded, OutcomeUnknown, false},
		"client is closed":  {&transport.Error{Code: transport.Canceled, Outcome: transport.NotSent, Cause: balance.ErrClosed}, ErrClosed, NotSent, false},
		"closed under it":   {&transport.Error{Code: transport.Canceled, Cause: transport.ErrClosed}, ErrClosed, OutcomeUnknown, false},
		"too large":         {&transport.Error{Code: transport.ResourceExhausted, Cause: transport.ErrTooLarge}, ErrResponseTooLarge, OutcomeUnknown, false},
		"protocol":          {&transport.Error{Code: transport.Internal, Message: "x"}, ErrUnavailable, OutcomeUnknown, false},
		"something unknown": {io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, OutcomeUnknown, false},
	} {
		e := callError(&rpcPut, "a:1", test.err)
		if !errors.Is(e, test.is) || e.Outcome != test.outcome || e.transient != test.transient || e.election {
			t.Errorf("%s: %+v", name, e)
		}
		if e.Op != "Put" || e.Endpoint != "a:1" {
			t.Errorf("%s: %+v", name, e)
		}
		if MaybeApplied(e) != (test.outcome == OutcomeUnknown) {
			t.Errorf("%s: MaybeApplied is wrong: %v", name, e)
		}
	}
}

// The server is told of the context's deadline, and may be the first to see it.
func TestServerSeesDeadlineFirst(t *testing.T) {
	answered := func(code transport.Code, text string) *Error {
		return callError(&rpcPut, "a:1", &transport.Error{Code: code, Message: text, Outcome: transport.Answered})
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	later, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for _, e := range []func() *Error{
		func() *Error { return answered(transport.DeadlineExceeded, "context deadline exceeded") },
		func() *Error { return answered(transport.Unavailable, "etcdserver: request timed out") },
		func() *Error {
			return answered(transport.Unknown, "rangeKeys: context cancelled: context deadline exceeded")
		},
	} {
		if got := e().atDeadline(soon); !errors.Is(got, context.DeadlineExceeded) || got.Code != CodeDeadlineExceeded || got.transient || !MaybeApplied(got) {
			t.Errorf("at the deadline: %+v", got)
		}
		for _, ctx := range []context.Context{later, t.Context()} {
			if got := e().atDeadline(ctx); errors.Is(got, context.DeadlineExceeded) {
				t.Errorf("long before it: %+v", got)
			}
		}
	}
	if got := answered(transport.Unavailable, "etcdserver: no leader").atDeadline(soon); errors.Is(got, context.DeadlineExceeded) {
		t.Errorf("%+v", got)
	}
}

// What each of etcd's texts means for a write: this list is made from etcd's
// sources, apart from the table that it checks.
func TestAnswers(t *testing.T) {
	type meaning struct {
		is      error
		outcome Outcome
		again   bool // transient
		polls   bool // election
	}
	want := map[string]meaning{
		"etcdserver: key is not provided":                          {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: value is provided":                            {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: lease is provided":                            {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: invalid sort option":                          {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: invalid client api version":                   {ErrInvalidRequest, Rejected, false, false},
		"RangeStream does not support custom sort orders":          {ErrInvalidRequest, Rejected, false, false},
		"RangeStream does not support revision filters":            {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: too many operations in txn request":           {ErrTooManyOps, Rejected, false, false},
		"etcdserver: duplicate key given in txn request":           {ErrDuplicateKey, Rejected, false, false},
		"etcdserver: mvcc: required revision is a future revision": {ErrFutureRevision, Rejected, false, false},
		"etcdserver: mvcc: required revision has been compacted":   {ErrCompacted, Rejected, false, false},
		"etcdserver: key not found":                                {ErrKeyNotFound, Rejected, false, false},
		"etcdserver: requested lease not found":                    {ErrLeaseNotFound, Rejected, false, false},
		"etcdserver: lease already exists":                         {ErrLeaseExists, Rejected, false, false},
		"etcdserver: too large lease TTL":                          {ErrLeaseTTLTooLarge, Rejected, false, false},
		"etcdserver: request is too large":                         {ErrRequestTooLarge, Rejected, false, false},
		"etcdserver: corrupt cluster":                              {ErrCorrupt, Rejected, false, false},
		"etcdserver: permission denied":                            {ErrPermissionDenied, Rejected, false, false},
		"etcdserver: user name is empty":                           {ErrUnauthenticated, Rejected, false, false},
		"etcdserver: user name not found":                          {ErrUserNotFound, Rejected, false, false},
		"etcdserver: user name already exists":                     {ErrUserExists, Rejected, false, false},
		"etcdserver: role name not found":                          {ErrRoleNotFound, Rejected, false, false},
		"etcdserver: role name already exists":                     {ErrRoleExists, Rejected, false, false},
		"etcdserver: role name is empty":                           {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: role is not granted to the user":              {ErrRoleNotGranted, Rejected, false, false},
		"etcdserver: permission not given":                         {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: permission is not granted to the role":        {ErrPermissionNotGranted, Rejected, false, false},
		"etcdserver: root user does not exist":                     {ErrRootUserMissing, Rejected, false, false},
		"etcdserver: root user does not have root role":            {ErrRootUserMissing, Rejected, false, false},
		"etcdserver: invalid auth management":                      {ErrRootRequired, Rejected, false, false},
		"etcdserver: authentication is not enabled":                {ErrAuthNotEnabled, Rejected, false, false},
		"auth: token signing attempted with verify-only key":       {ErrAuthFailed, Rejected, false, false},
		"etcdserver: authentication failed, invalid user ID or password": {
			ErrAuthFailed, Rejected, false, false},
		"auth: authentication failed, password was given for no password user": {
			ErrAuthFailed, Rejected, false, false},
		"etcdserver: invalid auth token": {ErrInvalidAuthToken, Rejected, false, false},

		"etcdserver: not capable":                   {ErrClusterVersionUnknown, Rejected, true, false},
		"bcrypt: password length exceeds 72 bytes":  {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: too many requests":             {ErrTooManyRequests, Rejected, true, false},
		"etcdserver: rpc not supported for learner": {ErrNotSupportedForLearner, Rejected, true, false},
		"etcdserver: revision of auth store is old": {nil, Rejected, true, false},

		"not a primary lessor":       {ErrLeaderChanged, Rejected, true, true},
		"etcdserver: no leader":      {ErrNoLeader, Rejected, true, true},
		"etcdserver: not leader":     {ErrNotLeader, Rejected, false, false},
		"etcdserver: leader changed": {ErrLeaderChanged, Rejected, true, true},
		"raft proposal dropped":      {ErrLeaderChanged, Rejected, true, true},

		"etcdserver: member not found":                                               {ErrMemberNotFound, Rejected, false, false},
		"etcdserver: member ID already exist":                                        {ErrMemberExists, Rejected, false, false},
		"etcdserver: Peer URLs already exists":                                       {ErrPeerURLExists, Rejected, false, false},
		"etcdserver: given member URLs are invalid":                                  {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: can only promote a learner member":                              {ErrMemberNotLearner, Rejected, false, false},
		"etcdserver: can only promote a learner member which is in sync with leader": {ErrLearnerNotReady, Rejected, false, false},
		"etcdserver: too many learner members in cluster":                            {ErrTooManyLearners, Rejected, false, false},
		"etcdserver: re-configuration failed due to not enough started members":      {ErrNotEnoughStarted, Rejected, false, false},
		"etcdserver: cluster ID mismatch":                                            {ErrClusterIDMismatch, Rejected, false, false},
		"etcdserver: unhealthy cluster":                                              {ErrUnhealthy, Rejected, true, false},
		"etcdserver: bad leader transferee":                                          {ErrBadLeaderTransferee, Rejected, false, false},
		"etcdserver: wrong downgrade target version format":                          {ErrInvalidRequest, Rejected, false, false},
		"etcdserver: invalid downgrade target version":                               {ErrInvalidDowngradeVersion, Rejected, false, false},
		"etcdserver: cluster has a downgrade job in progress":                        {ErrDowngradeInProgress, Rejected, false, false},
		"etcdserver: no inflight downgrade job":                                      {ErrNoDowngrade, Rejected, false, false},
		"etcdserver: cluster version not found during downgrade":                     {ErrClusterVersionUnknown, Rejected, true, false},
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
	for text := range answers {
		if _, ok := want[text]; !ok {
			t.Errorf("the table has %q, which this test does not know", text)
		}
	}
	for text, w := range want {
		e := callError(&rpcPut, "a:1", &transport.Error{Code: transport.Aborted, Message: text, Outcome: transport.Answered})
		if e.sentinel != w.is || e.Outcome != w.outcome || e.transient != w.again || e.election != w.polls {
			t.Errorf("%q: %v, %v, transient %v, election %v; want %+v", text, e.sentinel, e.Outcome, e.transient, e.election, w)
		}
		if e.Message != text || e.Code != CodeAborted {
			t.Errorf("%q became %v %q", text, e.Code, e.Message)
		}
	}
}

// Texts that nobody knows keep their code, and what may have happened is open.
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
		{transport.Internal, "grpc: error unmarshalling request: proto: bad", ErrInvalidRequest, Rejected, false},
		{transport.Unimplemented, "unknown method X", nil, Rejected, false},
		{transport.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)", ErrRequestTooLarge, Rejected, false},
		{transport.ResourceExhausted, "something else", nil, OutcomeUnknown, false},
		{transport.PermissionDenied, "", nil, OutcomeUnknown, false},
	} {
		e := callError(&rpcPut, "a:1", &transport.Error{Code: test.code, Message: test.text, Outcome: transport.Answered})
		if e.sentinel != test.is || e.Outcome != test.outcome || e.transient != test.transient || e.election || e.Code != Code(test.code) {
			t.Errorf("%v %q: %+v", test.code, test.text, e)
		}
		if e.Error() == "" {
			t.Error("no text")
		}
	}
}
