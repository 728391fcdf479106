package main

import (
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/ctrlflow"
)

// neverReturn are the functions of the standard library that end a goroutine or
// the program. ctrlflow would find that out from their syntax, which is not loaded.
var neverReturn = map[string]bool{
	"log.Fatal": true, "log.Fatalf": true, "log.Fatalln": true,
	"os.Exit":                   true,
	"(*testing.common).FailNow": true,
	"(*testing.common).Fatal":   true,
	"(*testing.common).Fatalf":  true,
	"(*testing.common).SkipNow": true,
	"(*testing.common).Skip":    true,
	"(*testing.common).Skipf":   true,
}

// knowNoReturn tells ctrlflow of them.
func knowNoReturn() {
	run := ctrlflow.Analyzer.Run
	ctrlflow.Analyzer.Run = func(pass *analysis.Pass) (any, error) {
		knowing := *pass
		knowing.ImportObjectFact = func(obj types.Object, fact analysis.Fact) bool {
			if f, ok := obj.(*types.Func); ok && neverReturn[f.FullName()] {
				return true
			}
			return pass.ImportObjectFact(obj, fact)
		}
		return run(&knowing)
	}
}
