package mutant

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "silly.store/etcd/cache"
	_ "silly.store/etcd/group" // and with it the client, so that a change of the client invalidates a cached test result
	_ "silly.store/etcd/queue"
	"silly.store/etcd/robustness/internal/check"
	"silly.store/etcd/robustness/internal/report"
	"silly.store/etcd/robustness/internal/scenario"
	_ "silly.store/etcd/sequence"
	_ "silly.store/etcd/stm"
)

// Each mutant's invariant is one of its scenario's, or its test is there, and each
// invariant has a mutant.
func TestTable(t *testing.T) {
	names, broken := make(map[string]bool), make(map[string]bool)
	for _, m := range All() {
		if names[m.Name] {
			t.Errorf("%s occurs twice", m.Name)
		}
		names[m.Name], broken[m.Invariant] = true, true
		if m.Fault == "" || (m.Test == "") != (m.Time > 0) || (m.Test == "") != (m.Scenario != "") {
			t.Errorf("%s lacks something, or has too much: %+v", m.Name, m)
		}
		if m.Test != "" {
			if top, _, _ := strings.Cut(m.Test, "/"); !slices.Contains(conformanceTests(t, m.folder()), top) {
				t.Errorf("%s: %s has no %s", m.Name, m.folder(), m.Test)
			}
			continue
		}
		s, err := scenario.Find([]string{m.Scenario})
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
		} else if !slices.Contains(s[0].Judged, m.Invariant) {
			t.Errorf("%s must break %s, but %s does not check it", m.Name, m.Invariant, m.Scenario)
		}
	}
	for name := range check.Meaning {
		if name != check.Truth && !broken[name] {
			t.Errorf("no mutant breaks %s", name)
		}
	}
}

// conformanceTests returns the names of the functions in the tests of a folder.
func conformanceTests(t *testing.T, folder string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of %s: %v", len(files), folder, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

// Each mutant applies to the current source, and the result compiles.
func TestCompile(t *testing.T) {
	packages := clientPackages(t)
	for _, m := range All() {
		p := packages[path.Join(client, path.Dir(m.File))]
		if p == nil {
			t.Errorf("mutant %s is outdated: there is no package with %s", m.Name, m.File)
		} else if err := p.compile(&m); err != nil {
			t.Error(err)
		}
	}
}

// source is a package of the client: its parsed files, and the importer of others.
type source struct {
	dir   string
	fset  *token.FileSet
	files map[string]*ast.File
	from  types.Importer
}

// compile type-checks the package with a mutant in it.
func (p *source) compile(m *Mutant) error {
	name := path.Base(m.File)
	original, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return err
	}
	mutated, err := m.apply(string(original))
	if err != nil {
		return err
	}
	changed, err := parser.ParseFile(p.fset, name, mutated, parser.SkipObjectResolution)
	if err != nil {
		return errors.New("mutant " + m.Name + ": " + err.Error())
	}
	var files []*ast.File
	for other, file := range p.files {
		if other == name {
			file = changed
		}
		files = append(files, file)
	}
	config := types.Config{Importer: p.from}
	if _, err := config.Check(client, p.fset, files, nil); err != nil {
		return errors.New("mutant " + m.Name + ": " + err.Error())
	}
	return nil
}

// clientPackages returns the packages of the client's module by import path.
func clientPackages(t *testing.T) map[string]*source {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", client, client+"/cache", client+"/group", client+"/queue", client+"/sequence", client+"/stm")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	exports := make(map[string]string)
	packages := make(map[string]*source)
	fset := token.NewFileSet()
	from := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if p.ImportPath != client && !strings.HasPrefix(p.ImportPath, client+"/") {
			continue
		}
		s := &source{dir: p.Dir, fset: fset, files: make(map[string]*ast.File), from: from}
		for _, name := range p.GoFiles {
			if s.files[name], err = parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution); err != nil {
				t.Fatal(err)
			}
		}
		packages[p.ImportPath] = s
	}
	return packages
}

// The error for a missing or repeated text names the mutant.
func TestOutdated(t *testing.T) {
	m := Mutant{Name: "x", File: "f.go", Old: "a + 1", New: "a"}
	if got, err := m.apply("b := a + 1"); got != "b := a" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "a+1", "a + 1; a + 1"} {
		if _, err := m.apply(bad); err == nil || !strings.Contains(err.Error(), "mutant x is outdated: f.go") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Only the mutant's own invariant counts, and only if the truth is known.
func TestJudge(t *testing.T) {
	found := func(invariants ...string) []report.Row {
		var row report.Row
		for _, name := range invariants {
			row.Findings = append(row.Findings, check.Finding{
				Invariant: name, Checked: 9, Count: 2, Violations: []check.Violation{{At: 7e6}, {}, {At: 5e6}},
			})
		}
		return []report.Row{row}
	}
	for _, x := range []struct {
		rows    []report.Row
		failed  bool
		verdict string
	}{
		{found("I3", "I2"), true, "caught by I2 after 5ms"},
		{found("I3"), true, "SURVIVED I2, broke only I3"},
		{found(), false, "SURVIVED"},
		{found("I2"), false, "NOT RUN (the run found violations but exited without an error)"},
		{found(check.Truth, "I2"), true, "NOT RUN (the oracles disagree, so nothing is known)"},
		{nil, true, "NOT RUN (the report has 0 rows, want one)"},
	} {
		m := report.Mutant{Invariant: "I2"}
		if err := judge(&m, x.rows, x.failed); err != nil {
			m.Error = err.Error()
		}
		if m.Verdict() != x.verdict {
			t.Errorf("verdict %q, want %q", m.Verdict(), x.verdict)
		}
		if m.Caught && m.Error == "" && (m.First != 5e6 || m.Violations != 2 || m.Checked != 9) {
			t.Errorf("%+v", m)
		}
	}
}
