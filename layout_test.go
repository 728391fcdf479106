package etcd_test

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "silly.store/etcd"

// layout is who may import whom. Dependencies count, not only direct imports.
// The rules of the siblings hold in the workspace only: with GOWORK=off their
// modules need not be there.
var layout = []struct {
	packages string
	sibling  bool
	// only is what a package may import beside the standard library; nil means
	// anything that isn't in never. An entry ending in /... means a whole tree.
	only  []string
	never []string
}{
	{packages: "./internal/wire/...", only: internal("wire")},
	{packages: "./internal/alarm/...", only: internal("alarm")},
	{packages: "./internal/yield/...", only: internal("yield")},
	{packages: "./internal/backoff/...", only: internal("backoff")},
	{packages: "./internal/callback/...", only: internal("callback")},
	{packages: "./internal/duration/...", only: internal("duration")},
	{packages: "./internal/transport/...", only: internal("transport")},
	{packages: "./internal/balance/...", only: internal("balance", "backoff", "transport")},
	{packages: "./internal/rpc/...", only: internal("rpc", "balance", "backoff", "transport")},
	{packages: "./internal/call/...", only: internal("call", "rpc", "balance", "transport", "wire", "backoff")},
	{packages: "./internal/coalesce/...", only: internal("coalesce", "call", "rpc", "balance", "transport", "wire", "backoff")},
	{packages: "./internal/keepalive/...", only: internal("keepalive", "call", "rpc", "balance", "transport", "wire", "backoff")},
	{packages: "./internal/follow/...", only: append([]string{module}, internal("follow", "duration", "compat", "call", "coalesce", "keepalive", "rpc", "balance", "transport", "wire", "backoff")...)},
	{packages: "./internal/cowtree/...", only: internal("cowtree")},
	{packages: "./internal/compat/...", only: internal("compat", "call", "rpc", "balance", "transport", "wire", "backoff")},
	{packages: "./internal/peertest/...", only: internal("peertest", "transport", "wire")},
	{packages: "./internal/leaktest/...", only: internal("leaktest")},
	{packages: "./internal/exampletest/...", only: internal("exampletest")},
	{packages: "./internal/exampleclient/...", only: append(recipes("concurrency"), internal("exampleclient", "exampletest")...)},
	{packages: "./concurrency/...", only: recipes("concurrency"), never: forTests},
	{packages: "./cache/...", only: recipes("cache"), never: forTests},
	{packages: "./idempotent/...", only: recipes("idempotent", "concurrency"), never: forTests},
	{packages: "./stm/...", only: recipes("stm", "idempotent", "concurrency"), never: forTests},
	{packages: "./sequence/...", only: recipes("sequence", "stm", "idempotent", "concurrency"), never: forTests},
	{packages: "./group/...", only: recipes("group", "concurrency"), never: forTests},
	{packages: "./discovery/...", only: recipes("discovery", "concurrency"), never: forTests},
	{packages: "./mirror/...", only: recipes("mirror"), never: forTests},
	{packages: "./...", only: recipes("cache", "concurrency", "group", "idempotent", "queue", "stm", "sequence", "discovery", "mirror")},
	{packages: "./queue/...", only: recipes("queue", "idempotent", "concurrency"), never: forTests},
	{packages: ".", only: recipes(), never: forTests},

	{packages: "./discovery/grpcresolver/...", sibling: true, never: append([]string{"go.etcd.io/etcd/..."}, forTests...)},
	{packages: "./etcdtest/...", sibling: true, never: []string{module + "/v3compat/..."}},
	{packages: "./v3compat/...", sibling: true, never: []string{"go.etcd.io/etcd/server/v3/..."}},
	{packages: "./otel", sibling: true, never: []string{"go.etcd.io/...", "go.opentelemetry.io/otel/sdk/..."}},
	{packages: "./prom", sibling: true, never: []string{"go.etcd.io/..."}},
	{packages: "./lua", sibling: true, only: append(internal("call", "coalesce", "compat", "duration", "keepalive", "rpc", "balance", "transport", "wire", "backoff"),
		module, module+"/lua", "github.com/yuin/gopher-lua/...")},
}

// forTests are packages that only tests import.
var forTests = []string{module + "/internal/peertest/...", module + "/internal/leaktest/...", module + "/internal/exampletest/...", module + "/internal/exampleclient/..."}

// internal is packages below internal/ by name, with what transport and coalesce need.
func internal(names ...string) (list []string) {
	for _, name := range names {
		list = append(list, module+"/internal/"+name+"/...")
	}
	if slices.Contains(names, "transport") {
		list = append(list, module+"/internal/alarm", module+"/internal/callback", "golang.org/x/net/http2/hpack")
	}
	if slices.Contains(names, "coalesce") {
		list = append(list, module+"/internal/yield")
	}
	return list
}

// recipes is what packages on top of the client may import: the client, and those of
// them that are named.
func recipes(names ...string) []string {
	list := []string{module, module + "/internal/...", "golang.org/x/net/http2/hpack"}
	for _, name := range names {
		list = append(list, module+"/"+name)
	}
	return list
}

func TestLayout(t *testing.T) {
	workspace := inWorkspace(t)
	for _, rule := range layout {
		if rule.sibling && (!workspace || !isDir(strings.TrimSuffix(rule.packages, "/..."))) {
			continue
		}
		for _, dep := range dependencies(t, rule.packages) {
			if rule.only != nil && !matches(rule.only, dep) {
				t.Errorf("%s depends on %s, which the layout doesn't allow", rule.packages, dep)
			}
			if matches(rule.never, dep) {
				t.Errorf("%s depends on %s, which the layout forbids", rule.packages, dep)
			}
		}
	}
}

