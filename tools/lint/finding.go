package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"
)

// A finding is what an analyzer reports of a line.
type finding struct {
	check   string // the analyzer, or gosec's rule
	file    string // from the working directory
	line    int
	message string
	source  string // the line, and the switch statement's if it is a case of one
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %s (%s)", f.file, f.line, f.message, f.check)
}

// analyze runs the analyzers.
func analyze(pkgs []*packages.Package) ([]finding, error) {
	graph, err := checker.Analyze(configured(), pkgs, nil)
	if err != nil {
		return nil, err
	}
	var found []finding
	for _, act := range graph.Roots {
		if act.Err != nil {
			return nil, fmt.Errorf("%s: %w", act, act.Err)
		}
		for _, d := range act.Diagnostics {
			at := act.Package.Fset.Position(d.Pos)
			source, err := sourceAt(act.Package, d.Pos)
			if err != nil {
				return nil, err
			}
			found = append(found, finding{
				check:   checkName(act.Analyzer, d),
				file:    relative(at.Filename),
				line:    at.Line,
				message: d.Message,
				source:  source,
			})
		}
	}
	return found, nil
}

// sourceAt is the text of the line at pos, and of the innermost switch statement's
// when the line is a case.
func sourceAt(pkg *packages.Package, pos token.Pos) (string, error) {
	at := pkg.Fset.Position(pos)
	text, err := os.ReadFile(at.Filename)
	if err != nil {
		return "", err
	}
	lines := strings.Split(string(text), "\n")
	line := lines[at.Line-1]
	if !strings.HasPrefix(strings.TrimSpace(line), "case ") {
		return line, nil
	}
	for _, file := range pkg.Syntax {
		if file.FileStart <= pos && pos < file.FileEnd {
			if s := innermostSwitch(file, pos); s != nil {
				line = lines[pkg.Fset.Position(s.Pos()).Line-1] + "\n" + line
			}
		}
	}
	return line, nil
}

func innermostSwitch(file *ast.File, pos token.Pos) (found *ast.SwitchStmt) {
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SwitchStmt); ok && s.Pos() <= pos && pos < s.End() {
			found = s
		}
		return true
	})
	return found
}

func relative(file string) string {
	if here, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(here, file); err == nil {
			return filepath.ToSlash(short)
		}
	}
	return file
}

// sorted sorts the findings and takes each once: a package's files are in its
// tests' package as well.
func sorted(found []finding) []finding {
	slices.SortFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.file, b.file), a.line-b.line, cmp.Compare(a.String(), b.String()))
	})
	return slices.Compact(found)
}
