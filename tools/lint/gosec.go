package main

import (
	"go/token"
	"io"
	"log"
	"strconv"
	"strings"

	"github.com/securego/gosec/v2"
	"github.com/securego/gosec/v2/analyzers"
	"github.com/securego/gosec/v2/issue"
	"github.com/securego/gosec/v2/rules"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/buildssa"
	"golang.org/x/tools/go/packages"
)

// gosecAnalyzer runs gosec's rules and analyzers.
var gosecAnalyzer = &analysis.Analyzer{
	Name:     "gosec",
	Doc:      "looks for what makes programs insecure",
	Run:      runGosec,
	Requires: []*analysis.Analyzer{buildssa.Analyzer},
}

func runGosec(pass *analysis.Pass) (any, error) {
	config := gosec.NewConfig()
	config.SetGlobal(gosec.Nosec, "true") // lint:ignore is the one way to ignore a line
	checker := gosec.NewAnalyzer(config, true, false, false, 1, log.New(io.Discard, "", 0))
	checker.LoadRules(rules.Generate(false).RulesInfo())
	checker.LoadAnalyzers(analyzers.Generate(false).AnalyzersInfo())

	pkg := &packages.Package{
		Fset:      pass.Fset,
		Syntax:    pass.Files,
		Types:     pass.Pkg,
		TypesInfo: pass.TypesInfo,
	}
	checker.CheckRules(pkg)
	checker.CheckAnalyzersWithSSA(pkg, pass.ResultOf[buildssa.Analyzer].(*buildssa.SSA))

	issues, _, _ := checker.Report()
	for _, found := range issues {
		pass.Report(analysis.Diagnostic{
			Pos:      position(pass, found),
			Category: found.RuleID,
			Message:  found.What,
		})
	}
	return nil, nil
}

// checkName is gosec's rule, or the analyzer.
func checkName(a *analysis.Analyzer, d analysis.Diagnostic) string {
	if a == gosecAnalyzer {
		return d.Category
	}
	return a.Name
}

// position is the beginning of the issue's first line.
func position(pass *analysis.Pass, found *issue.Issue) token.Pos {
	first, _, _ := strings.Cut(found.Line, "-")
	line, err := strconv.Atoi(first)
	if err != nil {
		return token.NoPos
	}
	for _, file := range pass.Files {
		f := pass.Fset.File(file.Pos())
		if f.Name() == found.File && line <= f.LineCount() {
			return f.LineStart(line)
		}
	}
	return token.NoPos
}
