package examples

import (
	"context"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/exampletest"
	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m, leaktest.Ours...)) }

// packages are the folders whose examples these are.
var packages = []string{"../..", "../../concurrency", "../../stm", "../../sequence", "../../idempotent", "../../queue", "../../group", "../../discovery", "../../mirror", "../../cache"}

// notRun are the examples without output, and why they have none.
var notRun = map[string]string{
	"Cluster_MemberPromote": "a second member has to be started, and to catch up",
}

// TestExamples runs every example. A test binary of its package runs one of them at a time;
// it fails when the output is not what the example says.
func TestExamples(t *testing.T) {
	for _, dir := range packages {
		binary := build(t, dir)
		for _, e := range examples(t, dir) {
			if _, ok := notRun[e.Name]; ok {
				continue
			}
			t.Run(filepath.Base(dir)+"/"+e.Name, func(t *testing.T) {
				t.Parallel()
				s := etcdtest.Start(t)
				fill(t, s)
				run(t, binary, "Example"+e.Name, s)
			})
		}
	}
}

// TestExamplesHaveOutput: an example without output would be compiled and not run.
func TestExamplesHaveOutput(t *testing.T) {
	without := make(map[string]bool)
	for _, dir := range packages {
		for _, e := range examples(t, dir) {
			if e.Output == "" && !e.EmptyOutput {
				without[e.Name] = true
				if _, ok := notRun[e.Name]; !ok {
					t.Errorf("the example of %q says no output, so it is not run", e.Name)
				}
			}
		}
	}
	for name := range notRun {
		if !without[name] {
			t.Errorf("there is no example of %q without output", name)
		}
	}
}

// examples are those of the package in a folder.
func examples(t *testing.T, dir string) []*doc.Example {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	set := token.NewFileSet()
	for _, name := range names {
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return doc.Examples(files...)
}

// build makes the test binary of the package in a folder.
func build(t *testing.T, dir string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "etcd.test")
	cmd := exec.Command("go", "test", "-c", "-o", binary, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// run runs one example in a folder that has the files that examples open.
func run(t *testing.T, binary, name string, s *etcdtest.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.run", "^"+name+"$")
	cmd.Dir = folder(t)
	endpoints := strings.Join(s.Endpoints(), " ")
	cmd.Env = append(os.Environ(),
		exampletest.Variable+"="+endpoints, "ETCDCTL_ENDPOINTS="+endpoints,
		"REGISTRY_PASSWORD=swordfish", "ROOT_PASSWORD=swordfish",
	)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
		t.Errorf("%v\n%s", err, out)
	}
}

// folder has a certificate of a client, its authority's, and a password.
func folder(t *testing.T) string {
	t.Helper()
	ca, err := etcdtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.ClientPEM("registry", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{
		"ca.pem": ca.PEM(), "client.pem": cert, "client.key": key, "password": []byte("swordfish\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// store is what the examples find, put in this order from revision 2 on.
var store = []struct{ key, value string }{
	{"color", "red"},
	{"fruit/apple", "green"},
	{"fruit/banana", "yellow"},
	{"fruit/cherry", "red"},
	{"fruit/plum", "blue"},
	{"fruit/apple", "red"},
	{"users/ann", "admin"},
	{"users/bob", "guest"},
	{"config/color", "red"},
	{"config/size", "large"},
	{"audit/1", "ann logged in"},
	{"audit/2", "ann logged out"},
	{"list", "one\n"},
	{"mutex", "held"},
}

// lease is a lease that the examples find, with a key on it.
const lease etcd.LeaseID = 4711

// fill makes the store, the lease, and a role.
func fill(t *testing.T, s *etcdtest.Server) {
	t.Helper()
	c, err := etcd.New(etcd.Config{Endpoints: s.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, kv := range store {
		_, err := c.Put(ctx, etcd.PutRequest{Key: kv.key, Value: []byte(kv.value)})
		must(err)
	}
	_, err = c.Grant(ctx, etcd.GrantRequest{ID: lease, TTL: time.Hour, NoKeepAlive: true})
	must(err)
	_, err = c.Put(ctx, etcd.PutRequest{Key: "services/web", Value: []byte("10.0.0.7:80"), Lease: lease})
	must(err)
	_, err = c.Auth().RoleAdd(ctx, etcd.RoleAddRequest{Name: "services"})
	must(err)
	_, err = c.Auth().RoleGrantPermission(ctx, etcd.RoleGrantPermissionRequest{
		Role: "services", Type: etcd.PermissionReadWrite, Key: "services/", Prefix: true,
	})
	must(err)
}
