package etcd_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"silly.store/etcd"
)

// Every exported integer type of every package that users import prints as a word.
func TestEveryIntegerTypePrints(t *testing.T) {
	var all []string
	for _, folder := range publicFolders(t) {
		types, stringers := integerTypes(t, folder)
		for _, name := range types {
			if all = append(all, path.Join(folder, name)); !stringers[name] {
				t.Errorf("%s in %s has no String method", name, folder)
			}
		}
	}
	for _, want := range []string{"SortOrder", "LeaseID", "queue/Order", "cache/Presence"} {
		if !slices.Contains(all, want) {
			t.Errorf("%s is not among %v", want, all)
		}
	}
}

// publicFolders are those of the packages that users import.
func publicFolders(t *testing.T) (folders []string) {
	t.Helper()
	programs := []string{"bench", "conformance", "examples", "robustness", "tools", "internal", "testdata"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return err
		case path != "." && (slices.Contains(programs, d.Name()) || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		}
		folders = append(folders, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

// integerTypes are the exported types of a package whose underlying type is an
// integer, and all its types with a String method.
func integerTypes(t *testing.T, folder string) (types []string, stringers map[string]bool) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	stringers = make(map[string]bool)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if n.Name.IsExported() && isInteger(n.Type) {
					types = append(types, n.Name.Name)
				}
			case *ast.FuncDecl:
				if n.Recv != nil && n.Name.Name == "String" {
					if receiver, ok := n.Recv.List[0].Type.(*ast.Ident); ok {
						stringers[receiver.Name] = true
					}
				}
				return false
			}
			return true
		})
	}
	return types, stringers
}

func isInteger(expr ast.Expr) bool {
	id, ok := expr.(*ast.Ident)
	return ok && (strings.HasPrefix(id.Name, "int") || strings.HasPrefix(id.Name, "uint"))
}

func TestEnumsPrint(t *testing.T) {
	for _, test := range []struct {
		value fmt.Stringer
		want  string
	}{
		{etcd.SortNone, "NONE"}, {etcd.Descend, "DESCEND"}, {etcd.SortOrder(7), "SortOrder(7)"},
		{etcd.SortByKey, "KEY"}, {etcd.SortByModRevision, "MOD"}, {etcd.SortTarget(-1), "SortTarget(-1)"},
		{etcd.Equal, "EQUAL"}, {etcd.NotEqual, "NOT_EQUAL"}, {etcd.CompareResult(7), "CompareResult(7)"},
		{etcd.TargetCreateRevision, "CREATE"}, {etcd.TargetLease, "LEASE"}, {etcd.CompareTarget(7), "CompareTarget(7)"},
		{etcd.EventPut, "PUT"}, {etcd.EventDelete, "DELETE"}, {etcd.EventType(7), "EventType(7)"},
		{etcd.AlarmNone, "NONE"}, {etcd.AlarmNoSpace, "NOSPACE"}, {etcd.AlarmType(7), "AlarmType(7)"},
		{etcd.PermissionRead, "READ"}, {etcd.PermissionReadWrite, "READWRITE"}, {etcd.PermissionType(7), "PermissionType(7)"},
		{etcd.DowngradeValidate, "VALIDATE"}, {etcd.DowngradeCancel, "CANCEL"}, {etcd.DowngradeAction(7), "DowngradeAction(7)"},

		{etcd.EndpointIdle, "idle"}, {etcd.EndpointConnecting, "connecting"}, {etcd.EndpointReady, "ready"}, {etcd.EndpointSuspect, "suspect"},
		{etcd.EndpointDraining, "draining"}, {etcd.EndpointDown, "down"}, {etcd.EndpointState(7), "EndpointState(7)"},

		{etcd.PreferAny, "any"}, {etcd.PreferNearest, "nearest"}, {etcd.PreferLeader, "leader"}, {etcd.Prefer(7), "Prefer(7)"},
		{etcd.SafeOnly, "safe"}, {etcd.AtLeastOnce, "at_least_once"}, {etcd.RetryWrites(7), "RetryWrites(7)"},
		{etcd.CoalesceReads, "reads"}, {etcd.CoalesceAll, "all"}, {etcd.CoalesceOff, "off"}, {etcd.Coalesce(7), "Coalesce(7)"},
	} {
		if got := test.value.String(); got != test.want {
			t.Errorf("%T prints as %q, want %q", test.value, got, test.want)
		}
	}
}

// What a DSN takes for a choice is how that choice prints.
func TestChoicesPrintAsDSN(t *testing.T) {
	for _, want := range []etcd.RetryWrites{etcd.SafeOnly, etcd.AtLeastOnce} {
		if c, err := etcd.ParseDSN("etcd://h/?retry_writes=" + want.String()); err != nil || c.RetryWrites != want {
			t.Errorf("retry_writes=%v: %v, %v", want, c.RetryWrites, err)
		}
	}
	for _, want := range []etcd.Coalesce{etcd.CoalesceReads, etcd.CoalesceAll, etcd.CoalesceOff} {
		if c, err := etcd.ParseDSN("etcd://h/?coalesce=" + want.String()); err != nil || c.Coalesce != want {
			t.Errorf("coalesce=%v: %v, %v", want, c.Coalesce, err)
		}
	}
}

// The directives of wiregen are no affair of the readers of the documentation.
func TestDocumentationHidesDirectives(t *testing.T) {
	out, err := exec.Command("go", "doc", "-all", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "type SortOrder int32") {
		t.Fatalf("no documentation of SortOrder in:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "//etcd:") {
			t.Errorf("the documentation shows %q", line)
		}
	}
}
