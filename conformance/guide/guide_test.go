package guide

import (
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/leaktest"
)

const guide = "../../docs/from-clientv3.md"

var write = flag.Bool("write", false, "write the code into "+guide)

// endpoints are those of the etcd on which the calls run.
var endpoints []string

// calls are the calls of the guide, in its order. The names of their functions are v3 and
// our with the name behind it.
var calls = []struct {
	name   string
	theirs func(context.Context, *clientv3.Client, io.Writer) error
	ours   func(context.Context, *etcd.Client, io.Writer) error
}{
	{"Connect", v3Connect, ourConnect},
	{"Put", v3Put, ourPut},
	{"Get", v3Get, ourGet},
	{"GetPrefix", v3GetPrefix, ourGetPrefix},
	{"GetInterval", v3GetInterval, ourGetInterval},
	{"GetSorted", v3GetSorted, ourGetSorted},
	{"Count", v3Count, ourCount},
	{"KeysOnly", v3KeysOnly, ourKeysOnly},
	{"Serializable", v3Serializable, ourSerializable},
	{"OldRevision", v3OldRevision, ourOldRevision},
	{"LargeRange", v3LargeRange, ourLargeRange},
	{"Delete", v3Delete, ourDelete},
	{"DeletePrefix", v3DeletePrefix, ourDeletePrefix},
	{"PrevKV", v3PrevKV, ourPrevKV},
	{"IgnoreLease", v3IgnoreLease, ourIgnoreLease},
	{"CreateIfMissing", v3CreateIfMissing, ourCreateIfMissing},
	{"CompareAndSwap", v3CompareAndSwap, ourCompareAndSwap},
	{"ReadTogether", v3ReadTogether, ourReadTogether},
	{"ManyPuts", v3ManyPuts, ourManyPuts},
	{"Watch", v3Watch, ourWatch},
	{"WatchFrom", v3WatchFrom, ourWatchFrom},
	{"WatchDeletes", v3WatchDeletes, ourWatchDeletes},
	{"WatchCompacted", v3WatchCompacted, ourWatchCompacted},
	{"Grant", v3Grant, ourGrant},
	{"LeaseLost", v3LeaseLost, ourLeaseLost},
	{"Revoke", v3Revoke, ourRevoke},
	{"TimeToLive", v3TimeToLive, ourTimeToLive},
	{"Compact", v3Compact, ourCompact},
	{"MemberList", v3MemberList, ourMemberList},
	{"Status", v3Status, ourStatus},
	{"Lock", v3Lock, ourLock},
	{"Elect", v3Elect, ourElect},
	{"STM", v3STM, ourSTM},
}

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m, leaktest.Ours...)) }

// Both calls do the same: they print the same and leave the same keys behind.
func TestCalls(t *testing.T) {
	s := etcdtest.Start(t)
	endpoints = s.Endpoints()
	theirs, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	ours, err := etcd.New(etcd.Config{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	for _, call := range calls {
		t.Run(call.name, func(t *testing.T) {
			want := outcome(t, ours, func(ctx context.Context, out io.Writer) error { return call.theirs(ctx, theirs, out) })
			got := outcome(t, ours, func(ctx context.Context, out io.Writer) error { return call.ours(ctx, ours, out) })
			if got != want {
				t.Errorf("client/v3:\n%s\nours:\n%s", want, got)
			}
		})
	}
}

// outcome runs a call on a store that always holds the same, and returns what it printed
// and what it left behind.
func outcome(t *testing.T, c *etcd.Client, call func(context.Context, io.Writer) error) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.Delete(ctx, etcd.DeleteRequest{All: true}); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{
		{"color", "red"}, {"fruit/apple", "green"}, {"fruit/banana", "yellow"}, {"fruit/cherry", "red"}, {"fruit/apple", "red"},
	} {
		if _, err := c.Put(ctx, etcd.PutRequest{Key: pair[0], Value: []byte(pair[1])}); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if err := call(ctx, &out); err != nil {
		t.Fatal(err)
	}
	left, err := c.Get(ctx, etcd.GetRequest{Key: "\x00", FromKey: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range left.KVs {
		fmt.Fprintf(&out, "left: %s = %s, version %d, lease %t\n", kv.Key, kv.Value, kv.Version, kv.Lease != 0)
	}
	return out.String()
}

// block is a block of Go in the guide. Each call has two: client/v3's and ours.
var block = regexp.MustCompile("(?s)```go\n(.*?)```")

// The guide has the code that TestCalls runs, and no other. Run this test with -write
// after a change of the code.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	bodies := make(map[string]string)
	readBodies(t, "v3_test.go", bodies)
	readBodies(t, "ours_test.go", bodies)
	if len(bodies) != 2*len(calls) {
		t.Errorf("%d functions, want two for each of the %d calls", len(bodies), len(calls))
	}
	found := block.FindAllStringSubmatch(string(text), -1)
	if len(found) != 2*len(calls) {
		t.Fatalf("the guide has %d blocks of Go, want two for each of the %d calls", len(found), len(calls))
	}
	for i, call := range calls {
		for j, name := range []string{"v3" + call.name, "our" + call.name} {
			if got := found[2*i+j][1]; got != bodies[name] && !*write {
				t.Errorf("block %d of the guide is not the body of %s:\n%s\nwant:\n%s", 2*i+j+1, name, got, bodies[name])
			}
		}
	}
	if *write {
		writeGuide(t, text, bodies)
	}
}

// readBodies reads the bodies of the functions in a file, without their indentation.
func readBodies(t *testing.T, file string, bodies map[string]string) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range parsed.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			body := string(source[files.Position(f.Body.Lbrace).Offset+2 : files.Position(f.Body.Rbrace).Offset])
			bodies[f.Name.Name] = regexp.MustCompile(`(?m)^\t`).ReplaceAllString(body, "")
		}
	}
}

func writeGuide(t *testing.T, text []byte, bodies map[string]string) {
	t.Helper()
	i := 0
	written := block.ReplaceAllStringFunc(string(text), func(string) string {
		name := [...]string{"v3", "our"}[i%2] + calls[i/2].name
		i++
		return "```go\n" + bodies[name] + "```"
	})
	if err := os.WriteFile(guide, []byte(written), 0o644); err != nil {
		t.Fatal(err)
	}
}
