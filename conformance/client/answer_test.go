package client

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"silly.store/etcd"
)

// texts returns every text that etcd's rpctypes has for its answers, with the
// name of its code.
func texts(t *testing.T) map[string]string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "go.etcd.io/etcd/api/v3/v3rpc/rpctypes").Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "error.go"), nil, 0)
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

// kvServer answers every Put with an error.
type kvServer struct {
	pb.UnimplementedKVServer
	err error
}

func (s *kvServer) Put(context.Context, *pb.PutRequest) (*pb.PutResponse, error) { return nil, s.err }

// unnamed are answers without an Err variable, each with its reason.
var unnamed = map[string]string{
	"etcdserver: watch canceled":                "a watch's, not a call's",
	"etcdserver: request canceled":              "the context's error says it",
	"etcdserver: context deadline exceeded":     "the context's error says it",
	"etcdserver: revision of auth store is old": "retried",
	"etcdserver: not capable":                   "maintenance",
}

// Every answer that etcd has a text for reaches the caller with its code and
// text, and with an Err variable unless it is waived above.
func TestAnswers(t *testing.T) {
	t.Parallel()
	server := &kvServer{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterKVServer(g, server)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	c := connect(t, etcd.Config{Endpoints: []string{l.Addr().String()}, Retry: -1, Timeout: 100 * time.Millisecond})
	names := map[string]codes.Code{}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		names[code.String()] = code
	}
	all := texts(t)
	if len(all) < 60 {
		t.Fatalf("only %d texts were found: %v", len(all), all)
	}
	for text, code := range all {
		server.err = status.Error(names[code], text)
		// Those that an election explains are asked again within Timeout.
		// When that ends a call and not the pause after it, the answer is lost.
		err := etcd.ErrTimeout
		for errors.Is(err, etcd.ErrTimeout) {
			_, err = c.Put(t.Context(), etcd.PutRequest{Key: "k"})
		}
		var e *etcd.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if e.Outcome == etcd.OutcomeUnknown != etcd.MaybeApplied(err) {
			t.Errorf("%q: outcome %v, MaybeApplied %v", text, e.Outcome, etcd.MaybeApplied(err))
		}
		if e.Code.String() != code || e.Message != text {
			t.Errorf("%q: code %v, text %q; want %s", text, e.Code, e.Message, code)
		}
		if _, waived := unnamed[text]; named(err) == waived {
			t.Errorf("%q: it has an Err variable: %v; it is waived: %v", text, named(err), waived)
		}
	}
	for text := range unnamed {
		if _, ok := all[text]; !ok {
			t.Errorf("%q is waived, but etcd has no such text", text)
		}
	}
}

// named: errors.Is finds something else than a context's error and ErrUnavailable.
func named(err error) bool {
	e, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return false
	}
	for _, err := range e.Unwrap() {
		if !errors.Is(err, etcd.ErrUnavailable) {
			return true
		}
	}
	return false
}
