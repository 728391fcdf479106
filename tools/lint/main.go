// Command lint runs the analyzers that neither go vet nor staticcheck has on the
// packages of this repository:
//
//	lint [-tags list] [-complete] packages
//
// It is its own module, so that the analyzers' requirements do not conflict with those of
// other modules. A collection of linters would have these analyzers too, but takes
// minutes to build.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
)

func main() {
	tags := flag.String("tags", "", "build tags, as for go build")
	complete := flag.Bool("complete", false, "the packages are all of the repository: report exclusions that nothing needs")
	flag.Parse()
	found, err := lint(*tags, flag.Args(), *complete)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(2)
	}
	for _, f := range found {
		fmt.Println(f)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
}

// lint is what is left of the findings in the packages after exclusions and
// directives, which are findings too when nothing needs them.
func lint(tags string, patterns []string, complete bool) ([]finding, error) {
	pkgs, err := load(tags, patterns)
	if err != nil {
		return nil, err
	}
	found, err := analyze(pkgs)
	if err != nil {
		return nil, err
	}
	ignored, excluded := directivesIn(pkgs), slices.Clone(exclusions)
	var left []finding
	for _, f := range found {
		if !ignored.has(f) && !excluded.has(f) {
			left = append(left, f)
		}
	}
	left = append(left, ignored.faults()...)
	if complete {
		left = append(left, excluded.needless()...)
	}
	return sorted(left), nil
}