// TestLayoutIsDocumented: the table of CONTRIBUTING.md has every package of this module.
func TestLayoutIsDocumented(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\|( `[^`]+`,?)+ \\|")
	rows := strings.Join(row.FindAllString(string(text), -1), "")
	for _, name := range goList(t, "{{.ImportPath}}", "./...") {
		folder := cmp.Or(strings.TrimPrefix(strings.TrimPrefix(name, module), "/"), ".")
		if !strings.Contains(rows, "`"+folder+"`") {
			t.Errorf("the table has no row for %s", folder)
		}
	}
}

// TestExamplesUseThePublicPackage holds the examples to what a reader can use.
// Their own imports count: what a public package imports is its affair.
func TestExamplesUseThePublicPackage(t *testing.T) {
	if !inWorkspace(t) {
		return
	}
	for _, line := range goList(t, "{{.ImportPath}} {{join .Imports \" \"}}", "./examples/...") {
		name, imports, _ := strings.Cut(line, " ")
		for _, path := range strings.Fields(imports) {
			if strings.HasPrefix(path, module+"/internal/") {
				t.Errorf("%s imports %s, which its readers can't", name, path)
			}
		}
	}
}

// TestCompatIsForV3compat holds internal/compat to its one user, and that one to it.
func TestCompatIsForV3compat(t *testing.T) {
	packages := []string{"./..."}
	if inWorkspace(t) {
		for _, sibling := range []string{"bench", "conformance", "discovery/grpcresolver", "etcdtest", "examples", "lua", "otel", "prom", "robustness", "tools", "v3compat"} {
			packages = append(packages, "./"+sibling+"/...")
		}
	}
	for _, tree := range packages {
		for _, line := range goList(t, "{{.ImportPath}} {{join .Imports \" \"}}", tree) {
			name, imports, _ := strings.Cut(line, " ")
			for _, path := range strings.Fields(imports) {
				switch {
				case path == module+"/internal/compat" && name != module && name != module+"/v3compat":
					t.Errorf("%s imports %s, which is for v3compat", name, path)
				case path != module+"/internal/compat" && strings.HasPrefix(path, module+"/internal/") && name == module+"/v3compat":
					t.Errorf("%s imports %s; what it needs goes through internal/compat", name, path)
				}
			}
		}
	}
}

// TestFewRequirements holds the promise that this module conflicts with
// nothing: go.mod requires two modules at most, indirect ones included.
func TestFewRequirements(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal("go mod edit: ", explain(err))
	}
	var mod struct {
		Require []struct{ Path string }
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if len(mod.Require) > 2 {
		t.Errorf("go.mod requires %d modules, want at most 2: %v", len(mod.Require), mod.Require)
	}
	for _, r := range mod.Require {
		if !slices.Contains([]string{"golang.org/x/net", "google.golang.org/protobuf"}, r.Path) {
			t.Errorf("go.mod requires %s", r.Path)
		}
	}
	if len(mod.Replace) > 0 {
		t.Errorf("go.mod replaces %v, which users of the module don't see", mod.Replace)
	}
}

// dependencies lists what the packages need beside the standard library,
// themselves included.
func dependencies(t *testing.T, packages string) []string {
	t.Helper()
	touchSources(t, strings.TrimSuffix(packages, "/..."))
	args := []string{"list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", packages}
	return run(t, args)
}

func goList(t *testing.T, format, packages string) []string {
	t.Helper()
	touchSources(t, strings.TrimSuffix(packages, "/..."))
	return run(t, []string{"list", "-f", format, packages})
}

func run(t *testing.T, args []string) []string {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go %s: %s", strings.Join(args, " "), explain(err))
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

// touchSources looks at every Go file below dir, so that "go test" knows that
// a result depends on them and doesn't answer from its cache.
func touchSources(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inWorkspace says whether the go command uses this repository's go.work.
func inWorkspace(t *testing.T) bool {
	t.Helper()
	out, err := exec.Command("go", "env", "GOWORK").Output()
	if err != nil {
		t.Fatal("go env: ", explain(err))
	}
	here, err := filepath.Abs("go.work")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)) == here
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// matches says whether one of the patterns is path or a tree that has it.
func matches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		tree, ok := strings.CutSuffix(p, "/...")
		return path == tree || ok && strings.HasPrefix(path, tree+"/")
	})
}

// explain is err with what the command wrote.
func explain(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return err.Error() + "\n" + string(exit.Stderr)
	}
	return err.Error()
}

// README gives each example a line, and each is a program that its reader sees whole.
func TestReadmeNamesTheExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := filepath.Glob("examples/*/main.go")
	if err != nil || len(programs) < 10 && isDir("examples") {
		t.Fatalf("%q: %v", programs, err)
	}
	for _, program := range programs {
		if !strings.Contains(string(readme), "("+filepath.ToSlash(program)+")") {
			t.Errorf("README has no line for %s", program)
		}
		source, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"\nfunc main() {", "etcd.New("} {
			if !strings.Contains(string(source), want) && filepath.Base(filepath.Dir(program)) != "quickstart" {
				t.Errorf("%s does not have %q", program, strings.TrimSpace(want))
			}
		}
	}
}
