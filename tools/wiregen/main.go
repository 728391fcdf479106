// Command wiregen generates the codec of package etcd.
//
// The structs in the root's wire_*.go files are its input: a struct with an
// etcd:message directive is a protobuf message, the etcd tags of its fields
// are their numbers. Its output is wire_gen.go, which appends requests and
// decodes responses, and wire_gen_codectest.go, which does the opposite for
// tests, under the build tag codectest.
//
// Before it writes anything it holds every tag and enum value against the
// descriptors of etcd's own API module, and refuses if one differs or if
// etcd has a message or field that is neither carried nor waived (waive.go).
//
// With -check it writes nothing and fails if the files are stale.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", "..", "folder of package etcd")
	check := flag.Bool("check", false, "write nothing, fail if the generated files are stale")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "wiregen:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	sources, err := readSources(root)
	if err != nil {
		return err
	}
	files, err := generate(sources)
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(root, f.name)
		if !check {
			if err := os.WriteFile(path, f.content, 0o644); err != nil {
				return err
			}
			continue
		}
		have, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, f.content) {
			return fmt.Errorf("%s is stale: run go generate in the root", f.name)
		}
	}
	return nil
}

// readSources returns the hand-written wire_*.go files of folder root.
func readSources(root string) (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(root, "wire_*.go"))
	if err != nil {
		return nil, err
	}
	sources := make(map[string][]byte)
	for _, path := range paths {
		name := filepath.Base(path)
		switch {
		case name == genFile, name == genTestFile, name == "wire_codectest.go":
			continue
		case isTest(name):
			continue
		}
		if sources[name], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("no wire_*.go in %s", root)
	}
	return sources, nil
}

func isTest(name string) bool {
	ok, _ := filepath.Match("*_test.go", name)
	return ok
}

// generate checks the sources and returns the files that belong to them.
func generate(sources map[string][]byte) ([]file, error) {
	s, err := parse(sources)
	if err != nil {
		return nil, err
	}
	if err := check(s); err != nil {
		return nil, err
	}
	return emit(s)
}
