package main

import (
	"fmt"
	"strings"

	"golang.org/x/tools/go/packages"
)

// A directive takes away what checks find on its line or on the next one:
//
//	//nolint:CHECK // reason
//
// staticcheck has its own directives, //lint:ignore.
type directive struct {
	check  string
	file   string
	line   int
	reason string
	used   bool
}

type directives []*directive

// directivesIn finds the directives of the packages.
func directivesIn(pkgs []*packages.Package) directives {
	var all directives
	for _, pkg := range pkgs {
		for _, file := range pkg.Syntax {
			for _, group := range file.Comments {
				for _, comment := range group.List {
					at := pkg.Fset.Position(comment.Pos())
					all = append(all, parseDirective(comment.Text, relative(at.Filename), at.Line)...)
				}
			}
		}
	}
	return all
}

// parseDirective is the directive for each of the checks that a comment names.
func parseDirective(comment, file string, line int) directives {
	text, ok := strings.CutPrefix(comment, "//nolint:")
	if !ok {
		return nil
	}
	checks, reason, _ := strings.Cut(text, "//")
	var all directives
	for check := range strings.SplitSeq(strings.TrimSpace(checks), ",") {
		all = append(all, &directive{check: check, file: file, line: line, reason: strings.TrimSpace(reason)})
	}
	return all
}

// has says whether a directive takes the finding away.
func (ds directives) has(f finding) bool {
	has := false
	for _, d := range ds {
		if d.check == f.check && d.file == f.file && (d.line == f.line || d.line == f.line-1) {
			d.used, has = true, true
		}
	}
	return has
}

// faults are the directives without need or reason.
func (ds directives) faults() []finding {
	var found []finding
	for _, d := range ds {
		f := finding{check: "directive", file: d.file, line: d.line}
		switch {
		case !d.used:
			f.message = fmt.Sprintf("nolint:%s ignores nothing", d.check)
		case d.reason == "":
			f.message = fmt.Sprintf("nolint:%s gives no reason", d.check)
		default:
			continue
		}
		found = append(found, f)
	}
	return found
}
