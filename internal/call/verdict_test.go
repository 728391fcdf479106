package call

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// kind is a kind of error.
type kind struct {
	name string
	make func(m *rpc.Method) *Error
	raw  error // error of the transport; nil if it does not come from there
}

// answer makes kinds of errors that a member reports.
func answer(code transport.Code, texts ...string) (list []kind) {
	for _, text := range texts {
		list = append(list, kind{name: text, make: func(m *rpc.Method) *Error { return FromServer(m, "a:1", code, text) }})
	}
	return list
}

// failure makes an error of a connection to a member.
func failure(name string, err *transport.Error) kind {
	return kind{name, func(m *rpc.Method) *Error { return FromTransport(m, "a:1", err) }, err}
}

// noConnection makes the error of a request for which there was no connection.
func noConnection(name string, outcomes ...error) kind {
	u := new(balance.UnreachableError)
	for _, err := range outcomes {
		u.Failures = append(u.Failures, balance.EndpointError{Endpoint: "a:1", Err: err})
	}
	err := &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: u}
	return kind{name, func(m *rpc.Method) *Error { return FromTransport(m, "", err) }, err}
}

// made makes an error that the engine itself produces.
func made(name string, make func(m *rpc.Method) *Error) kind { return kind{name: name, make: make} }

// verdictRequests has a request of each kind that verdicts distinguish.
var verdictRequests = []struct {
	name        string
	request     Request
	atLeastOnce bool
}{
	{"read", Request{Method: rpc.Get}, false},
	{"pinned", Request{Method: rpc.Get, Member: new(balance.Endpoint)}, false},
	{"shared", Request{Method: rpc.GetShared}, false},
	{"write", Request{Method: rpc.Put}, false},
	{"again", Request{Method: rpc.Put}, true},
	{"idempotent", Request{Method: rpc.Grant}, false},
}

// verdictTokens has a token of each kind that verdicts distinguish.
var verdictTokens = []struct {
	name  string
	token *token
}{
	{"no credentials", nil},
	{"simple token", &token{text: "simple.1"}},
	{"JWT", &token{text: "a.b.c"}},
	{"auth off", &token{}},
}

