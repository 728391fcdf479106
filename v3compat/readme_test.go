package v3compat

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The tables of README.md name every exported function and method of client/v3,
// and every field of its Client and Config, once; and nothing else.
func TestReadmeNamesAllOfClientV3(t *testing.T) {
	exported := exportedByClientV3(t)
	named := map[string]int{}
	for _, name := range namesInTables(t) {
		named[name]++
		switch {
		case !exported[name]:
			t.Errorf("client/v3 has no %s", name)
		case named[name] == 2:
			t.Errorf("%s is named more than once", name)
		}
	}
	for name := range exported {
		if named[name] == 0 {
			t.Errorf("README.md says nothing of %s", name)
		}
	}
	if len(exported) < 200 {
		t.Errorf("found only %d names in client/v3", len(exported))
	}
}

// namesInTables are the names in the first column.
func namesInTables(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(text)) {
		columns := strings.Split(line, "|")
		if len(columns) != 5 {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(columns[1], -1) {
			names = append(names, m[1])
		}
	}
	return names
}

func exportedByClientV3(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "go.etcd.io/etcd/client/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	p := parsePackage(t, strings.TrimSpace(string(out)))
	addFuncs(names, "", p.Funcs)
	for _, typ := range p.Types {
		addFuncs(names, "", typ.Funcs)
		addFuncs(names, typ.Name+".", typ.Methods)
		for _, spec := range typ.Decl.Specs {
			for _, field := range fieldsOf(typ.Name, spec.(*ast.TypeSpec).Type) {
				if field.IsExported() {
					names[typ.Name+"."+field.Name] = true
				}
			}
		}
	}
	return names
}

func parsePackage(t *testing.T, dir string) *doc.Package {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(set, files, "go.etcd.io/etcd/client/v3")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func addFuncs(names map[string]bool, prefix string, funcs []*doc.Func) {
	for _, f := range funcs {
		names[prefix+f.Name] = true
	}
}

// fieldsOf are the methods of an interface, and the fields of the structs that
// are more than answers.
func fieldsOf(name string, typ ast.Expr) (fields []*ast.Ident) {
	var list *ast.FieldList
	switch typ := typ.(type) {
	case *ast.InterfaceType:
		list = typ.Methods
	case *ast.StructType:
		if name == "Client" || name == "Config" {
			list = typ.Fields
		}
	}
	if list == nil {
		return nil
	}
	for _, f := range list.List {
		fields = append(fields, f.Names...)
	}
	return fields
}
