package etcd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// What a context bounds is in one table of the package's documentation, and the first thing that
// the comment of each method says whose context bounds less, or more, than one answer.
func TestDocumentationOfContexts(t *testing.T) {
	files := token.NewFileSet()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	comments := make(map[string]string) // of methods, by their names
	overview := ""
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, entry.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if entry.Name() == "doc.go" {
			overview = file.Doc.Text()
		}
		for _, decl := range file.Decls {
			if name, text := methodComment(decl); name != "" {
				comments[name] = text
			}
		}
	}
	for method, row := range map[string]string{
		"Client.Range": "the loop over All too", "Maintenance.Snapshot": "the reading too", "Maintenance.SaveSnapshot": "all of it",
		"Client.Watch": "the opening", "Client.KeepAlive": "the opening",
	} {
		paragraphs := strings.Split(comments[method], "\n\n")
		if len(paragraphs) < 2 || !strings.HasPrefix(paragraphs[1], "ctx ") || !strings.Contains(paragraphs[1], "bounds") {
			t.Errorf("%s: the second paragraph does not say what ctx bounds: %q", method, paragraphs)
		}
		if !hasLine(overview, method, row) {
			t.Errorf("the package's documentation has no row of %s: %s", method, row)
		}
	}
	for _, method := range []string{"Watcher.Read", "KeepAliveStream.Read, Write", "Client.Grant, Adopt"} {
		if !hasLine(overview, method, "") {
			t.Errorf("the package's documentation has no row of %s", method)
		}
	}
}

func hasLine(text, begin, has string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, begin+" ") && strings.Contains(line, has) {
			return true
		}
	}
	return false
}

// methodComment is the name of an exported method with its type, and its comment.
func methodComment(decl ast.Decl) (name, comment string) {
	f, ok := decl.(*ast.FuncDecl)
	if !ok || f.Recv == nil || !f.Name.IsExported() {
		return "", ""
	}
	receiver := f.Recv.List[0].Type
	if pointer, ok := receiver.(*ast.StarExpr); ok {
		receiver = pointer.X
	}
	of, ok := receiver.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return of.Name + "." + f.Name.Name, f.Doc.Text()
}