// verdicts has all verdicts of verdict.go except misconfigured, which takes errors of
// the transport. Each returns the kinds of requests for which the verdict holds, or
// whether it holds for the error of a read or a write.
var verdicts = map[string]func(failed func(*rpc.Method) *Error) string{
	"mayRetry": ofRequests(func(e *Error, r *Request, atLeastOnce bool) string {
		return yes(e.mayRetry(r, atLeastOnce))
	}),
	"mayMove": ofRequests(func(e *Error, r *Request, _ bool) string {
		e.elsewhere = false
		return times(e.mayMove(r, 5))
	}),
	"mayMove elsewhere": ofRequests(func(e *Error, r *Request, _ bool) string {
		e.elsewhere = e.movable()
		return times(e.mayMove(r, 5))
	}),
	"blamesToken": func(failed func(*rpc.Method) *Error) string {
		var list []string
		for _, t := range verdictTokens {
			resend, forget := failed(rpc.Put).blamesToken(t.token)
			switch {
			case forget && resend:
				list = append(list, t.name+" replaced")
			case resend:
				list = append(list, t.name+" again")
			case forget:
				list = append(list, t.name+" forgotten")
			}
		}
		return strings.Join(list, ", ")
	},
	"unseen":              ofErrors((*Error).unseen),
	"awaitsElection":      ofErrors((*Error).awaitsElection),
	"speaksAgainstMember": ofErrors((*Error).speaksAgainstMember),
	"Drained":             ofErrors((*Error).Drained),
	"Unreachable":         ofErrors((*Error).Unreachable),
	"unserved":            ofErrors((*Error).unserved),
	"movable":             ofErrors((*Error).movable),
	"Final":               ofErrors((*Error).Final),
	"learnerRefuses":      ofErrors((*Error).learnerRefuses),
	"provesLife":          ofErrors((*Error).provesLife),
	"refusesCredentials":  ofErrors((*Error).refusesCredentials),
	"outOfTime":           ofErrors((*Error).outOfTime),
	"RefusesShared":       ofErrors((*Error).RefusesShared),
	"BlamesLease":         ofErrors((*Error).BlamesLease),
	"Hopeless":            ofErrors((*Error).Hopeless),
	"BlamesUser":          ofErrors((*Error).BlamesUser),
	"Silent":              ofErrors((*Error).Silent),
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func times(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// ofRequests lists the kinds of requests for which the verdict holds.
func ofRequests(verdict func(*Error, *Request, bool) string) func(func(*rpc.Method) *Error) string {
	return func(failed func(*rpc.Method) *Error) string {
		var list []string
		for _, r := range verdictRequests {
			switch v := verdict(failed(r.request.Method), &r.request, r.atLeastOnce); v {
			case "":
			case "yes":
				list = append(list, r.name)
			default:
				list = append(list, r.name+" "+v)
			}
		}
		return strings.Join(list, ", ")
	}
}

// ofErrors says whether the verdict holds for the error of a read, a write or both.
func ofErrors(verdict func(*Error) bool) func(func(*rpc.Method) *Error) string {
	return func(failed func(*rpc.Method) *Error) string {
		switch read, write := verdict(failed(rpc.Get)), verdict(failed(rpc.Put)); {
		case read && write:
			return "yes"
		case read:
			return "read"
		case write:
			return "write"
		}
		return ""
	}
}

// judge applies every verdict to an error of the kind. It returns the names of those
// that hold, with the requests for which they do.
func (k kind) judge() []string {
	var list []string
	if k.raw != nil && misconfigured(k.raw) {
		list = append(list, "misconfigured")
	}
	for name, verdict := range verdicts {
		switch v := verdict(k.make); v {
		case "":
		case "yes":
			list = append(list, name)
		default:
			list = append(list, name+": "+v)
		}
	}
	slices.Sort(list)
	return list
}

// Which requests.
const (
	all        = "read, pinned, shared, write, again, idempotent"
	butLearner = "read, write, again, idempotent" // a learner never accepts the others
	butWrites  = "read, pinned, shared, again, idempotent"

	movesAll    = "read 5, pinned 1, shared 5, write 5, again 5, idempotent 5"
	movesReads  = "read 5, pinned 1, shared 5"
	movesUnseen = "read 5, pinned 5, shared 5, write 5, again 5, idempotent 5" // nothing was sent
	// behind a proxy that ends connections after few requests
	movesDrained = "read 10000, pinned 10000, shared 10000, write 10000, again 10000, idempotent 10000"
)

// Every verdict for every kind of error. A kind without a row, like a new text of
// etcd, fails the test, and so does a new verdict.
func TestVerdicts(t *testing.T) {
	k := newKinds(t)
	notSent := func(cause error) *transport.Error {
		return &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Cause: cause}
	}
	known := make(map[string]bool)
	for _, row := range []struct {
		kinds []kind
		want  []string
	}{
		// Permanent refusals of the request.
		{slices.Concat(
			answer(transport.FailedPrecondition,
				"etcdserver: lease already exists",
				"etcdserver: not leader",
				"etcdserver: bad leader transferee",
				"etcdserver: member ID already exist",
				"etcdserver: Peer URLs already exists",
				"etcdserver: can only promote a learner member",
				"etcdserver: can only promote a learner member which is in sync with leader",
				"etcdserver: too many learner members in cluster",
				"etcdserver: re-configuration failed due to not enough started members",
				"etcdserver: cluster ID mismatch",
				"etcdserver: cluster has a downgrade job in progress",
				"etcdserver: no inflight downgrade job",
				"etcdserver: authentication is not enabled",
				"etcdserver: root user does not exist",
				"etcdserver: root user does not have root role",
				"etcdserver: user name already exists",
				"etcdserver: user name not found",
				"etcdserver: role name already exists",
				"etcdserver: role name not found",
				"etcdserver: role is not granted to the user",
				"etcdserver: permission is not granted to the role"),
			answer(transport.NotFound,
				"etcdserver: member not found",
				"etcdserver: requested lease not found"),
			answer(transport.OutOfRange,
				"etcdserver: mvcc: required revision has been compacted",
				"etcdserver: mvcc: required revision is a future revision",
				"etcdserver: too large lease TTL"),
			answer(transport.Unknown, "bcrypt: password length exceeds 72 bytes"),
		), []string{"Final", "provesLife", "refusesCredentials", "RefusesShared", "BlamesLease"}},
		{answer(transport.InvalidArgument,
			"etcdserver: key is not provided",
			"etcdserver: key not found",
			"etcdserver: value is provided",
			"etcdserver: lease is provided",
			"etcdserver: invalid sort option",
			"etcdserver: invalid client api version",
			"etcdserver: too many operations in txn request",
			"etcdserver: duplicate key given in txn request",
			"etcdserver: request is too large",
			"etcdserver: given member URLs are invalid",
			"etcdserver: invalid downgrade target version",
			"etcdserver: wrong downgrade target version format",
			"etcdserver: permission not given",
			"etcdserver: role name is empty",
			"etcdserver: invalid auth management",
		), []string{"Final", "provesLife", "refusesCredentials", "RefusesShared", "BlamesLease", "Hopeless"}},
		{answer(transport.Unimplemented,
			"RangeStream does not support custom sort orders",
			"RangeStream does not support revision filters",
			"unknown method Future",
		), []string{"Final", "provesLife", "refusesCredentials", "RefusesShared", "Hopeless"}},
		// The write that meets the quota may have been applied.
		{slices.Concat(
			answer(transport.ResourceExhausted, "etcdserver: mvcc: database space exceeded", "exhausted in an unknown way"),
			answer(transport.Unknown, "unknown text"),
			answer(transport.Internal, "unknown fault"),
			answer(transport.DeadlineExceeded, "deadline in an unknown way"),
		), []string{"Final", "provesLife", "refusesCredentials", "BlamesLease"}},
		{answer(transport.Canceled, "cancelled in an unknown way"), []string{"Final", "provesLife", "refusesCredentials"}},
		{answer(transport.InvalidArgument, "invalid in an unknown way"), []string{
			"Final", "provesLife", "refusesCredentials", "BlamesLease", "Hopeless",
		}},
		{answer(transport.DataLoss, "etcdserver: corrupt cluster"), []string{
			"Final", "provesLife", "refusesCredentials", "RefusesShared", "BlamesLease", "speaksAgainstMember",
		}},

		// Refusals of the user.
		{answer(transport.PermissionDenied, "etcdserver: permission denied"), []string{
			"blamesToken: auth off replaced",
			"Final", "provesLife", "refusesCredentials", "RefusesShared", "BlamesLease", "Hopeless",
		}},
		{slices.Concat(
			answer(transport.InvalidArgument, "etcdserver: user name is empty"),
			answer(transport.Unauthenticated, "etcdserver: invalid auth token"),
		), []string{
			"blamesToken: simple token replaced, JWT replaced, auth off replaced",
			"Final", "provesLife", "refusesCredentials", "RefusesShared", "Hopeless", "BlamesUser",
		}},
		{[]kind{k.rejectedToken}, []string{
			"blamesToken: simple token replaced, JWT replaced, auth off replaced",
			"mayMove: " + movesUnseen, "mayMove elsewhere: " + movesUnseen, "unseen",
			"provesLife", "refusesCredentials", "RefusesShared", "Hopeless", "BlamesUser",
		}},
		{answer(transport.InvalidArgument, textOldAuthRevision), []string{
			"blamesToken: no credentials again, simple token again, JWT replaced, auth off replaced",
			"mayRetry: " + all, "mayMove elsewhere: " + movesAll, "movable", "BlamesLease", "Hopeless",
		}},
		{answer(transport.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"), []string{
			"Final", "provesLife", "refusesCredentials", "RefusesShared", "BlamesLease", "Hopeless", "BlamesUser",
		}},
		{answer(transport.Unknown,
			"auth: authentication failed, password was given for no password user",
			"auth: token signing attempted with verify-only key",
		), []string{"Final", "provesLife", "refusesCredentials", "RefusesShared", "BlamesLease", "BlamesUser"}},
		{[]kind{k.noCredentials}, []string{
			"mayRetry: " + all, "mayMove elsewhere: " + movesUnseen, "movable", "refusesCredentials", "Hopeless",
		}},

		// Transient, and nothing was done.
		{answer(transport.Unavailable, "etcdserver: no leader"), []string{
			"mayRetry: " + all, "mayMove elsewhere: " + movesAll, "movable", "awaitsElection", "speaksAgainstMember",
		}},
		{slices.Concat(
			answer(transport.Unavailable, "etcdserver: leader changed"),
			answer(transport.Unknown, "raft proposal dropped", "not a primary lessor"),
		), []string{"mayRetry: " + all, "mayMove elsewhere: " + movesAll, "movable", "awaitsElection"}},
		{answer(transport.ResourceExhausted, "etcdserver: too many requests"), []string{
			"mayRetry: " + all, "mayMove elsewhere: " + movesAll, "movable", "speaksAgainstMember",
		}},
		{answer(transport.FailedPrecondition, "etcdserver: rpc not supported for learner"), []string{
			"mayRetry: " + butLearner, "mayMove elsewhere: " + movesAll, "movable", "speaksAgainstMember", "RefusesShared",
			"learnerRefuses",
		}},
		{[]kind{k.onlyLearners}, []string{
			"Final", "provesLife", "refusesCredentials", "speaksAgainstMember", "RefusesShared", "Hopeless", "learnerRefuses",
		}},
		{slices.Concat(
			answer(transport.FailedPrecondition, "etcdserver: not capable", "etcdserver: cluster version not found during downgrade"),
			answer(transport.Unavailable, "etcdserver: unhealthy cluster"),
		), []string{"mayRetry: " + all, "mayMove elsewhere: " + movesAll, "movable", "BlamesLease"}},

		// Transient, but the request may have been applied.
		{slices.Concat(
			answer(transport.Unavailable, "etcdserver: server stopped"),
			answer(transport.Unknown, "raft: stopped"),
		), []string{"mayRetry: " + butWrites, "mayMove elsewhere: " + movesReads, "movable", "speaksAgainstMember"}},
		{slices.Concat(
			answer(transport.Unavailable,
				"etcdserver: request timed out",
				"etcdserver: request timed out, possibly due to previous leader failure",
				"etcdserver: request timed out, possibly due to connection lost",
				"etcdserver: request timed out, waiting for the applied index took too long"),
			answer(transport.DeadlineExceeded, "etcdserver: context deadline exceeded", "context deadline exceeded"),
			answer(transport.Unknown,
				"rangeKeys: context cancelled: context deadline exceeded",
				"applyTxn: failed Range: rangeKeys: context cancelled: context deadline exceeded",
				"etcdserver: request timed out, leader transfer took too long"),
		), []string{
			"mayRetry: " + butWrites, "mayMove elsewhere: " + movesReads, "movable", "speaksAgainstMember",
			"Silent", "BlamesLease",
		}},
		{slices.Concat(
			answer(transport.Canceled, "etcdserver: request canceled", "etcdserver: watch canceled", "context canceled"),
			answer(transport.Unknown,
				"rangeKeys: context cancelled: context canceled",
				"applyTxn: failed Range: rangeKeys: context cancelled: context canceled"),
			answer(transport.Unavailable, "shutting down in an unknown way"),
		), []string{"mayRetry: " + butWrites, "mayMove elsewhere: " + movesReads, "movable", "Silent"}},

		// Failures of connections.
		{[]kind{
			failure("connection lost", &transport.Error{Code: transport.Unavailable, Cause: io.EOF}),
			failure("connection silent", &transport.Error{Code: transport.Unavailable, Cause: transport.ErrSilent}),
			failure("stream cancelled by the server", &transport.Error{Code: transport.Canceled, Message: "server reset the stream"}),
			failure("server asks for calm", &transport.Error{Code: transport.ResourceExhausted, Message: "server reset the stream"}),
			failure("a proxy has failed", &transport.Error{Code: transport.Unknown, Cause: transport.ErrProxyFailed}),
			k.broken,
		}, []string{
			"mayRetry: " + butWrites, "mayMove: " + movesReads, "mayMove elsewhere: " + movesReads, "movable", "Silent",
		}},
		{[]kind{
			failure("stream refused", &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent, Message: "server reset the stream"}),
		}, []string{
			"mayRetry: " + all, "mayMove: " + movesUnseen, "mayMove elsewhere: " + movesUnseen, "movable", "unseen", "Silent",
		}},
		{[]kind{failure("connection drains", notSent(transport.ErrDraining))}, []string{
			"Drained",
			"mayRetry: " + all, "mayMove: " + movesDrained, "mayMove elsewhere: " + movesDrained, "movable", "unseen", "Silent",
		}},
		{[]kind{failure("protocol error", &transport.Error{Code: transport.Internal, Message: "x"})}, []string{
			"mayMove: " + movesReads, "mayMove elsewhere: " + movesReads, "Silent",
		}},
		{[]kind{failure("answer too large", &transport.Error{Code: transport.ResourceExhausted, Cause: transport.ErrTooLarge})}, []string{
			"RefusesShared: read", "Hopeless",
		}},
		{[]kind{
			noConnection("down", notSent(io.EOF)),
			noConnection("misconfigured and down", notSent(transport.ErrMisconfigured), notSent(io.EOF)),
			noConnection("a proxy that has failed", notSent(transport.ErrProxyFailed)),
			noConnection("a busy proxy, and down", notSent(transport.ErrBusy), notSent(io.EOF)),
			noConnection("a proxy with a limit, and down", notSent(transport.ErrRequestTooLarge), notSent(io.EOF)),
		}, []string{"Unreachable", "mayRetry: " + all, "mayMove elsewhere: " + movesUnseen, "movable", "Silent"}},
		{[]kind{noConnection("misconfigured endpoint", notSent(transport.ErrMisconfigured))}, []string{
			"Unreachable", "misconfigured", "mayMove elsewhere: " + movesUnseen, "movable", "speaksAgainstMember", "Hopeless",
		}},
		{[]kind{failure("not gRPC", notSent(transport.ErrMisconfigured))}, []string{
			"misconfigured", "mayMove elsewhere: " + movesAll, "movable", "speaksAgainstMember", "Hopeless",
		}},

		// Another cluster: a read there counts as not sent, a write was applied.
		{[]kind{noConnection("endpoint of another cluster", notSent(&foreignError{1, 2}))}, []string{"Unreachable", "misconfigured", "Hopeless"}},
		{[]kind{k.foreign}, []string{
			"mayRetry: read, pinned, shared", "mayMove: read 5, pinned 5, shared 5", "mayMove elsewhere: read 5, pinned 5, shared 5",
			"movable: read", "unseen: read", "Hopeless: write",
		}},
		{[]kind{k.reset}, []string{"Final", "provesLife", "refusesCredentials", "BlamesLease"}},

		// Time has run out.
		{[]kind{
			failure("timeout", &transport.Error{Code: transport.DeadlineExceeded, Cause: transport.ErrTimeout}),
			k.timeoutAfterRefusal,
		}, []string{"mayRetry: " + butWrites, "outOfTime", "unserved", "movable", "speaksAgainstMember", "Silent"}},
		{[]kind{failure("timeout before sending", &transport.Error{
			Code: transport.DeadlineExceeded, Outcome: transport.NotSent, Cause: transport.ErrTimeout,
		})}, []string{
			"mayRetry: " + all, "mayMove: " + movesUnseen, "mayMove elsewhere: " + movesUnseen, "unseen",
			"outOfTime", "unserved", "movable", "speaksAgainstMember", "Silent",
		}},
		{[]kind{made("timeout while connecting", func(m *rpc.Method) *Error {
			return FromTransport(m, "", timedOut(notSent(context.DeadlineExceeded)))
		})}, []string{"mayRetry: " + all, "outOfTime", "unserved", "movable", "speaksAgainstMember", "Silent"}},
		{[]kind{
			failure("deadline in flight", &transport.Error{Code: transport.DeadlineExceeded, Cause: context.DeadlineExceeded}),
			k.abandoned, k.resetAtDeadline,
		}, []string{"outOfTime", "unserved", "speaksAgainstMember"}},
		{[]kind{
			failure("cancelled in flight", &transport.Error{Code: transport.Canceled, Cause: context.Canceled}),
			k.ended,
		}, []string{"outOfTime"}},
		{[]kind{k.atDeadline}, []string{
			"outOfTime", "unserved", "Final", "provesLife", "refusesCredentials", "speaksAgainstMember", "Silent", "BlamesLease",
		}},
		{[]kind{k.cancelledInPause}, []string{"speaksAgainstMember"}},
		{[]kind{k.deadlineInPause}, []string{"speaksAgainstMember", "unserved"}},

		// Errors that no other try, member or token can fix.
		{[]kind{
			failure("closed in flight", &transport.Error{Code: transport.Canceled, Cause: transport.ErrClosed}),
			failure("headers too large", &transport.Error{Code: transport.ResourceExhausted, Outcome: transport.NotSent, Cause: transport.ErrHeadersTooLarge}),
			made("closed while connecting", func(m *rpc.Method) *Error { return FromTransport(m, "", notSent(balance.ErrClosed)) }),
			made("no error of the transport", func(m *rpc.Method) *Error { return FromTransport(m, "a:1", io.ErrUnexpectedEOF) }),
			k.closed, k.closedInPause, k.undecodable, k.overtaken,
		}, nil},
	} {
		slices.Sort(row.want)
		for _, kind := range row.kinds {
			if known[kind.name] {
				t.Errorf("%s: is in two rows", kind.name)
			}
			known[kind.name] = true
			if got := kind.judge(); !slices.Equal(got, row.want) {
				t.Errorf("%s:\n\t%s\nwant\n\t%s", kind.name, strings.Join(got, "\n\t"), strings.Join(row.want, "\n\t"))
			}
		}
	}
	for text := range serverErrors {
		if !known[text] {
			t.Errorf("no row has %q", text)
		}
	}
	for _, name := range functionsOf(t, "verdict.go") {
		if _, ok := verdicts[name]; !ok && name != "misconfigured" && name != "everywhere" {
			t.Errorf("the table does not hold %s", name)
		}
	}
}

