package main

import (
	"errors"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// load loads the packages with their tests. Their dependencies are loaded without
// syntax, so analyzers share facts about the packages that were asked for only.
// That takes a twentieth of the time that go vet -vettool needs, which has the
// analyzers look at every dependency.
func load(tags string, patterns []string) ([]*packages.Package, error) {
	pkgs, err := packages.Load(&packages.Config{
		Mode:       packages.LoadSyntax | packages.NeedModule | packages.NeedForTest,
		Tests:      true,
		BuildFlags: []string{"-tags=" + tags},
	}, patterns...)
	if err != nil {
		return nil, err
	}
	if packages.PrintErrors(pkgs) > 0 {
		return nil, errors.New("the packages have errors")
	}
	asked := make(map[*packages.Package]bool)
	for _, p := range pkgs {
		asked[p] = true
	}
	for p := range packages.Postorder(pkgs) {
		if !asked[p] || p.TypesInfo == nil { // analyzers with facts look at dependencies too
			p.TypesInfo, p.Syntax = &types.Info{}, nil
		}
	}
	return withoutDoubles(pkgs), nil
}

// withoutDoubles leaves out the main packages that go test makes, and each package
// that is there with its tests too.
func withoutDoubles(pkgs []*packages.Package) []*packages.Package {
	withTests := make(map[string]bool)
	for _, p := range pkgs {
		if p.ForTest == p.PkgPath {
			withTests[p.PkgPath] = true
		}
	}
	return slices.DeleteFunc(pkgs, func(p *packages.Package) bool {
		return strings.HasSuffix(p.ID, ".test") || withTests[p.PkgPath] && p.ForTest == ""
	})
}
