package main

import (
	"codeberg.org/polyfloyd/go-errorlint/errorlint"
	"github.com/gostaticanalysis/comment"
	"github.com/gostaticanalysis/comment/passes/commentmap"
	"github.com/gostaticanalysis/nilerr"
	"github.com/kkHAIKE/contextcheck"
	"github.com/nishanths/exhaustive/passes/exhaustive"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/nilness"
	"golang.org/x/tools/go/analysis/passes/unusedwrite"
)

// configured are the analyzers as this repository wants them.
func configured() []*analysis.Analyzer {
	knowNoReturn()
	commentmap.Analyzer.Run = noComments  // or nilerr would heed lint:ignore too
	set(exhaustive.Analyzer, "d", "true") // a default case is a decision, too
	// With facts, as the checker hands them on. Without, contextcheck keeps what it knows
	// of a package in a map, and what it finds depends on which package is analyzed first.
	contexts := contextcheck.NewAnalyzer(contextcheck.Configuration{})
	return []*analysis.Analyzer{
		contexts,
		errorlint.NewAnalyzer(),
		exhaustive.Analyzer,
		gosecAnalyzer,
		nilerr.Analyzer,
		nilness.Analyzer,
		unusedwrite.Analyzer,
	}
}

func noComments(*analysis.Pass) (any, error) { return comment.Maps{}, nil }

// set gives a flag of an analyzer its value, which only a programming error makes
// fail.
func set(a *analysis.Analyzer, flag, value string) {
	if err := a.Flags.Set(flag, value); err != nil {
		panic(a.Name + ": " + err.Error())
	}
}