// functionsOf returns the names of the functions in a file.
func functionsOf(t *testing.T, file string) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// madeKinds are errors that the engine itself makes, not a member or a connection.
type madeKinds struct {
	foreign, reset, undecodable, closed, broken, overtaken             kind
	ended, abandoned, cancelledInPause, deadlineInPause, closedInPause kind
	atDeadline, timeoutAfterRefusal, rejectedToken, noCredentials      kind
	resetAtDeadline, onlyLearners                                      kind
}

func newKinds(t *testing.T) (k madeKinds) {
	t.Helper()
	e := newEngine(t, peertest.NewCluster(), withUser(usual))
	down := newEngine(t, peertest.NewCluster(), usual)
	down.Stop()
	sealed := newEngine(t, peertest.NewCluster(), Config{Credentials: func(context.Context) (Credentials, error) {
		return Credentials{}, errors.New("the vault is sealed")
	}})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithTimeout(t.Context(), 1)
	t.Cleanup(cancel)
	<-late.Done()
	peer := balance.Picked{Endpoint: "a:1"}
	says := func(m *rpc.Method, code transport.Code, text string) *Error { return FromServer(m, "a:1", code, text) }
	refused := func(m *rpc.Method) *Error {
		return says(m, transport.ResourceExhausted, "etcdserver: too many requests")
	}
	timedOut := func(m *rpc.Method) *Error {
		return FromTransport(m, "a:1", &transport.Error{Code: transport.DeadlineExceeded, Cause: transport.ErrTimeout})
	}

	k.foreign = made("foreign cluster", func(m *rpc.Method) *Error {
		e.history.belongs(1)
		return e.foreign(m, peer, 7)
	})
	k.reset = made("history reset", func(*rpc.Method) *Error {
		e.history.mark().history.raise(100)
		return e.answered(rpc.Get, peer, e.history.mark(), response(Header{ClusterID: 1, Revision: 50}))
	})
	k.undecodable = made("undecodable answer", func(m *rpc.Method) *Error { return Undecodable(m, io.ErrUnexpectedEOF) })
	k.closed = made("closed before sending", func(m *rpc.Method) *Error { return Closed(m.Op) })
	k.broken = made("broken stream", func(m *rpc.Method) *Error {
		return (&Stream{method: m, Conn: peer}).Broken("the server ended the stream")
	})
	k.overtaken = made("overtaken by a hedge", func(m *rpc.Method) *Error {
		return sending{r: Request{Method: m}, conn: peer}.overtaken()
	})
	k.ended = made("context ended before sending", func(m *rpc.Method) *Error { return ContextEnded(cancelled, m, "waiting") })
	k.abandoned = made("context ended while it was sent", func(m *rpc.Method) *Error { return Abandoned(late, m, "a:1") })
	k.cancelledInPause = made("cancelled in a pause", func(m *rpc.Method) *Error { return e.pause(cancelled, time.Hour, refused(m)) })
	k.deadlineInPause = made("deadline in a pause", func(m *rpc.Method) *Error { return e.pause(late, time.Hour, refused(m)) })
	k.closedInPause = made("closed in a pause", func(m *rpc.Method) *Error { return down.pause(t.Context(), time.Hour, refused(m)) })
	k.atDeadline = made("answered at the deadline", func(m *rpc.Method) *Error {
		return says(m, transport.Unavailable, "etcdserver: request timed out").atDeadline(late)
	})
	k.resetAtDeadline = made("reset at the deadline", func(m *rpc.Method) *Error {
		return FromTransport(m, "a:1", peertest.ResetAtDeadline.Err).atDeadline(late)
	})
	k.onlyLearners = made("every member is a learner", func(m *rpc.Method) *Error {
		failed := says(m, transport.FailedPrecondition, "etcdserver: rpc not supported for learner")
		failed.Transient = false // see settle
		return failed
	})
	k.timeoutAfterRefusal = made("timeout after a refusal", func(m *rpc.Method) *Error { return timedOut(m).After(refused(m)) })
	k.rejectedToken = made("rejected token, replaced", func(m *rpc.Method) *Error {
		failed := says(m, transport.Unauthenticated, "etcdserver: invalid auth token")
		failed.resend = e.tokens.dropRejected(&token{text: "simple.1"}, failed)
		return failed
	})
	k.noCredentials = made("no credentials", func(m *rpc.Method) *Error {
		_, failed := sealed.tokens.get(t.Context(), m, Bound{})
		return failed
	})
	return k
}
